//! `start_response` and `write` (PEP 3333 "The `start_response()` Callable"): two built-in functions bound to
//! one object that holds the state of the reply.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use rcorn_python::{Arguments, Builtin, bind_builtin, call, traceback};

use super::attached::{Attached, lost_error};
use super::exchange::leave_if_stray;
use super::hints::Hints;
use super::mistake::Mistake;
use super::reply::{Reply, Stage, Standing};
use rcorn_connection::channel::{Channel, Deputy};
use rcorn_connection::outbox::Flush;

/// The object both functions are bound to.
#[pyclass(frozen, name = "Exchange", module = "rcorn")]
#[derive(Debug)]
pub struct Exchange {
    // Never locked while the GIL is released or the app's code runs, so never contended.
    reply: Mutex<Reply>,
    standing: Mutex<Standing>,
    deputy: Arc<dyn Deputy>,
}

/// Longest part that is copied to wait for the next.
const SMALL: usize = 16 * 1024;
/// So many bytes are enough for one system call.
const TOGETHER: usize = 64 * 1024;
/// The most that a chunk adds to a small part: four digits and two line ends.
const CHUNK_FRAME: usize = 8;

impl Exchange {
    /// The reply in hand.
    pub fn reply(&self) -> MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every head ends with.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one part of the body.
    pub fn write(&self, py: Python<'_>, part: &[u8]) -> PyResult<()> {
        leave_if_stray(py, None);
        // PEP 3333: the head waits for the first byte that is really there.
        if part.is_empty() && self.reply().stage != Stage::Idle {
            return Ok(());
        }
        let prepared = self.reply().part(part.len(), &self.standing());
        let (channel, mut step) = prepared?;
        // The first part goes out at once. What follows waits for the app's next part, and not for long.
        if !step.begins() && part.len() <= SMALL {
            let here = step.hold(&channel, part);
            if here <= TOGETHER {
                // All that is here came with this one: nobody sees to it yet.
                if here.saturating_sub(part.len()) <= CHUNK_FRAME {
                    self.deputy.send_soon(&channel);
                }
                return Ok(());
            }
            if !channel
                .send(&Attached(py), &mut [], Flush::Now)
                .map_err(lost_error)?
            {
                self.deputy.send_soon(&channel);
            }
            return Ok(());
        }
        let sent = step.send(py, &channel, part);
        let flush = step.flush;
        self.reply().done(step);
        if !sent.map_err(lost_error)? {
            self.deputy.send_soon(&channel);
        } else if flush == Flush::Later {
            self.flush_soon(&channel);
        }
        Ok(())
    }

    /// The kernel may keep a reply: see to it that it leaves.
    pub fn flush_soon(&self, channel: &Channel) {
        self.deputy.flush_soon(channel);
    }
}

/// `start_response(status, headers, exc_info=None)`.
struct StartResponse;

impl Builtin for StartResponse {
    const NAME: &'static CStr = c"start_response";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let exchange = this.cast::<Exchange>()?;
        let (status, fields) = (arguments.get(0, "status")?, arguments.get(1, "headers")?);
        // PEP 3333 names the second argument response_headers in its text, headers in its examples.
        let fields = match fields {
            Some(fields) => Some(fields),
            None => arguments.get(1, "response_headers")?,
        };
        let (Some(status), Some(fields)) = (status, fields) else {
            return Err(Mistake::Arguments.into());
        };
        if arguments.count() > 3 {
            return Err(Mistake::Arguments.into());
        }
        let exc_info = arguments.get(2, "exc_info")?.filter(|info| !info.is_none());
        let (stage, complete) = {
            let reply = exchange.get().reply();
            (reply.stage, reply.is_complete())
        };
        match stage {
            _ if complete => return Err(Mistake::Over.into()),
            Stage::Idle => return Err(Mistake::Over.into()),
            Stage::Open => {}
            Stage::Headed => {
                if exc_info.is_none() {
                    return Err(Mistake::Twice.into());
                }
            }
            Stage::Streaming => {
                // Too late to replace anything: the app's own exception goes on (PEP 3333).
                return Err(match exc_info {
                    Some(info) => traceback::from_exc_info(&info)?,
                    None => Mistake::Twice.into(),
                });
            }
        }
        let declared = exchange.get().reply().declare(&status, &fields);
        if declared.is_err() {
            // What was half declared must not be sent: the error page takes its place.
            exchange.get().reply().stage = Stage::Open;
        }
        declared?;
        bind_builtin::<Write>(this)
    }
}

/// `write(body_part)`, for apps written before PEP 333 had iterables.
struct Write;

impl Builtin for Write {
    const NAME: &'static CStr = c"write";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let exchange = this.cast::<Exchange>()?;
        let part = arguments.get(0, "data")?.filter(|_| arguments.positional() == 1);
        let Some(part) = part else {
            return Err(Mistake::Written("other arguments".into()).into());
        };
        let Ok(part) = part.cast::<PyBytes>() else {
            return Err(Mistake::Written(part.get_type().qualname()?.to_string()).into());
        };
        exchange.get().write(py, part.as_bytes())?;
        Ok(py.None().into_bound(py))
    }
}

/// A new exchange object, and the `start_response` that is bound to it.
fn pair(py: Python<'_>, deputy: Arc<dyn Deputy>) -> PyResult<(Py<Exchange>, Py<PyAny>)> {
    let exchange = Exchange {
        reply: Mutex::default(),
        standing: Mutex::default(),
        deputy,
    };
    let exchange = Bound::new(py, exchange)?;
    let start_response = bind_builtin::<StartResponse>(exchange.as_any())?;
    Ok((exchange.unbind(), start_response.unbind()))
}

/// One exchange object with its `start_response`, used for request after request while nobody else holds
/// them: an app that keeps `start_response` gets to keep it, and the next request gets a new pair.
#[derive(Debug)]
pub struct Callables {
    exchange: Py<Exchange>,
    start_response: Py<PyAny>,
    hints: Py<Hints>,
}

impl Callables {
    /// The first pair.
    pub fn new(py: Python<'_>, deputy: Arc<dyn Deputy>) -> PyResult<Self> {
        let (exchange, start_response) = pair(py, deputy)?;
        Ok(Self {
            hints: Py::new(py, Hints::new(exchange.clone_ref(py)))?,
            exchange,
            start_response,
        })
    }

    /// What `wsgi.early_hints` is bound to.
    #[must_use]
    pub fn hints(&self) -> &Py<Hints> {
        &self.hints
    }

    /// A pair that nobody else holds.
    pub fn fresh<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, Exchange>, Bound<'py, PyAny>)> {
        // Ours, and those that start_response and early_hints hold.
        let kept = call::references(self.exchange.bind(py).as_any()) > 3
            || call::references(self.start_response.bind(py)) > 1;
        if kept {
            let standing = std::mem::take(&mut *self.exchange.get().standing());
            let deputy = Arc::clone(&self.exchange.get().deputy);
            (self.exchange, self.start_response) = pair(py, deputy)?;
            self.hints.get().follow(self.exchange.clone_ref(py));
            *self.exchange.get().standing() = standing;
        }
        Ok((
            self.exchange.bind(py).clone(),
            self.start_response.bind(py).clone(),
        ))
    }

    /// The exchange object.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        self.exchange.get()
    }
}
