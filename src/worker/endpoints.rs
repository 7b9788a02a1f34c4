//! The two endpoints of a connection as Python objects, made for its first request and kept with
//! it.

use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_connection::WireProtocol;
use rcorn_http::ProxiedAddresses;
use rcorn_settings::AllowList;
use rcorn_sys::net::Peer;
use rcorn_wsgi::{Endpoints, ProxyEndpoints};

use super::connection::Connection;

/// The client and the server as the environ needs them. `trusted`: the peers whose forwarding
/// headers count.
#[expect(clippy::expect_used, reason = "made where it was missing")]
pub(super) fn of<'c>(
    py: Python<'_>,
    connection: &'c mut Connection,
    trusted: &AllowList,
) -> &'c Endpoints {
    if connection.endpoints.is_none() {
        connection.endpoints = Some(new(py, connection, trusted));
    }
    connection.endpoints.as_ref().expect("made above")
}

fn new(py: Python<'_>, connection: &Connection, trusted: &AllowList) -> Endpoints {
    let port = match connection.client() {
        Peer::Inet(address) => Some(address.port().to_string()),
        Peer::Unix => None,
    };
    Endpoints {
        address: PyString::new(py, &connection.client_address()).unbind(),
        port: port.map(|port| PyString::new(py, &port).unbind()),
        trusted: connection.is_on(trusted),
        listener: connection.state.listener,
        // A front is a part of this server.
        proxy: match connection.protocol() {
            WireProtocol::Front => None,
            WireProtocol::Http | WireProtocol::Uwsgi => {
                connection.state.proxied.map(|named| proxy(py, named))
            }
        },
    }
}

fn proxy(py: Python<'_>, named: ProxiedAddresses) -> ProxyEndpoints {
    let text = |text: &str| PyString::new(py, text).unbind();
    ProxyEndpoints {
        protocol: text(if named.client.is_ipv4() {
            "TCP4"
        } else {
            "TCP6"
        }),
        address: text(&named.proxy.ip().to_string()),
        port: text(&named.proxy.port().to_string()),
    }
}
