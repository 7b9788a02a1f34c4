//! `wsgi.early_hints`, as gunicorn has it: a callable that sends `103 Early Hints` before the
//! response (RFC 8297).

use std::ffi::CStr;
use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use rcorn_python::{Arguments, Builtin, bind_builtin};

use super::attached::{Attached, lost_error};
use super::declare::Refused;
use super::forked_child::end_forked_child;
use super::response::{Response, Stage};
use super::start::Exchange;
use super::violation::WsgiViolation;
use rcorn_connection::Flush;

/// The object that the callable is bound to. Each request slot has one, so a request that does not
/// use it pays nothing. It knows the slot's exchange, which changes if an app has kept the last
/// one.
#[pyclass(frozen, name = "Hints", module = "rcorn")]
#[derive(Debug)]
pub(super) struct Hints {
    // Never locked while the GIL is released. A thread that waits for it detaches.
    exchange: Mutex<Py<Exchange>>,
}

impl Hints {
    /// Hints for this exchange.
    #[must_use]
    pub(super) fn new(exchange: Py<Exchange>) -> Self {
        Self {
            exchange: Mutex::new(exchange),
        }
    }

    /// Changes to another exchange of the slot.
    pub(super) fn follow(&self, py: Python<'_>, exchange: Py<Exchange>) {
        let last = std::mem::replace(&mut *self.lock(py), exchange);
        // What an app has kept may end with it, so not under the lock.
        drop(last);
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Py<Exchange>> {
        let locked = self.exchange.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// `early_hints(headers)`.
#[derive(Debug)]
pub(super) struct EarlyHints;

impl EarlyHints {
    /// The callable.
    pub(super) fn bind<'py>(hints: &Bound<'py, Hints>) -> PyResult<Bound<'py, PyAny>> {
        bind_builtin::<Self>(hints.as_any())
    }
}

impl Builtin for EarlyHints {
    const NAME: &'static CStr = c"early_hints";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        end_forked_child(py, None);
        let fields = arguments.get(0, "headers")?;
        let only = arguments.count() == 1;
        let Some(fields) = fields.filter(|_| only) else {
            return Err(WsgiViolation::HintArguments.into());
        };
        let exchange = this.cast::<Hints>()?.get().lock(py).clone_ref(py);
        let mut interim = Response::default();
        interim
            .declare_hints(&fields)
            .map_err(Refused::into_error)?;
        let channel = {
            let response = exchange.get().response(py);
            match response.stage {
                Stage::Open | Stage::Headed => response.interim_channel(),
                Stage::Idle => return Err(WsgiViolation::HintsOver.into()),
                Stage::Streaming | Stage::Taken => return Err(WsgiViolation::HintsLate.into()),
            }
        };
        if let Some(channel) = channel {
            channel
                .send(
                    &Attached(py),
                    &mut [IoSlice::new(interim.head())],
                    Flush::Now,
                )
                .map_err(lost_error)?;
        }
        Ok(py.None().into_bound(py))
    }
}
