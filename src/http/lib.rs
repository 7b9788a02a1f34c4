//! HTTP/1 (RFC 9110 and RFC 9112), the PROXY header and uwsgi packets, as values. The crate is
//! pure: it does no I/O and reads no clock.
//!
//! Parsing is strict: what two parsers could read in two ways is refused, because a proxy in front
//! may read it the other way. A parser has three outcomes: done, more bytes needed, refused. Every
//! refusal has a name and a status ([`Refusal`]).
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "offsets into a buffer, and lengths of what is in memory, do not overflow; overflow \
              checks stay on, so that a mistake is a panic and not a wrong offset"
)]

mod accept_encoding;
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
mod guess;
pub mod hash;
mod head;
mod line;
mod proxy;
#[cfg(any(test, fuzzing))]
mod reader;
mod refusal;
pub mod response;
mod uwsgi;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod uwsgi_tests;

pub use accept_encoding::accepted_codings;
pub use bytes::decimal;
pub use cgi::{Variable, field_of};
pub use chunked::{Chunk, ChunkScan, ChunkedDecoder};
pub use guess::{Guess, field_in, first_line, forwarded_for};
pub use head::{Field, Framing, Head, parse_head};
pub use line::path_info;
pub use proxy::{Preface, ProxiedAddresses, ProxyVersions, parse_preface};
pub use refusal::Refusal;
pub use uwsgi::{Packet, parse_packet};

/// How far a parser has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// The value is complete.
    Done(T),
    /// More bytes are needed.
    More,
}

/// The limits and exceptions that the parser applies. The default is strict, with gunicorn's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of the request line, in bytes without its line end.
    pub request_line: usize,
    /// Maximum number of fields.
    pub fields: usize,
    /// Maximum length of a field line, in bytes with its line end.
    pub field_size: usize,
    /// Refuse an HTTP/1.1 request without Host (RFC 9112 section 3.2).
    pub require_host: bool,
    /// Accept folded field lines (RFC 9112 section 5.2); each fold becomes a space.
    pub permit_obsolete_folding: bool,
    /// Accept any token as a method, not only 3 to 20 capitals, digits, `-`, `_`, `.` and `$`.
    pub permit_unconventional_http_method: bool,
    /// Accept versions other than 1.0 and 1.1, and treat them as 1.1.
    pub permit_unconventional_http_version: bool,
    /// Convert methods to upper case.
    pub casefold_http_method: bool,
    /// Refuse field names that contain an underscore, instead of dropping the field.
    pub refuse_underscores: bool,
    /// Accept every byte but NUL, CR and LF in the target, in Host and in field values: a proxy has
    /// parsed the request and passes it on as variables, so nothing is left to be ambiguous.
    pub is_relayed: bool,
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
            is_relayed: false,
        }
    }
}

/// The versions of HTTP that are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// A part of a buffer, as offsets: it stays valid when the buffer moves in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The part from `start` up to `end`, which is not smaller.
    fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The bytes of this part of `buffer`.
    ///
    /// # Panics
    ///
    /// The span is of a longer buffer.
    #[must_use]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        let (before_end, _after) = buffer.split_at(self.end);
        let (_before, part) = before_end.split_at(self.start);
        part
    }

    /// The offset of the first byte.
    #[must_use]
    pub fn start(self) -> usize {
        self.start
    }

    /// The same part after `from` bytes before it became `to` bytes.
    fn moved(self, from: usize, to: usize) -> Self {
        Self {
            start: self.start - from + to,
            end: self.end - from + to,
        }
    }
}
