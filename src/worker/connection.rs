//! A connection of this worker, and what is kept of it between two turns of the event loop.

use std::borrow::Cow;

use rcorn_connection::HeadScan;
use rcorn_wsgi::Endpoints;

/// A connection of this worker, with what its requests need of Python.
pub(super) type Connection = rcorn_connection::Connection<Endpoints>;

/// Keeps the bytes that were not served, from `at` on, with room for `capacity` bytes.
pub(super) fn keep(connection: &mut Connection, bytes: Cow<'_, [u8]>, at: usize, capacity: usize) {
    connection.buffer = match bytes {
        Cow::Owned(mut own) if at == 0 => {
            own.reserve_exact(capacity.saturating_sub(own.len()));
            own
        }
        bytes @ (Cow::Owned(_) | Cow::Borrowed(_)) => {
            let (_served, rest) = bytes.split_at(at);
            let mut own = Vec::with_capacity(capacity.max(rest.len()));
            own.extend_from_slice(rest);
            own
        }
    };
    if connection.head_scan.is_new() {
        connection.head_scan = HeadScan::parsed(connection.buffer.len());
    }
}
