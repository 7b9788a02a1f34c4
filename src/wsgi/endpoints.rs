//! Who is at the two ends of a connection, as environ keys: the client, the server, and what a proxy between them
//! said.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use rcorn_http::Head;

use super::environ::EnvironBuilder;

/// One connection's ends, as Python objects made once.
#[derive(Debug)]
pub struct Endpoints {
    /// `REMOTE_ADDR`: empty for a unix peer.
    pub address: Py<PyString>,
    /// `REMOTE_PORT`, for TCP.
    pub port: Option<Py<PyString>>,
    /// Whether its forwarding headers are believed.
    pub trusted: bool,
    /// Which listener it came by.
    pub listener: usize,
    /// What a PROXY header said.
    pub proxy: Option<ProxyEndpoints>,
}

/// What gunicorn tells of a PROXY header, beside the client's address.
#[derive(Debug)]
pub struct ProxyEndpoints {
    /// `PROXY_PROTOCOL`: `TCP4` or `TCP6`.
    pub protocol: Py<PyString>,
    /// `PROXY_ADDR`: where the client connected to.
    pub address: Py<PyString>,
    /// `PROXY_PORT`.
    pub port: Py<PyString>,
}

impl EnvironBuilder {
    /// `REMOTE_ADDR` and `REMOTE_PORT`, and what a PROXY header said.
    pub(super) fn set_endpoints(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        ends: &Endpoints,
    ) -> PyResult<()> {
        environ.set_item(&self.keys.remote_addr, &ends.address)?;
        if let Some(port) = &ends.port {
            environ.set_item(&self.keys.remote_port, port.bind(py))?;
        }
        if let Some(proxy) = &ends.proxy {
            environ.set_item(&self.keys.proxy_protocol, &proxy.protocol)?;
            environ.set_item(&self.keys.proxy_addr, &proxy.address)?;
            environ.set_item(&self.keys.proxy_port, &proxy.port)?;
        }
        Ok(())
    }

    /// A unix socket has no name or port of its own: take what the client asked for.
    pub(super) fn set_server_by_host(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
    ) -> PyResult<()> {
        let host = head.host.map_or(&b"localhost"[..], |host| host.of(bytes));
        let colon = host.iter().rposition(|byte| *byte == b':');
        let digits = |at: usize| {
            let port = host.get(at.saturating_add(1)..).unwrap_or(&[]);
            (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some((at, port))
        };
        let https = environ
            .get_item(&self.keys.scheme)?
            .is_some_and(|s| s.eq("https").unwrap_or(false));
        let (name, port) = match colon.and_then(digits) {
            Some((at, port)) => (host.get(..at).unwrap_or(host), port),
            None => (host, if https { &b"443"[..] } else { &b"80"[..] }),
        };
        let name = if name.is_empty() { b"localhost" } else { name };
        environ.set_item(&self.keys.server_name, self.values.get(py, name)?)?;
        environ.set_item(&self.keys.server_port, self.values.get(py, port)?)
    }
}
