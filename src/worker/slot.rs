//! A request slot: all that one request in progress needs. A worker has one for each thread that
//! serves.

use rcorn_http::{Head, Packet};

use super::front::FrontClients;
use super::handler::RequestHandler;

/// The most bytes that one read of a connection asks for.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Enough for a head and a body of that size in one piece.
const SCRATCH_BYTES: usize = READ_BYTES + 16 * 1024;

/// Its parts are separate fields, so that a request can refer to the scratch buffer while the
/// handler serves it.
#[derive(Debug)]
pub(super) struct RequestSlot {
    /// What was received last, unless a connection keeps it.
    pub(super) scratch: Vec<u8>,
    pub(super) parser: Parser,
    pub(super) handler: RequestHandler,
}

/// The head of the request, in buffers that are reused.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) head: Head,
    pub(super) packet: Packet,
    /// The clients of fronts.
    pub(super) front_clients: FrontClients,
    /// The head of a front's request, without what the front says of its client.
    pub(super) front_text: Vec<u8>,
}

impl RequestSlot {
    pub(super) fn new(handler: RequestHandler) -> Self {
        Self {
            scratch: vec![0; SCRATCH_BYTES],
            parser: Parser::default(),
            handler,
        }
    }
}
