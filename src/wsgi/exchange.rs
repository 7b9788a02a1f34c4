//! One call of the app, and how its result is sent: a list as one response, an iterator block by
//! block, a file by sendfile(2). `close()` is called on every path.

use std::io::IoSlice;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use rcorn_python::{call, traceback};

use super::attached::{Attached, lost_error};
use super::client_socket::ClientSocket;
use super::file::FileWrapper;
use super::forked_child::end_forked_child;
use super::response::{ResponseConstraints, Stage};
use super::slot::Prepared;
use super::start::Exchange;
use super::violation::{WsgiViolation, hint};
use rcorn_connection::Channel;
use rcorn_connection::{FileRest, Flush};

/// How an exchange ended.
#[derive(Debug)]
pub struct Served {
    /// The status that was declared; 500 if the server had to answer itself.
    pub status: u16,
    /// How many bytes of the body were sent.
    pub sent: u64,
    /// What becomes of the connection.
    pub ending: Ending,
    /// What went wrong, for the log.
    pub error: Option<ExchangeError>,
}

impl Served {
    /// What is recorded of it.
    #[must_use]
    pub fn completed(&self) -> Completed {
        Completed {
            status: self.status,
            sent: self.sent,
        }
    }
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It takes the next request.
    KeepAlive,
    /// It is closed; the response was complete.
    Close,
    /// Nothing was sent: the server answers 500 and closes.
    Unanswered,
    /// The response is incomplete. The connection is reset, so that no client takes it for a
    /// complete one.
    Abort,
}

/// What went wrong.
#[derive(Debug)]
pub enum ExchangeError {
    /// The app raised, or broke a rule of WSGI: the traceback or the rule.
    App(String),
    /// The client left or was too slow.
    Client(String),
    /// The body did not have the length that its Content-Length declared.
    Length(String),
    /// There was no environ to call the app with.
    Environ(String),
    /// `close()` raised after a complete response.
    Close(String),
    /// The worker was told to leave at once.
    Leaving,
}

/// A response that is complete.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// The status that was declared.
    pub status: u16,
    /// How many bytes of the body were sent.
    pub sent: u64,
}

/// The status in the log of a connection that the app has taken: Switching Protocols.
const SWITCHED: u16 = 101;

/// The app, which all request slots of a worker call.
#[derive(Debug)]
pub struct WsgiApp {
    app: Py<PyAny>,
    close: Py<PyString>,
    sendfile: bool,
}

impl WsgiApp {
    /// An app to call. `sendfile`: whether files are sent by sendfile(2).
    #[must_use]
    pub fn new(py: Python<'_>, app: Bound<'_, PyAny>, sendfile: bool) -> Self {
        Self {
            app: app.unbind(),
            close: PyString::intern(py, "close").unbind(),
            sendfile,
        }
    }

    /// Calls the app and sends its response. Calls `completed` once the response is complete, if
    /// code of the app follows: `close()`. A list or a tuple has none.
    ///
    /// # Errors
    ///
    /// There is no memory for the client's socket. Errors of the app are part of [`Served`].
    pub fn serve(
        &self,
        py: Python<'_>,
        prepared: &Prepared<'_>,
        environ: &Bound<'_, PyDict>,
        channel: &Channel,
        constraints: ResponseConstraints,
        completed: impl FnOnce(Completed),
    ) -> PyResult<Served> {
        let Prepared {
            exchange,
            start_response,
        } = prepared;
        let state = exchange.get();
        state.response(py).open(channel.clone(), constraints);
        if constraints.offers_socket {
            ClientSocket::offer(exchange, environ)?;
        }
        let outcome = call::in_app(|| {
            let result = call::call2(self.app.bind(py), environ.as_any(), start_response)?;
            let sent = self.send(py, state, &result);
            end_forked_child(py, sent.as_ref().err());
            if sent.is_ok() {
                state.response(py).completed();
            }
            if is_plain(&result) {
                return sent.map(|()| None);
            }
            if sent.is_ok() {
                tell_completed(py, state, channel, completed);
            }
            let closed = self.close(py, &result);
            sent.map(|()| closed.err())
        });
        end_forked_child(py, outcome.as_ref().err());
        let served = judge(py, state, channel, outcome);
        state.response(py).end();
        Ok(served)
    }

    /// Calls `result.close()` if there is one.
    fn close(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(close) = call::optional_attribute(result, self.close.bind(py))? {
            close.call0()?;
        }
        Ok(())
    }

    fn send(&self, py: Python<'_>, state: &Exchange, result: &Bound<'_, PyAny>) -> PyResult<()> {
        end_forked_child(py, None);
        if let Ok(list) = result.cast_exact::<PyList>() {
            // The body of most responses has one part, and needs no vector.
            return if list.len() == 1 {
                send_whole(py, state, &[part((0, list.get_item(0)?))?])
            } else {
                send_whole(py, state, &parts(list.iter())?)
            };
        }
        if let Ok(tuple) = result.cast_exact::<PyTuple>() {
            return send_whole(py, state, &parts(tuple.iter())?);
        }
        if self.sendfile
            && let Ok(wrapper) = result.cast_exact::<FileWrapper>()
            && send_file(py, state, wrapper.get())?
        {
            return Ok(());
        }
        send_blocks(py, state, result)
    }
}

/// Whether it has no `close()`, which is then not looked up.
fn is_plain(result: &Bound<'_, PyAny>) -> bool {
    result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>()
}

/// Tells that the client has the whole response. Nothing but `close()` takes long after that, so it
/// is not told without. A response without its end is not complete: its connection is aborted.
// Not in the way of a list.
#[inline(never)]
fn tell_completed(
    py: Python<'_>,
    state: &Exchange,
    channel: &Channel,
    completed: impl FnOnce(Completed),
) {
    let response = state.response(py);
    if response.missing() > 0 {
        return;
    }
    let status = match response.stage {
        Stage::Taken => SWITCHED,
        Stage::Idle | Stage::Open | Stage::Headed | Stage::Streaming => response.status(),
    };
    let sent = response.body().sent();
    // A logger of Python may run any code.
    drop(response);
    channel.answered();
    completed(Completed { status, sent });
}

/// The parts of a body that is an exact list or tuple: all of it is known, so a wrong item is found
/// before anything is sent.
fn parts<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    items.enumerate().map(part).collect()
}

/// One item of a body.
fn part((position, item): (usize, Bound<'_, PyAny>)) -> PyResult<Bound<'_, PyBytes>> {
    match item.cast_into::<PyBytes>() {
        Ok(part) => Ok(part),
        Err(error) => {
            let kind = error.into_inner().get_type().qualname()?.to_string();
            let hint = hint(&kind);
            Err(WsgiViolation::Item {
                kind,
                position,
                hint,
            }
            .into())
        }
    }
}

fn send_whole(py: Python<'_>, state: &Exchange, parts: &[Bound<'_, PyBytes>]) -> PyResult<()> {
    let mut response = state.response(py);
    match response.stage {
        Stage::Headed => {
            // Sending may wait, and other threads run then, so no lock is held.
            let prepared = response.whole(parts, &state.common_headers());
            drop(response);
            let Some((channel, whole)) = prepared else {
                return Ok(());
            };
            channel.ending();
            let sent = whole.send(py, &channel, parts);
            let flush = whole.flush;
            state.response(py).sent_whole(whole);
            if sent.map_err(lost_error)? && flush == Flush::Later {
                state.flush_soon(&channel);
            }
            Ok(())
        }
        Stage::Open | Stage::Idle => Err(WsgiViolation::NeverStarted.into()),
        Stage::Taken => Ok(()),
        Stage::Streaming => {
            drop(response);
            // write() was used: the rest follows it.
            parts
                .iter()
                .try_for_each(|part| state.write(py, part.as_bytes()))?;
            finish(py, state)
        }
    }
}

/// The violation of an app that returned this.
fn returned(result: &Bound<'_, PyAny>) -> PyResult<WsgiViolation> {
    let kind = result.get_type().qualname()?.to_string();
    let hint = hint(&kind);
    Ok(WsgiViolation::Returned(kind, hint))
}

fn send_blocks(py: Python<'_>, state: &Exchange, result: &Bound<'_, PyAny>) -> PyResult<()> {
    // Their items cannot be sent. Without any there is nothing to send, as an app may well say it.
    let is_text = result.is_instance_of::<PyString>() || result.is_instance_of::<PyBytes>();
    if is_text && result.len()? > 0 {
        return Err(returned(result)?.into());
    }
    let blocks = match result.try_iter() {
        Ok(blocks) => blocks,
        // Else the error is the app's own.
        Err(_) if !result.get_type().hasattr("__iter__")? => {
            return Err(returned(result)?.into());
        }
        Err(error) => return Err(error),
    };
    for (position, block) in blocks.enumerate() {
        let block = block?;
        if position == 0 && result.is_instance_of::<PyDict>() && !block.is_instance_of::<PyBytes>()
        {
            // It was meant to be JSON.
            return Err(returned(result)?.into());
        }
        let block = part((position, block))?;
        state.write(py, block.as_bytes())?;
    }
    finish(py, state)
}

/// Ends a body that came block by block.
fn finish(py: Python<'_>, state: &Exchange) -> PyResult<()> {
    // Its last step may have forked, and this may be the child.
    end_forked_child(py, None);
    let prepared = {
        let mut response = state.response(py);
        if response.stage == Stage::Open {
            return Err(WsgiViolation::NeverStarted.into());
        }
        response.finish(&state.common_headers())
    };
    if let Some((channel, mut fragment)) = prepared {
        channel.ending();
        let sent = fragment.send(py, &channel, b"");
        state.response(py).done(fragment);
        sent.map_err(lost_error)?;
    }
    Ok(())
}

/// Sends a file by sendfile(2); `false` if it must be iterated instead.
fn send_file(py: Python<'_>, state: &Exchange, wrapper: &FileWrapper) -> PyResult<bool> {
    match state.response(py).stage {
        Stage::Open => return Err(WsgiViolation::NeverStarted.into()),
        Stage::Taken => return Ok(true),
        Stage::Idle | Stage::Headed | Stage::Streaming => {}
    }
    let Some(source) = wrapper.regular_file(py)? else {
        return Ok(false);
    };
    // The app's object around the file may run code of the app.
    end_forked_child(py, None);
    let prepared = state
        .response(py)
        .file(source.size, &state.common_headers());
    let Some((channel, fragment, take)) = prepared else {
        return Ok(false);
    };
    channel.ending();
    let sent = if take == 0 {
        let head = &mut [IoSlice::new(fragment.head())];
        channel.send(&Attached(py), head, Flush::Now).map(drop)
    } else {
        let file = FileRest {
            descriptor: source.descriptor,
            offset: source.offset,
            left: take,
        };
        channel.send_file(&Attached(py), fragment.head(), file)
    };
    state.response(py).done(fragment);
    sent.map_err(lost_error)?;
    Ok(true)
}

/// The meaning of the outcome if the app has taken the connection, which ends with the call.
fn judge_taken(py: Python<'_>, outcome: PyResult<Option<PyErr>>) -> Served {
    let error = match outcome {
        Err(_) if call::interrupted() => Some(ExchangeError::Leaving),
        // gunicorn's workers treat it as the end of such a call: flask-sock raises it.
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => None,
        Err(error) => Some(ExchangeError::App(traceback::format(py, &error))),
        Ok(closed) => closed.map(|error| ExchangeError::Close(traceback::format(py, &error))),
    };
    Served {
        status: SWITCHED,
        sent: 0,
        ending: Ending::Close,
        error,
    }
}

/// The meaning of the outcome of the call for the client and the log.
fn judge(
    py: Python<'_>,
    state: &Exchange,
    channel: &Channel,
    outcome: PyResult<Option<PyErr>>,
) -> Served {
    let response = state.response(py);
    let (status, sent, stage) = (response.status(), response.body().sent(), response.stage);
    let (missing, excess) = (response.missing(), response.body().excess());
    let keeps = response.keeps_connection();
    let declared = response.length().unwrap_or(0);
    // Formatting a traceback runs Python code.
    drop(response);
    let failed = |error| {
        let (status, ending) = if stage == Stage::Streaming {
            (status, Ending::Abort)
        } else {
            (500, Ending::Unanswered)
        };
        Served {
            status,
            sent,
            ending,
            error: Some(error),
        }
    };
    if stage == Stage::Taken {
        channel.end_socket();
        return judge_taken(py, outcome);
    }
    match outcome {
        Err(_) if call::interrupted() => failed(ExchangeError::Leaving),
        Err(error) if channel.is_lost() => {
            let served = failed(ExchangeError::Client(traceback::summary(py, &error)));
            Served {
                ending: Ending::Abort,
                ..served
            }
        }
        Err(error) => failed(ExchangeError::App(traceback::format(py, &error))),
        Ok(_) if missing > 0 => failed(ExchangeError::Length(format!(
            "the app declared Content-Length: {declared} but gave {missing} bytes less; the connection was aborted"
        ))),
        Ok(close_error) => {
            let error = match close_error {
                Some(error) => Some(ExchangeError::Close(traceback::format(py, &error))),
                None if excess > 0 => Some(ExchangeError::Length(format!(
                    "the app declared Content-Length: {declared} but gave {excess} bytes more; they were not sent"
                ))),
                None => None,
            };
            let ending = if keeps {
                Ending::KeepAlive
            } else {
                Ending::Close
            };
            Served {
                status,
                sent,
                ending,
                error,
            }
        }
    }
}
