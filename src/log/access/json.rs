//! The access log as JSON: one object on each line, with rcorn's own members (`access_log_format:
//! json`), or in a format of the operator that is JSON itself.

use std::time::Duration;

use super::atom::{Atom, Foreign, Measure, Number};
use super::format::AccessFormat;
use super::piece::Piece;
use super::render::{self, Escape};
use super::{AccessFormatter, Record};
use crate::json;
use crate::{escape, stamp};

/// The value of `access_log_format` that selects [`JsonFields`].
pub(crate) const WORD: &str = "json";

/// One object with all usual members: text, numbers, and null for what a request does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonFields;

impl AccessFormatter for JsonFields {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(stamp::rfc3339(record.time()).as_bytes());
        out.push(b'"');
        text(b",\"remote_addr\":\"", record.remote_addr().as_bytes(), out);
        let user = |out: &mut Vec<u8>| Foreign::User.find(record, out);
        optional(b",\"user\":\"", b",\"user\":null", user, out);
        text(b",\"method\":\"", record.method(), out);
        text(b",\"target\":\"", record.raw_uri(), out);
        text(b",\"path\":\"", record.path(), out);
        text(b",\"query\":\"", record.query(), out);
        text(b",\"protocol\":\"", record.protocol(), out);
        number(b",\"status\":", record.status().into(), out);
        match record.body_bytes() {
            Some(bytes) => number(b",\"bytes\":", bytes, out),
            None => out.extend_from_slice(b",\"bytes\":null"),
        }
        out.extend_from_slice(b",\"duration\":");
        seconds(record.duration_ns(), out);
        let host = |out: &mut Vec<u8>| record.request_header("host", out);
        optional(b",\"host\":\"", b",\"host\":null", host, out);
        let referer = |out: &mut Vec<u8>| record.request_header("referer", out);
        optional(b",\"referer\":\"", b",\"referer\":null", referer, out);
        let user_agent = |out: &mut Vec<u8>| record.request_header("user-agent", out);
        optional(
            b",\"user_agent\":\"",
            b",\"user_agent\":null",
            user_agent,
            out,
        );
        if let Some(id) = record.request_id() {
            text(b",\"request_id\":\"", id.as_bytes(), out);
        }
        number(b",\"pid\":", record.pid().into(), out);
        out.extend_from_slice(b"}\n");
    }
}

// The members of an object, written without [`json::Object`], whose calls took a third of the time
// of a line: what stands before a value is one constant here.

/// Appends a string. `before`: all that stands before its value.
#[inline]
fn text<const N: usize>(before: &[u8; N], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    let mark = out.len();
    out.extend_from_slice(value);
    json::escape_from(out, mark);
    out.push(b'"');
}

/// Appends a string that `find` appends, after `before`; or `none` if it finds none.
#[inline]
fn optional<const N: usize, const M: usize>(
    before: &[u8; N],
    none: &[u8; M],
    find: impl FnOnce(&mut Vec<u8>) -> bool,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    out.extend_from_slice(before);
    let mark = out.len();
    if find(out) {
        json::escape_from(out, mark);
        out.push(b'"');
    } else {
        out.truncate(begin);
        out.extend_from_slice(none);
    }
}

/// Appends a whole number.
#[inline]
fn number<const N: usize>(before: &[u8; N], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds with a fraction of six digits.
fn seconds(nanoseconds: u64, out: &mut Vec<u8>) {
    let time = Duration::from_nanos(nanoseconds);
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(time.as_secs()).as_bytes());
    // Its first digit keeps the zeros that follow, and gives its place to the point.
    let fraction = digits.format(time.subsec_micros().saturating_add(1_000_000));
    out.push(b'.');
    out.extend_from_slice(fraction.as_bytes().get(1..).unwrap_or_default());
}

/// A format of the operator that is JSON, from its first brace on. Its lines are JSON whatever the
/// values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFormat {
    pieces: Vec<(Piece, Place)>,
}

/// Where a piece of the format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first brace: an ordinary line.
    Before,
    /// In a string.
    InString,
    /// Where JSON has a value.
    Value,
}

impl JsonFormat {
    /// The format, if it is JSON with any value in the place of each conversion.
    #[must_use]
    pub fn of(format: &AccessFormat) -> Option<Self> {
        let mut scan = Scan::default();
        let pieces = format.pieces.iter().map(|piece| {
            let place = match piece {
                Piece::Literal(text) => {
                    let place = scan.place();
                    scan.read(text);
                    place
                }
                Piece::Plain(_) | Piece::Shaped(..) => {
                    let place = scan.place();
                    scan.read_value(measure_of(piece).is_some());
                    place
                }
            };
            (piece.clone(), place)
        });
        let pieces = pieces.collect();
        let is_json = serde_json::from_slice::<serde_json::Value>(&scan.sample).is_ok();
        is_json.then_some(Self { pieces })
    }
}

impl AccessFormatter for JsonFormat {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        for (piece, place) in &self.pieces {
            match (piece, place) {
                (Piece::Literal(text), _) => out.extend_from_slice(text),
                (_, Place::Before) => render::piece::<escape::Quote>(piece, record, out),
                (_, Place::InString) => render::piece::<InString>(piece, record, out),
                (_, Place::Value) => value(piece, record, out),
            }
        }
        out.push(b'\n');
    }
}

/// Appends a value outside of a string: a number of rcorn's as it is, everything else as a string.
fn value(piece: &Piece, record: &impl Record, out: &mut Vec<u8>) {
    let measure = measure_of(piece);
    if measure.is_some_and(|measure| is_unknown(measure, record)) {
        out.extend_from_slice(b"null");
        return;
    }
    let mut text = Vec::new();
    render::piece::<Raw>(piece, record, &mut text);
    let is_number = || serde_json::from_slice::<serde_json::Number>(&text).is_ok();
    if measure.is_some() && is_number() {
        out.extend_from_slice(&text);
    } else {
        json::string(&text, out);
    }
}

/// The number that a piece prints, if it prints one.
fn measure_of(piece: &Piece) -> Option<Measure> {
    match piece {
        Piece::Plain(Atom::Measure(measure)) | Piece::Shaped(Atom::Measure(measure), _) => {
            Some(*measure)
        }
        Piece::Plain(_) | Piece::Shaped(..) | Piece::Literal(_) => None,
    }
}

fn is_unknown(measure: Measure, record: &impl Record) -> bool {
    matches!(measure.of(record), Number::Unknown(_))
}

/// Escapes for a JSON string.
#[derive(Debug)]
struct InString;

impl Escape for InString {
    fn escape_from(out: &mut Vec<u8>, mark: usize) {
        json::escape_from(out, mark);
    }
}

/// Does not escape; the caller does.
#[derive(Debug)]
struct Raw;

impl Escape for Raw {
    fn escape_from(_out: &mut Vec<u8>, _mark: usize) {}
}

/// Finds where the pieces of a format are, and collects what the format looks like with values.
#[derive(Debug, Default)]
struct Scan {
    /// The format from its first brace on, with something in the place of each conversion that is
    /// valid where any value is, and nowhere else.
    sample: Vec<u8>,
    in_string: bool,
    /// The last character was a backslash in a string.
    escapes: bool,
}

impl Scan {
    fn place(&self) -> Place {
        match (self.sample.is_empty(), self.in_string) {
            (true, _) => Place::Before,
            (false, true) => Place::InString,
            (false, false) => Place::Value,
        }
    }

    fn read(&mut self, text: &[u8]) {
        for byte in text {
            if self.sample.is_empty() && *byte != b'{' {
                continue;
            }
            self.sample.push(*byte);
            let escapes = std::mem::take(&mut self.escapes);
            match byte {
                _ if escapes => {}
                b'"' => self.in_string = !self.in_string,
                b'\\' if self.in_string => self.escapes = true,
                _ => {}
            }
        }
    }

    fn read_value(&mut self, is_number: bool) {
        let value: &[u8] = match self.place() {
            Place::Before => b"",
            // Not a hexadecimal digit, and not a letter of an escape.
            Place::InString => b"x",
            Place::Value if is_number => b"null",
            Place::Value => b"\"\"",
        };
        self.sample.extend_from_slice(value);
        self.escapes = false;
    }
}
