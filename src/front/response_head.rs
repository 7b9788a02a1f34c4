//! The head of a worker's response (RFC 9112 section 4 and 6.3).

use std::ops::Range;

use rcorn_http::response::{check_name, check_value};

use crate::request_head::{is_of_connection, names};

/// The longest head of a response, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// How the body of a response is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delimited {
    /// There is no body.
    #[default]
    None,
    /// By Content-Length, in bytes.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A field, as offsets.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// A parsed head. It is reused, together with its memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) delimited: Delimited,
    /// The worker keeps the connection.
    pub(crate) keeps: bool,
    /// Its length in bytes.
    pub(crate) length: usize,
    reason: Range<usize>,
    fields: Vec<Field>,
    has_connection: bool,
}

/// Why it is not the head of a response.
pub(crate) type Malformed = &'static str;

impl ResponseHead {
    /// Parses the head at the start of `bytes`; false if its end has not arrived.
    ///
    /// # Errors
    ///
    /// It is malformed.
    pub(crate) fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<bool, Malformed> {
        self.fields.clear();
        let Some(mut at) = self.parse_status_line(bytes)? else {
            return Ok(false);
        };
        let mut framing = Framing::default();
        self.has_connection = false;
        loop {
            let Some(end) = line_end(bytes, at)? else {
                return Ok(false);
            };
            let next = end.saturating_add(2);
            if at == end {
                self.length = next;
                break;
            }
            let field = parse_field(bytes, at, end)?;
            framing.apply(of(bytes, &field.name), of(bytes, &field.value))?;
            self.fields.push(field);
            at = next;
        }
        self.has_connection = framing.has_connection;
        self.delimited = if to_head || matches!(self.status, 100..200 | 204 | 304) {
            Delimited::None
        } else {
            framing.delimited()?
        };
        self.keeps = !framing.closes && self.delimited != Delimited::Close && self.keeps;
        Ok(true)
    }

    /// The status line; returns the offset of the first field.
    fn parse_status_line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(end) = line_end(bytes, 0)? else {
            return Ok(None);
        };
        let line = bytes.get(..end).unwrap_or_default();
        let (version, rest) = line.split_first_chunk::<9>().ok_or("no status line")?;
        self.keeps = match version {
            b"HTTP/1.1 " => true,
            b"HTTP/1.0 " => false,
            _ => return Err("it does not begin with HTTP/1.1"),
        };
        let (code, reason) = rest.split_first_chunk::<3>().ok_or("no status")?;
        let status = rcorn_http::decimal(code).and_then(|code| u16::try_from(code).ok());
        self.status = status
            .filter(|status| (100..600).contains(status))
            .ok_or("the status is no number from 100 to 599")?;
        if !matches!(reason.first(), None | Some(b' ')) || check_value(reason).is_err() {
            return Err("the reason phrase is malformed");
        }
        let start = end.saturating_sub(reason.len());
        self.reason = start.saturating_add(1).min(end)..end;
        Ok(Some(end.saturating_add(2)))
    }

    /// The reason phrase.
    pub(crate) fn reason<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        of(bytes, &self.reason)
    }

    /// The fields that concern the client: names and values.
    pub(crate) fn fields<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let all = move || {
            let fields = self.fields.iter();
            fields.map(move |field| (of(bytes, &field.name), of(bytes, &field.value)))
        };
        let names_it = move |name: &[u8]| {
            let is_connection = |field: &[u8]| field.eq_ignore_ascii_case(b"connection");
            all().any(|(field, value)| is_connection(field) && names(value, name))
        };
        let is_named = move |name: &[u8]| self.has_connection && names_it(name);
        all().filter(move |(name, _)| {
            let is_length = name.eq_ignore_ascii_case(b"content-length");
            !is_of_connection(name) && (is_length || !is_named(name))
        })
    }
}

/// What the fields say about the framing.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    closes: bool,
    has_connection: bool,
}

impl Framing {
    fn apply(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = rcorn_http::decimal(value).ok_or("Content-Length is no number")?;
            if self.length.replace(length).is_some() {
                return Err("there are two Content-Length fields");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("the Transfer-Encoding is not exactly 'chunked'");
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.has_connection = true;
            self.closes |= names(value, b"close");
        }
        Ok(())
    }

    fn delimited(&self) -> Result<Delimited, Malformed> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err("there are both Content-Length and Transfer-Encoding"),
            (true, None) => Ok(Delimited::Chunked),
            (false, Some(0)) => Ok(Delimited::None),
            (false, Some(length)) => Ok(Delimited::Length(length)),
            (false, None) => Ok(Delimited::Close),
        }
    }
}

fn of<'a>(bytes: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    bytes.get(range.clone()).unwrap_or_default()
}

/// The offset of the CR LF at the end of the line that begins at `at`.
fn line_end(bytes: &[u8], at: usize) -> Result<Option<usize>, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(feed) = memchr::memchr(b'\n', rest) else {
        return if bytes.len() > MAX_BYTES {
            Err("its head is too long")
        } else {
            Ok(None)
        };
    };
    let end = feed
        .checked_sub(1)
        .filter(|end| rest.get(*end) == Some(&b'\r'));
    end.map(|end| Some(at.saturating_add(end)))
        .ok_or("a line does not end with CR LF")
}

fn parse_field(bytes: &[u8], at: usize, end: usize) -> Result<Field, Malformed> {
    let line = bytes.get(at..end).unwrap_or_default();
    let colon = memchr::memchr(b':', line).ok_or("a field has no colon")?;
    let (name, value) = line.split_at(colon);
    let value = value.strip_prefix(b":").unwrap_or(value);
    if check_name(name).is_err() || check_value(value).is_err() {
        return Err("a field is malformed");
    }
    let start = end
        .saturating_sub(value.len())
        .saturating_add(value.len().saturating_sub(value.trim_ascii_start().len()));
    let stop = start.saturating_add(value.trim_ascii().len());
    Ok(Field {
        name: at..at.saturating_add(colon),
        value: start..stop,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Option<ResponseHead>, Malformed> {
        let mut head = ResponseHead::default();
        let done = head.parse(text.as_bytes(), false)?;
        Ok(done.then_some(head))
    }

    #[test]
    fn a_head_is_read_whole_or_not_at_all() {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\nX-A:  b \r\nConnection: x-hop\r\n\
                    X-Hop: 1\r\nEmpty:\r\n\r\n";
        for length in 0..text.len() {
            assert!(parsed(&text[..length]).unwrap().is_none(), "{length}");
        }
        let head = parsed(text).unwrap().unwrap();
        assert_eq!(
            (head.status, head.length, head.keeps),
            (404, text.len(), true)
        );
        assert_eq!(head.delimited, Delimited::Length(12));
        assert_eq!(head.reason(text.as_bytes()), b"Not Found");
        let fields: Vec<_> = head.fields(text.as_bytes()).collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"Content-Length", b"12"), (b"X-A", b"b"), (b"Empty", b"")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_body_is_delimited_as_rfc_9112_says() {
        for (text, delimited, keeps) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Delimited::Close, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Delimited::None, true),
            (
                "HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
                Delimited::None,
                true,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", Delimited::None, true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Delimited::Chunked,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Delimited::None,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\n",
                Delimited::Length(1),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
                Delimited::Length(1),
                false,
            ),
        ] {
            let head = parsed(text).unwrap().unwrap();
            assert_eq!((head.delimited, head.keeps), (delimited, keeps), "{text}");
        }
        let mut head = ResponseHead::default();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(head.parse(text, true).unwrap());
        assert_eq!(head.delimited, Delimited::None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1 600 X\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    fn few_fields() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec((".{0,9}", ".{0,9}"), 0..4)
    }

    proptest! {
        /// Whatever a worker sends, and however little of it has arrived.
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, fields in few_fields()) {
            let mut head = ResponseHead::default();
            head.parse(&bytes, false).ok();
            let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
            for (name, value) in &fields {
                text.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            text.extend_from_slice(b"\r\n");
            for end in 0..text.len() {
                let part = text.get(..end).unwrap_or_default();
                if head.parse(part, false) == Ok(true) {
                    // It has ended before: a value had an empty line.
                    prop_assert!(head.length <= end);
                }
            }
            if head.parse(&text, false) == Ok(true) {
                prop_assert!(head.fields(&text).count() <= fields.len());
            }
        }
    }
}
