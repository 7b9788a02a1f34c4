//! Where the body of a request is awaited: here already, parked, or with the app, which reads it while it comes.

use pyo3::prelude::*;

use rcorn_http::{ChunkScan, ChunkedDecoder, Framing};
use rcorn_wsgi::body::Body;

use super::connection::Connection;
use super::desk::Desk;
use super::serve::Request;

/// A body whose rest is awaited without a worker, or that the app reads while it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gather {
    /// All of it is here: so many bytes behind the head.
    Here(usize),
    /// Park until so many bytes, with the head, are here.
    Until(usize),
    /// Park until the last chunk is here.
    Chunks,
    /// The app takes it as it comes.
    Stream,
}

impl Desk<'_> {
    /// The body's source, and how many of the bytes behind the head belong to the request.
    pub(super) fn body(
        &self,
        py: Python<'_>,
        connection: &Connection,
        request: &Request<'_>,
        gather: &Gather,
    ) -> (Option<Body>, usize) {
        let behind = request.behind;
        let channel = connection.channel.clone();
        match (gather, request.head.framing) {
            (_, Framing::None) => (None, 0),
            (Gather::Here(length), Framing::Length(_)) => {
                let body = behind.get(..*length).unwrap_or(behind);
                (Some(Body::whole(py, body, channel)), *length)
            }
            (_, Framing::Length(length)) => (
                Some(Body::with_length(behind.to_vec(), length, channel)),
                behind.len(),
            ),
            (_, Framing::Chunked) => {
                let decoder = ChunkedDecoder::new(&self.limits);
                (
                    Some(Body::chunked(behind.to_vec(), decoder, channel)),
                    behind.len(),
                )
            }
        }
    }

    /// Where a body of known length is awaited.
    pub(super) fn gather(&self, request: &Request<'_>, length: u64) -> Gather {
        let most = self.settings.request_buffer.bytes();
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        if here >= length {
            return Gather::Here(usize::try_from(length).unwrap_or(usize::MAX));
        }
        // The client waits for our word; or enough is here to believe that the rest will come too.
        if request.head.expect_continue || here >= most {
            return Gather::Stream;
        }
        let wanted = usize::try_from(length.min(most)).unwrap_or(usize::MAX);
        Gather::Until(request.length.saturating_add(wanted))
    }

    /// Where a chunked body is awaited. One that is malformed is for the app's reading to fail upon.
    pub(super) fn gather_chunks(
        &self,
        connection: &mut Connection,
        request: &Request<'_>,
    ) -> Gather {
        let here = u64::try_from(request.behind.len()).unwrap_or(u64::MAX);
        if request.head.expect_continue || here >= self.settings.request_buffer.bytes() {
            return Gather::Stream;
        }
        let scan = connection
            .chunks
            .get_or_insert_with(|| Box::new(ChunkScan::new(&self.limits, request.length)));
        match scan.ends(request.text) {
            Ok(false) => Gather::Chunks,
            Ok(true) | Err(_) => Gather::Stream,
        }
    }
}
