//! What a service manager is told (`sd_notify(3)`): datagrams to the socket it named, nothing when it named
//! none.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log;

/// The way to the service manager.
#[derive(Debug)]
pub(super) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// `NOTIFY_SOCKET`: a path, or an abstract name after `@`.
    pub(super) fn new(address: Option<String>) -> Self {
        let Some(text) = address.filter(|text| !text.is_empty()) else {
            return Self(None);
        };
        let parsed = match text.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&text),
        };
        match parsed.and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
            Ok(way) => Self(Some(way)),
            Err(error) => {
                log::warning(format_args!("cannot reach NOTIFY_SOCKET {text}: {error}"));
                Self(None)
            }
        }
    }

    /// Tells one or more assignments, each on its own line.
    pub(super) fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::debug(format_args!(
                "cannot tell the service manager {state:?}: {error}"
            ));
        }
    }
}
