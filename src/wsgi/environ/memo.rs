//! Keeps the environ of the last request for the next one with the same fields.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::Head;

use super::Endpoints;

/// What two requests must have in common, so that the environ of one can be made from that of the
/// other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Likeness {
    /// Which fields there are ([`Head::serial`]). Heads with fields have one above 0.
    serial: u64,
    listener: usize,
    trusted: bool,
    /// A client without a PROXY header must not get the keys of one.
    proxied: bool,
}

impl Likeness {
    pub(super) fn of(head: &Head, endpoints: &Endpoints) -> Self {
        Self {
            serial: head.serial,
            listener: endpoints.listener,
            trusted: endpoints.trusted,
            proxied: endpoints.proxy.is_some(),
        }
    }
}

/// Remembers one request. Its environ is kept if the same fields have come twice: then they are
/// likely to come again, and the copy pays.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// `None`: the last request cannot be reused.
    likeness: Option<Likeness>,
    /// The request line.
    line: Vec<u8>,
    environ: Option<Py<PyDict>>,
}

impl Memo {
    /// Whether the last request was like this.
    pub(super) fn is_like(&self, likeness: Likeness) -> bool {
        self.likeness == Some(likeness)
    }

    /// The environ that is kept.
    pub(super) fn take_environ<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyDict>> {
        Some(self.environ.take()?.into_bound(py))
    }

    /// Keeps an environ that was taken.
    pub(super) fn keep_environ(&mut self, environ: Bound<'_, PyDict>) {
        self.environ = Some(environ.unbind());
    }

    /// Sets the request line of the environ that is kept; returns whether it is a different one.
    pub(super) fn set_line(&mut self, line: &[u8]) -> bool {
        let is_new = self.line != line;
        if is_new {
            self.line.clear();
            self.line.extend_from_slice(line);
        }
        is_new
    }

    /// Remembers a request whose fields are new; `None`: one that cannot be reused.
    pub(super) fn replace(&mut self, likeness: Option<Likeness>) {
        self.likeness = likeness;
        self.environ = None;
    }
}
