//! A request slot: all that one request in flight needs. The worker has one today; each more would
//! let it serve one more request at a time.

use rcorn_http::{Head, Packet};

use super::handler::RequestHandler;

/// Bytes asked of a connection at once.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// With a body of the size that buffers have behind a head: in one piece.
const SCRATCH_BYTES: usize = READ_BYTES + 16 * 1024;

/// Its parts are apart, so that a request can lie in the scratch buffer while the handler serves
/// it.
#[derive(Debug)]
pub(super) struct RequestSlot {
    /// What was received last, unless a connection keeps it.
    pub(super) scratch: Vec<u8>,
    pub(super) parser: Parser,
    pub(super) handler: RequestHandler,
}

/// The head of the request, in buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) head: Head,
    pub(super) packet: Packet,
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
