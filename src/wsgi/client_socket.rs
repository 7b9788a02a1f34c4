//! `gunicorn.socket` and `werkzeug.socket`: the client's socket, for apps that speak another
//! protocol after `Upgrade: websocket` (flask-sock, simple-websocket). Nothing happens until the
//! app uses it. From then on the connection belongs to the app: the server sends nothing on it, and
//! ends it with the request, as gunicorn does.

use std::os::fd::{AsRawFd, IntoRawFd};

use pyo3::exceptions::{PyAttributeError, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use rcorn_sys::fork::is_forked_child;

use super::start::Exchange;

/// The keys under which apps look for it.
const KEYS: [&str; 2] = ["gunicorn.socket", "werkzeug.socket"];

/// A stand-in for a `socket.socket`, which is made when the app first uses it.
#[pyclass(frozen, name = "ClientSocket", module = "rcorn")]
pub(super) struct ClientSocket {
    exchange: Py<Exchange>,
    socket: PyOnceLock<Py<PyAny>>,
}

impl std::fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSocket")
    }
}

impl ClientSocket {
    /// Offers the socket of this exchange to the app.
    #[cold]
    pub(super) fn offer(
        exchange: &Bound<'_, Exchange>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let this = Self {
            exchange: exchange.clone().unbind(),
            socket: PyOnceLock::new(),
        };
        let this = Bound::new(exchange.py(), this)?;
        KEYS.iter().try_for_each(|key| environ.set_item(key, &this))
    }

    /// Takes the connection for the app: a blocking socket, as under gunicorn.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if is_forked_child() {
            return Err(PyOSError::new_err(
                "the client's socket was used in a process that the app forked",
            ));
        }
        let channel = self.exchange.get().response(py).give_socket()?;
        let descriptor = channel.give_socket()?;
        let named = PyDict::new(py);
        named.set_item("fileno", descriptor.as_raw_fd())?;
        let socket = py
            .import("socket")?
            .getattr("socket")?
            .call((), Some(&named))?;
        // The Python object owns it now.
        let _number = descriptor.into_raw_fd();
        socket.call_method1("settimeout", (py.None(),))?;
        Ok(socket.unbind())
    }
}

#[pymethods]
impl ClientSocket {
    fn __getattr__<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Copying or printing the environ does not count as use.
        if self.socket.get(py).is_none() && name.to_string_lossy().starts_with("__") {
            return Err(PyAttributeError::new_err(name.clone().unbind()));
        }
        let socket = self.socket.get_or_try_init(py, || self.take(py))?;
        socket.bind(py).getattr(name)
    }
}
