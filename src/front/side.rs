//! The client of an exchange, whatever it speaks.

use std::task::{Context, Poll};

use bytes::Bytes;
use rcorn_http::Refusal;

use crate::response_head::ResponseHead;

/// What came of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Some more of it.
    Data,
    /// It has ended.
    End,
}

/// Why a client gets no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// It has left.
    Gone,
    /// Its body is malformed.
    Refused(Refusal),
}

/// The client of an exchange, whatever it speaks.
pub(crate) trait Side {
    /// Appends some more of the request's body.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Part, ClientError>>;

    /// Sends an interim response (RFC 9110 section 15.2).
    fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ClientError>;

    /// Begins the response. With `ends` it has no body.
    fn begin(&mut self, head: &ResponseHead, bytes: &[u8], ends: bool) -> Result<(), ClientError>;

    /// Takes some of the body, and returns how much. Nothing comes after the `last` data.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        last: bool,
    ) -> Poll<Result<usize, ClientError>>;

    /// Takes some of what is left of a body in memory of the worker, and returns how much. Nothing
    /// comes after it.
    fn poll_send_shared(
        &mut self,
        cx: &mut Context<'_>,
        data: &Bytes,
    ) -> Poll<Result<usize, ClientError>>;

    /// Sends what was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// Ends the response, and sends all of it.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// A number that grows whenever the client takes something.
    fn taken(&self) -> u64;

    /// Ready when the client has told that it does not want the response any more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
