//! What a request slot needs to call the app: one exchange object with its `start_response`, used
//! for request after request.

use std::sync::Arc;

use pyo3::prelude::*;

use rcorn_connection::WriteOffload;
use rcorn_python::call;

use super::hints::{EarlyHints, Hints};
use super::response::CommonHeaders;
use super::start::Exchange;

/// References to an exchange that the server itself holds: the slot's, and those of
/// `start_response` and of `wsgi.early_hints`.
const OWN_REFERENCES: isize = 3;

/// The exchange of one request slot. It is reused as long as nobody else holds it. If an app keeps
/// `start_response`, the next request gets a new exchange.
#[derive(Debug)]
pub struct ExchangeSlot {
    exchange: Py<Exchange>,
    start_response: Py<PyAny>,
    hints: Py<Hints>,
}

/// An exchange and a `start_response` that nobody else holds.
#[derive(Debug)]
pub struct Prepared<'py> {
    pub(super) exchange: Bound<'py, Exchange>,
    pub(super) start_response: Bound<'py, PyAny>,
}

impl ExchangeSlot {
    /// An exchange that has seen no request.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn new(py: Python<'_>, offload: Arc<dyn WriteOffload>) -> PyResult<Self> {
        let (exchange, start_response) = exchange(py, CommonHeaders::default(), offload)?;
        Ok(Self {
            hints: Py::new(py, Hints::new(exchange.clone_ref(py)))?,
            exchange,
            start_response,
        })
    }

    /// `wsgi.early_hints` of the requests of this slot.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn early_hints<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        EarlyHints::bind(self.hints.bind(py))
    }

    /// The fields that every response of this slot ends with.
    #[must_use]
    pub fn common_headers(&self) -> CommonHeaders {
        self.exchange.get().common_headers().clone()
    }

    /// Sets them. Called once a second, because one of them is the date.
    pub fn set_common_headers(&self, server: &[u8], date: &[u8]) {
        self.exchange.get().common_headers().set(server, date);
    }

    /// Sets the field with the id of the request to come: a whole line.
    pub fn set_request_id(&self, field: &[u8]) {
        let mut common = self.exchange.get().common_headers();
        common.request_id.clear();
        common.request_id.extend_from_slice(field);
    }

    /// Passes the status line and fields of the last response, as they were sent, to `read`. No
    /// lock is held, so `read` may run any code.
    pub fn with_response_head<R>(&self, py: Python<'_>, read: impl FnOnce(&[u8]) -> R) -> R {
        let head = self.exchange.get().response(py).take_head();
        let result = read(&head);
        self.exchange.get().response(py).return_head(head);
        result
    }

    /// What the next request is served with.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn begin<'py>(&mut self, py: Python<'py>) -> PyResult<Prepared<'py>> {
        let is_kept = call::references(self.exchange.bind(py).as_any()) > OWN_REFERENCES
            || call::references(self.start_response.bind(py)) > 1;
        if is_kept {
            let headers = std::mem::take(&mut *self.exchange.get().common_headers());
            let offload = Arc::clone(self.exchange.get().offload());
            (self.exchange, self.start_response) = exchange(py, headers, offload)?;
            self.hints.get().follow(py, self.exchange.clone_ref(py));
        }
        Ok(Prepared {
            exchange: self.exchange.bind(py).clone(),
            start_response: self.start_response.bind(py).clone(),
        })
    }
}

/// A new exchange object, and the `start_response` that is bound to it.
fn exchange(
    py: Python<'_>,
    common_headers: CommonHeaders,
    offload: Arc<dyn WriteOffload>,
) -> PyResult<(Py<Exchange>, Py<PyAny>)> {
    let exchange = Bound::new(py, Exchange::new(common_headers, offload))?;
    let start_response = Exchange::bind_start_response(&exchange)?;
    Ok((exchange.unbind(), start_response.unbind()))
}
