//! `start_response` and `write` (PEP 3333 "The `start_response()` Callable"): two built-in
//! functions, bound to one object that has the state of the response.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use rcorn_python::{Arguments, Builtin, bind_builtin, traceback};

use super::attached::{Attached, lost_error};
use super::declare::Refused;
use super::forked_child::end_forked_child;
use super::response::{CommonHeaders, Response, Stage};
use super::violation::WsgiViolation;
use rcorn_connection::Flush;
use rcorn_connection::{Channel, WriteOffload};

/// The object both functions are bound to.
#[pyclass(frozen, name = "Exchange", module = "rcorn")]
#[derive(Debug)]
pub(super) struct Exchange {
    // Never locked while the GIL is released or code of the app runs, which would be a deadlock. A
    // thread that waits for it detaches: without a GIL the other one may wait for it, at a list of
    // the app or to stop all threads.
    response: Mutex<Response>,
    // Nothing of Python is touched under this one.
    common_headers: Mutex<CommonHeaders>,
    offload: Arc<dyn WriteOffload>,
}

/// The longest part of a body that is copied to wait for the next part.
const MAX_HELD_PART_BYTES: usize = 16 * 1024;
/// How many bytes wait at most: enough for one system call.
const MAX_HELD_BYTES: usize = 64 * 1024;
/// The most that a chunk adds to such a part: four digits and two line ends.
const MAX_CHUNK_FRAME_BYTES: usize = 8;

impl Exchange {
    /// An exchange without a request.
    pub(super) fn new(common_headers: CommonHeaders, offload: Arc<dyn WriteOffload>) -> Self {
        Self {
            response: Mutex::default(),
            common_headers: Mutex::new(common_headers),
            offload,
        }
    }

    /// A `start_response` for this exchange.
    pub(super) fn bind_start_response<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        bind_builtin::<StartResponse>(this.as_any())
    }

    /// The object that sends waiting parts while the app runs.
    pub(super) fn offload(&self) -> &Arc<dyn WriteOffload> {
        &self.offload
    }

    /// The current response.
    #[inline]
    pub(super) fn response(&self, py: Python<'_>) -> MutexGuard<'_, Response> {
        match self.response.try_lock() {
            Ok(free) => free,
            Err(taken) => {
                // A thread that has panicked under the lock has left it free, and in here.
                drop(taken);
                self.wait_for_response(py)
            }
        }
    }

    /// Another thread has it.
    #[cold]
    fn wait_for_response(&self, py: Python<'_>) -> MutexGuard<'_, Response> {
        let locked = self.response.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// The fields that every head ends with.
    pub(super) fn common_headers(&self) -> MutexGuard<'_, CommonHeaders> {
        self.common_headers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one part of the body.
    pub(super) fn write(&self, py: Python<'_>, part: &[u8]) -> PyResult<()> {
        end_forked_child(py, None);
        // The head is sent with the first byte of the body that is not empty (PEP 3333).
        if part.is_empty() && self.response(py).stage != Stage::Idle {
            return Ok(());
        }
        let prepared = self.response(py).part(part.len(), &self.common_headers());
        let (channel, mut fragment) = match prepared {
            Ok(prepared) => prepared,
            Err(WsgiViolation::SocketTaken) => return Ok(()),
            Err(violation) => return Err(violation.into()),
        };
        // The first part is sent at once. What follows waits, for a short time, for the app's next
        // part.
        if !fragment.begins() && part.len() <= MAX_HELD_PART_BYTES {
            let here = fragment.hold(&channel, part);
            if here <= MAX_HELD_BYTES {
                // Nothing waited before this part, so nobody has been asked to send it.
                if here.saturating_sub(part.len()) <= MAX_CHUNK_FRAME_BYTES {
                    self.offload.send_soon(&channel);
                }
                return Ok(());
            }
            if !channel
                .send(&Attached(py), &mut [], Flush::Now)
                .map_err(lost_error)?
            {
                self.offload.send_soon(&channel);
            }
            return Ok(());
        }
        let sent = fragment.send(py, &channel, part);
        let flush = fragment.flush;
        self.response(py).done(fragment);
        if !sent.map_err(lost_error)? {
            self.offload.send_soon(&channel);
        } else if flush == Flush::Later {
            self.flush_soon(&channel);
        }
        Ok(())
    }

    /// Has a response flushed soon that the kernel may keep.
    pub(super) fn flush_soon(&self, channel: &Channel) {
        self.offload.flush_soon(channel);
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
        let (py, exchange) = (this.py(), this.cast::<Exchange>()?);
        let (status, fields) = (arguments.get(0, "status")?, arguments.get(1, "headers")?);
        // PEP 3333 names the second argument response_headers in its text, headers in its examples.
        let fields = match fields {
            Some(fields) => Some(fields),
            None => arguments.get(1, "response_headers")?,
        };
        let (Some(status), Some(fields)) = (status, fields) else {
            return Err(WsgiViolation::Arguments.into());
        };
        if arguments.count() > 3 {
            return Err(WsgiViolation::Arguments.into());
        }
        let exc_info = arguments.get(2, "exc_info")?.filter(|info| !info.is_none());
        let (stage, complete) = {
            let response = exchange.get().response(py);
            (response.stage, response.is_complete())
        };
        match stage {
            _ if complete => return Err(WsgiViolation::Over.into()),
            Stage::Idle => return Err(WsgiViolation::Over.into()),
            Stage::Open => {}
            // What flask-sock declares when its websocket has ended.
            Stage::Taken => return bind_builtin::<Write>(this),
            Stage::Headed => {
                if exc_info.is_none() {
                    return Err(WsgiViolation::Twice.into());
                }
            }
            Stage::Streaming => {
                // It is too late to replace the head: the app's own exception is raised again (PEP
                // 3333).
                return Err(match exc_info {
                    Some(info) => traceback::from_exc_info(&info)?,
                    None => WsgiViolation::Twice.into(),
                });
            }
        }
        let declared = exchange.get().response(py).declare(&status, &fields);
        // The lock is released here, because code of the app makes the text of the error.
        declared.map_err(Refused::into_error)?;
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
        let part = arguments
            .get(0, "data")?
            .filter(|_| arguments.positional() == 1);
        let Some(part) = part else {
            return Err(WsgiViolation::Written("other arguments".into()).into());
        };
        let Ok(part) = part.cast::<PyBytes>() else {
            return Err(WsgiViolation::Written(part.get_type().qualname()?.to_string()).into());
        };
        exchange.get().write(py, part.as_bytes())?;
        Ok(py.None().into_bound(py))
    }
}
