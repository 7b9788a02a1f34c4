//! Who is at the two ends of a connection, as environ values: the client, the server, and what a
//! proxy between them said.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::keys::Keys;

/// The endpoints of one connection, as Python objects that are made once.
#[derive(Debug)]
pub struct Endpoints {
    /// `REMOTE_ADDR`: empty for a unix peer.
    pub address: Py<PyString>,
    /// `REMOTE_PORT`, for TCP.
    pub port: Option<Py<PyString>>,
    /// Whether the client's forwarding headers are trusted.
    pub trusted: bool,
    /// The listener that accepted it, by its place in `bind`.
    pub listener: usize,
    /// What a PROXY header said.
    pub proxy: Option<ProxyEndpoints>,
}

/// What gunicorn passes to the app of a PROXY header, beside the client's address.
#[derive(Debug)]
pub struct ProxyEndpoints {
    /// `PROXY_PROTOCOL`: `TCP4` or `TCP6`.
    pub protocol: Py<PyString>,
    /// `PROXY_ADDR`: where the client connected to.
    pub address: Py<PyString>,
    /// `PROXY_PORT`.
    pub port: Py<PyString>,
}

impl Endpoints {
    /// Sets `REMOTE_ADDR` and `REMOTE_PORT`, and what a PROXY header said.
    pub(super) fn set(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        keys: &Keys,
    ) -> PyResult<()> {
        environ.set_item(&keys.remote_addr, &self.address)?;
        if let Some(port) = &self.port {
            environ.set_item(&keys.remote_port, port.bind(py))?;
        }
        if let Some(proxy) = &self.proxy {
            environ.set_item(&keys.proxy_protocol, &proxy.protocol)?;
            environ.set_item(&keys.proxy_addr, &proxy.address)?;
            environ.set_item(&keys.proxy_port, &proxy.port)?;
        }
        Ok(())
    }
}
