//! Where the body of a request is awaited: here already, parked, or with the app, which reads it
//! while it comes.

use pyo3::prelude::*;

use rcorn_http::{ChunkScan, ChunkedDecoder, Framing};
use rcorn_wsgi::Body;

use super::connection::Connection;
use super::request::Request;
use super::rules::Rules;

/// A body whose rest is awaited without a request slot, or that the app reads while it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyPlan {
    /// All of it is here: this many bytes behind the head.
    Here(usize),
    /// Park until this many bytes, with the head, are here.
    Until(usize),
    /// Park until the last chunk is here.
    Chunks,
    /// The app takes it as it comes.
    Stream,
}

impl BodyPlan {
    /// The plan for this request.
    pub(super) fn new(
        rules: &Rules<'_>,
        connection: &mut Connection,
        request: &Request<'_>,
    ) -> Self {
        match request.head.framing {
            Framing::None => Self::Here(0),
            Framing::Length(length) => Self::for_length(rules, request, length),
            Framing::Chunked => Self::for_chunks(rules, connection, request),
        }
    }

    fn for_length(rules: &Rules<'_>, request: &Request<'_>, length: u64) -> Self {
        let most = rules.settings.request_buffer.bytes();
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        let wanted = usize::try_from(length.min(most)).unwrap_or(usize::MAX);
        if here >= length {
            return Self::Here(usize::try_from(length).unwrap_or(usize::MAX));
        }
        // The client waits for our word; or enough is here to believe that the rest will come too.
        if request.head.expect_continue || here >= most {
            return Self::Stream;
        }
        Self::Until(request.length.saturating_add(wanted))
    }

    /// One that is malformed is for the app's reading to fail upon.
    fn for_chunks(rules: &Rules<'_>, connection: &mut Connection, request: &Request<'_>) -> Self {
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        if request.head.expect_continue || here >= rules.settings.request_buffer.bytes() {
            return Self::Stream;
        }
        let scan = connection
            .chunks
            .get_or_insert_with(|| Box::new(ChunkScan::new(&rules.limits, request.length)));
        match scan.ends(request.text) {
            Ok(false) => Self::Chunks,
            Ok(true) | Err(_) => Self::Stream,
        }
    }

    /// The body's source, and how many of the bytes behind the head belong to the request.
    pub(super) fn source(
        self,
        py: Python<'_>,
        rules: &Rules<'_>,
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
