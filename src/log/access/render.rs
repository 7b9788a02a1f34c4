//! Fills in a compiled format for one request. The default format allocates nothing, except when
//! the caller's buffer, which is reused for all lines, must grow.

use std::io::Write as _;
use std::time::Duration;

use super::Record;
use super::atom::{Atom, Number};
use super::piece::{Conversion, Piece, Shape};
use crate::{escape, stamp};

/// How text from the client or the app is escaped. A type and not a value, so that the choice costs
/// nothing.
pub(super) trait Escape {
    /// Escapes what stands in `out` from `mark` on.
    fn escape_from(out: &mut Vec<u8>, mark: usize);
}

impl Escape for escape::Quote {
    fn escape_from(out: &mut Vec<u8>, mark: usize) {
        escape::quote_from(out, mark);
    }
}

/// Appends the line of a request, without a line end.
pub(super) fn line(pieces: &[Piece], record: &impl Record, out: &mut Vec<u8>) {
    for each in pieces {
        piece::<escape::Quote>(each, record, out);
    }
}

/// Appends a piece of a format.
pub(super) fn piece<E: Escape>(piece: &Piece, record: &impl Record, out: &mut Vec<u8>) {
    match piece {
        Piece::Literal(bytes) => out.extend_from_slice(bytes),
        Piece::Plain(atom) => plain::<E>(atom, record, None, out),
        Piece::Shaped(atom, shape) => shaped::<E>(atom, *shape, record, out),
    }
}

/// Appends a value, at most `longest` characters of it.
fn plain<E: Escape>(atom: &Atom, record: &impl Record, longest: Option<usize>, out: &mut Vec<u8>) {
    let mark = out.len();
    let cut = |out: &mut Vec<u8>| {
        if let Some(longest) = longest {
            out.truncate(mark.saturating_add(longest));
        }
    };
    match atom {
        Atom::Foreign(foreign) => {
            foreign.of(record, out);
            // Before escaping: a cut within an escape could leave a backslash that escapes the
            // quote after the value.
            cut(out);
            E::escape_from(out, mark);
        }
        Atom::Measure(measure) => {
            number(measure.of(record), out);
            cut(out);
        }
        Atom::Time => {
            out.extend_from_slice(stamp::access_log(record.time()).as_bytes());
            cut(out);
        }
        Atom::Pid => {
            out.push(b'<');
            out.extend_from_slice(itoa::Buffer::new().format(record.pid()).as_bytes());
            out.push(b'>');
            cut(out);
        }
        Atom::Dash => {
            out.push(b'-');
            cut(out);
        }
    }
}

fn number(number: Number, out: &mut Vec<u8>) {
    match number {
        Number::Whole(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Number::Nanoseconds(value) => {
            let time = Duration::from_nanos(value);
            print(
                out,
                format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()),
            );
        }
        Number::Unknown(text) => out.extend_from_slice(text.as_bytes()),
    }
}

fn shaped<E: Escape>(atom: &Atom, shape: Shape, record: &impl Record, out: &mut Vec<u8>) {
    let mark = out.len();
    let value = match atom {
        Atom::Measure(measure) if shape.kind != Conversion::Text => match measure.of(record) {
            Number::Unknown(_) => None,
            known @ (Number::Whole(_) | Number::Nanoseconds(_)) => Some(known),
        },
        Atom::Measure(_) | Atom::Foreign(_) | Atom::Time | Atom::Pid | Atom::Dash => None,
    };
    match value {
        Some(value) => {
            converted(value, shape, out);
            if let Some(sign) = shape.sign {
                out.insert(mark, sign);
            }
        }
        // The precision of a number does not apply to text.
        None => plain::<E>(
            atom,
            record,
            shape.precision.filter(|_| shape.kind == Conversion::Text),
            out,
        ),
    }
    let missing = shape.width.saturating_sub(out.len().saturating_sub(mark));
    if missing > 0 {
        let (place, fill) = match (shape.left, shape.zeroes && value.is_some()) {
            (true, _) => (out.len(), b' '),
            (false, true) => (mark.saturating_add(usize::from(shape.sign.is_some())), b'0'),
            (false, false) => (mark, b' '),
        };
        out.splice(place..place, std::iter::repeat_n(fill, missing));
    }
}

/// Appends a number in the form of the conversion letter.
fn converted(value: Number, shape: Shape, out: &mut Vec<u8>) {
    let (whole, seconds) = match value {
        Number::Whole(value) => (value, Duration::from_secs(value).as_secs_f64()),
        Number::Nanoseconds(value) => {
            let time = Duration::from_nanos(value);
            (time.as_secs(), time.as_secs_f64())
        }
        Number::Unknown(_) => (0, 0.0),
    };
    let digits = shape.precision.unwrap_or(0);
    match shape.kind {
        Conversion::Text => number(value, out),
        Conversion::Whole => print(out, format_args!("{whole:0digits$}")),
        Conversion::Hex => print(out, format_args!("{whole:0digits$x}")),
        Conversion::UpperHex => print(out, format_args!("{whole:0digits$X}")),
        Conversion::Octal => print(out, format_args!("{whole:0digits$o}")),
        Conversion::Fraction => {
            print(
                out,
                format_args!("{seconds:.*}", shape.precision.unwrap_or(6)),
            );
        }
    }
}

pub(super) fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing numbers to a Vec cannot fail.
    drop(out.write_fmt(text));
}
