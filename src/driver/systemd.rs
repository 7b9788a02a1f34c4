//! Sockets that systemd passes to a service (`sd_listen_fds(3)`), fresh ones and those of its
//! store.

use std::os::fd::RawFd;

use rcorn_settings::Settings;

use super::listener::{ListenError, Listener};
use super::lookup::Addresses;

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST_FD: RawFd = 3;
/// The name under which our sockets lie in systemd's store of descriptors.
pub(super) const STORED_NAME: &str = "rcorn";
/// The variables of the protocol. They are for this process alone.
pub(super) const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The sockets that were passed: `LISTEN_FDS` of them, if `LISTEN_PID` is `pid`.
///
/// # Errors
///
/// A descriptor that is not a stream socket.
pub(super) fn passed(
    environment: &dyn Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Vec<Listener>, ListenError> {
    let number = |name: &str| environment(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(pid) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok());
    let end = FIRST_FD.saturating_add(count.unwrap_or(0));
    (FIRST_FD..end)
        .map(|fd| Listener::inherit(fd, None))
        .collect()
}

/// Whether all sockets that were passed are from the store, where rcorn has put them itself.
pub(super) fn are_stored(environment: &dyn Fn(&str) -> Option<String>) -> bool {
    environment("LISTEN_FDNAMES")
        .is_some_and(|names| names.split(':').all(|name| name == STORED_NAME))
}

/// Sockets that rcorn left in the store before a restart: each is matched with its address in
/// `bind`. One whose address is no longer in `bind` is closed.
pub(super) fn recognised(
    stored: Vec<Listener>,
    settings: &Settings,
    addresses: &Addresses,
) -> Vec<Listener> {
    let known = stored.into_iter().filter_map(|mut listener| {
        let mut bind = settings.bind.iter();
        let address = bind.find(|address| listener.is_bound_to(address, addresses))?;
        listener.address = Some(address.clone());
        listener.own_file();
        Some(listener)
    });
    known.collect()
}
