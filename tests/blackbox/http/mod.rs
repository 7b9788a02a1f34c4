//! HTTP over real sockets: framing, waiting, slow clients, many clients.

mod capacity;
mod coalescing;
mod connections;
mod corpus;
mod crowd;
mod fairness;
mod handoff;
mod large_bodies;
mod refusals;
mod request_bodies;
mod responses;
mod slow_clients;
mod static_files;

use std::time::Duration;

use crate::support::{Reply, Wire};

pub(super) const HOST: &str = "Host: x\r\n";

pub(super) fn ask(wire: &mut Wire, request: &str) -> Reply {
    wire.send(request);
    wire.read_reply()
}

/// The longest of these, and the one that 99 of 100 do not exceed.
pub(super) fn worst(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() - 1], times[times.len() * 99 / 100])
}
