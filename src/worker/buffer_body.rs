//! Where a request waits for its body: nowhere, because it has arrived; parked; or in the app,
//! which reads the body as it arrives.

use pyo3::prelude::*;

use rcorn_http::{ChunkScan, ChunkedDecoder, Framing};
use rcorn_wsgi::Body;

use super::connection::Connection;
use super::request::Request;
use super::rules::Rules;

/// How the rest of a body is received: before the app is called, without a request slot, or by the
/// app as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyPlan {
    /// All of it has arrived: this many bytes after the head.
    Here(usize),
    /// Park until this many bytes, with the head, have arrived.
    Until(usize),
    /// Park until the last chunk has arrived.
    Chunks,
    /// The last chunk has arrived: the app's reads decode what is here.
    AllChunks,
    /// The app reads it as it arrives.
    Stream,
}

impl BodyPlan {
    /// The plan for this request.
    pub(super) fn new(rules: &Rules, connection: &mut Connection, request: &Request<'_>) -> Self {
        match request.head.framing {
            Framing::None => Self::Here(0),
            Framing::Length(length) => Self::for_length(rules, request, length),
            Framing::Chunked => Self::for_chunks(rules, connection, request),
        }
    }

    fn for_length(rules: &Rules, request: &Request<'_>, length: u64) -> Self {
        let most = rules.settings.request_buffer.bytes();
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        let wanted = usize::try_from(length.min(most)).unwrap_or(usize::MAX);
        if here >= length {
            return Self::Here(usize::try_from(length).unwrap_or(usize::MAX));
        }
        // The client waits for `100 Continue`; or enough has arrived to expect that the rest will,
        // too.
        if request.head.expect_continue || here >= most {
            return Self::Stream;
        }
        Self::Until(request.length.saturating_add(wanted))
    }

    /// A malformed one is given to the app, whose read fails.
    fn for_chunks(rules: &Rules, connection: &mut Connection, request: &Request<'_>) -> Self {
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        if request.head.expect_continue || here >= rules.settings.request_buffer.bytes() {
            return Self::Stream;
        }
        let scan = connection
            .chunks
            .get_or_insert_with(|| Box::new(ChunkScan::new(&rules.limits, request.length)));
        // The text of a front's request is not what lies on the wire.
        match scan.body_ends(request.behind) {
            Ok(false) => Self::Chunks,
            Ok(true) => Self::AllChunks,
            Err(_) => Self::Stream,
        }
    }

    /// The body's source, and how many of the bytes after the head belong to the request.
    pub(super) fn source(
        self,
        py: Python<'_>,
        rules: &Rules,
        connection: &Connection,
        request: &Request<'_>,
    ) -> (Option<Body>, usize) {
        let behind = request.behind;
        let channel = || connection.channel.clone();
        let body = match (self, request.head.framing) {
            (_, Framing::None) => return (None, 0),
            (Self::Here(length), Framing::Length(_)) => {
                let (body, _next) = behind.split_at(length);
                return (Some(Body::whole(py, body, channel())), length);
            }
            (_, Framing::Length(length)) => Body::with_length(behind.to_vec(), length, channel()),
            (_, Framing::Chunked) => {
                let decoder = ChunkedDecoder::new(&rules.limits);
                Body::chunked(behind.to_vec(), decoder, channel())
            }
        };
        (Some(body), behind.len())
    }
}
