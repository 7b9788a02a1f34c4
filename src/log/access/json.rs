//! The access log as JSON: one object on each line, with rcorn's own members (`access_log_format:
//! json`), or in a format of the operator that is JSON itself.

use std::time::Duration;

use super::atom::{Atom, Foreign, Measure, Number};
use super::format::AccessFormat;
use super::piece::Piece;
use super::render::{self, Escape};
use super::{AccessFormatter, Record};
use crate::json::{self, Object};
use crate::{escape, stamp};

/// The value of `access_log_format` that selects [`JsonFields`].
pub(crate) const WORD: &str = "json";

/// One object with all usual members: text, numbers, and null for what a request does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonFields;

impl AccessFormatter for JsonFields {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object
            .member("time", |out| {
                out.push(b'"');
                out.extend_from_slice(stamp::rfc3339(record.time()).as_bytes());
                out.push(b'"');
            })
            .text("remote_addr", record.remote_addr().as_bytes())
            .optional("user", |out| Foreign::User.find(record, out))
            .text("method", record.method())
            .text("target", record.raw_uri())
            .text("path", record.path())
            .text("query", record.query())
            .text("protocol", record.protocol())
            .number("status", record.status().into())
            .member("bytes", |out| match record.body_bytes() {
                Some(bytes) => out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes()),
                None => out.extend_from_slice(b"null"),
            })
            .member("duration", |out| seconds(record.duration_ns(), out))
            .optional("host", |out| record.request_header("host", out))
            .optional("referer", |out| record.request_header("referer", out))
            .optional("user_agent", |out| record.request_header("user-agent", out));
        if let Some(id) = record.request_id() {
            object.text("request_id", id.as_bytes());
        }
        object.number("pid", record.pid().into()).end();
    }
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
