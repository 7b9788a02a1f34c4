//! The language: bytes ⇄ values, RFC 9112 and RFC 9110. Pure: no I/O, no clock. Strict: whatever
//! two parsers could read in two ways is refused, because a proxy in front may read it the other
//! way. Three outcomes: done, need more, refused; and every refusal has a name and a status.
#![forbid(unsafe_code)]

pub mod body;
mod bytes;
mod cgi;
mod chunked;
pub mod environ;
#[cfg(any(test, fuzzing))]
#[expect(
    clippy::expect_used,
    clippy::naive_bytecount,
    reason = "it must panic; it need not be fast"
)]
pub mod fuzz;
pub mod hash;
mod head;
mod line;
mod proxy;
#[cfg(any(test, fuzzing))]
mod reader;
mod refusal;
pub mod reply;
mod uwsgi;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod corpus_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests;
#[cfg(test)]
mod uwsgi_tests;

pub use bytes::decimal;
pub use cgi::{Variable, field_of};
pub use chunked::{Chunk, ChunkScan, ChunkedDecoder};
pub use head::{Field, Framing, Head, parse_head};
pub use line::path_info;
pub use proxy::{Preface, ProxiedAddresses, ProxyVersions, parse_preface};
pub use refusal::Refusal;
pub use uwsgi::{Packet, parse_packet};

/// How far a parser came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// It is complete.
    Done(T),
    /// It needs more bytes.
    More,
}

/// What the parser enforces. The default is strict, with gunicorn's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line, in bytes, without its end.
    pub request_line: usize,
    /// Most fields.
    pub fields: usize,
    /// Longest field line, in bytes, without its end.
    pub field_size: usize,
    /// HTTP/1.1 requests must have a Host (RFC 9112 section 3.2).
    pub require_host: bool,
    /// Folded field lines are joined by a space instead of refused (RFC 9112 section 5.2).
    pub permit_obsolete_folding: bool,
    /// Methods other than three to twenty capitals, digits, `-`, `_`, `.` and `$`.
    pub permit_unconventional_http_method: bool,
    /// Versions other than 1.0 and 1.1, taken as 1.1.
    pub permit_unconventional_http_version: bool,
    /// Methods are taken in upper case.
    pub casefold_http_method: bool,
    /// Field names with an underscore are refused, not dropped.
    pub refuse_underscores: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 4094,
            fields: 100,
            field_size: 8190,
            require_host: true,
            permit_obsolete_folding: false,
            permit_unconventional_http_method: false,
            permit_unconventional_http_version: false,
            casefold_http_method: false,
            refuse_underscores: false,
        }
    }
}

/// The versions we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// A part of the received bytes, by place: survives a move of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A span of a buffer; buffers of heads are far smaller than 4 GiB.
    fn new(start: usize, end: usize) -> Self {
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            end: place(end),
        }
    }

    /// The bytes; none when the span does not lie within them.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let place = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        bytes.get(place(self.start)..place(self.end)).unwrap_or(&[])
    }

    /// Where it begins.
    #[must_use]
    pub fn start(self) -> usize {
        usize::try_from(self.start).unwrap_or(usize::MAX)
    }

    /// The same part after the buffer's beginning moved from `from` to `to`.
    fn moved(self, from: usize, to: usize) -> Self {
        let place = |place: u32| {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            u32::try_from(place.saturating_sub(from).saturating_add(to)).unwrap_or(u32::MAX)
        };
        Self {
            start: place(self.start),
            end: place(self.end),
        }
    }
}
