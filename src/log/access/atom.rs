//! The atoms of the access-log format: what each name in `%(name)s` stands for, and how its raw
//! value is got from a [`Record`]. Nothing here escapes or pads; `render` does.

use super::Record;

/// What an atom stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// Text that the peer or the app chose: to be escaped.
    Foreign(Foreign),
    /// A number of ours.
    Measure(Measure),
    /// `t`: when the reply was complete.
    Time,
    /// `p`: the process that served it, as `<123>`.
    Pid,
    /// `l`, and every name that nobody knows: prints `-`.
    Dash,
}

/// Text that the peer or the app chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// `h`
    RemoteAddr,
    /// `u`
    User,
    /// `r`
    RequestLine,
    /// `m`
    Method,
    /// `U`
    Path,
    /// `q`
    Query,
    /// `H`
    Protocol,
    /// `f`, `a` and `{name}i`
    RequestHeader(Box<str>),
    /// `{name}o`
    ResponseHeader(Box<str>),
    /// `{name}e`
    Environ(Box<str>),
}

/// A number of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// `s`
    Status,
    /// `b`: `-` when unknown
    BytesOrDash,
    /// `B`: `None` when unknown
    Bytes,
    /// `T`
    Seconds,
    /// `M`
    Milliseconds,
    /// `D`
    Microseconds,
    /// `L`
    DecimalSeconds,
}

/// A value of a [`Measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// As it is.
    Whole(u64),
    /// To be shown as seconds with a fraction.
    Nanoseconds(u64),
    /// Not known: this text stands for it.
    Unknown(&'static str),
}

impl Atom {
    /// The atom of this name.
    pub(super) fn named(name: &str) -> Self {
        if let Some(inner) = name.strip_prefix('{') {
            return match inner.rsplit_once('}') {
                Some((field, "i")) => request_header(field),
                Some((field, "o")) => {
                    Self::Foreign(Foreign::ResponseHeader(field.to_ascii_lowercase().into()))
                }
                Some((key, "e")) => Self::Foreign(Foreign::Environ(key.into())),
                Some(_) | None => Self::Dash,
            };
        }
        match name {
            "h" => Self::Foreign(Foreign::RemoteAddr),
            "u" => Self::Foreign(Foreign::User),
            "t" => Self::Time,
            "r" => Self::Foreign(Foreign::RequestLine),
            "s" => Self::Measure(Measure::Status),
            "m" => Self::Foreign(Foreign::Method),
            "U" => Self::Foreign(Foreign::Path),
            "q" => Self::Foreign(Foreign::Query),
            "H" => Self::Foreign(Foreign::Protocol),
            "b" => Self::Measure(Measure::BytesOrDash),
            "B" => Self::Measure(Measure::Bytes),
            "T" => Self::Measure(Measure::Seconds),
            "M" => Self::Measure(Measure::Milliseconds),
            "D" => Self::Measure(Measure::Microseconds),
            "L" => Self::Measure(Measure::DecimalSeconds),
            "p" => Self::Pid,
            "f" => request_header("referer"),
            "a" => request_header("user-agent"),
            _ => Self::Dash,
        }
    }
}

fn request_header(name: &str) -> Atom {
    Atom::Foreign(Foreign::RequestHeader(name.to_ascii_lowercase().into()))
}

impl Measure {
    /// Its value.
    pub(super) fn of(self, record: &impl Record) -> Number {
        let whole = |unit: u64| Number::Whole(record.duration_ns().div_euclid(unit));
        match self {
            Self::Status => Number::Whole(record.status().into()),
            Self::BytesOrDash => record
                .body_bytes()
                .map_or(Number::Unknown("-"), Number::Whole),
            Self::Bytes => record
                .body_bytes()
                .map_or(Number::Unknown("None"), Number::Whole),
            Self::Seconds => whole(1_000_000_000),
            Self::Milliseconds => whole(1_000_000),
            Self::Microseconds => whole(1_000),
            Self::DecimalSeconds => Number::Nanoseconds(record.duration_ns()),
        }
    }
}

impl Foreign {
    /// Appends the raw value.
    pub(super) fn of(&self, record: &impl Record, out: &mut Vec<u8>) {
        let known = match self {
            Self::RemoteAddr => all(record.remote_addr().as_bytes(), out),
            Self::User => user(record, out),
            Self::RequestLine => {
                out.extend_from_slice(record.method());
                out.push(b' ');
                out.extend_from_slice(record.raw_uri());
                out.push(b' ');
                all(record.protocol(), out)
            }
            Self::Method => all(record.method(), out),
            Self::Path => all(record.path(), out),
            Self::Query => all(record.query(), out),
            Self::Protocol => all(record.protocol(), out),
            Self::RequestHeader(name) => record.request_header(name, out),
            Self::ResponseHeader(name) => record.response_header(name, out),
            Self::Environ(name) => record.environ(name, out),
        };
        if !known {
            out.push(b'-');
        }
    }
}

fn all(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

/// Appends the user of an HTTP Basic field (RFC 7617), if there is one.
fn user(record: &impl Record, out: &mut Vec<u8>) -> bool {
    let mark = out.len();
    if !record.request_header("authorization", out) {
        return false;
    }
    let field = out.split_off(mark);
    let Some((scheme, credentials)) = field.split_at_checked(5) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic") || !credentials.starts_with(b" ") {
        return false;
    }
    match decode_base64(credentials.trim_ascii()) {
        Some(decoded) => {
            let end = decoded
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(decoded.len());
            out.extend(decoded.into_iter().take(end));
            out.len() > mark
        }
        None => false,
    }
}

/// Decodes base64 (RFC 4648 section 4); `None` if it is anything else. Padding may be missing.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut decoded = Vec::with_capacity(unpadded.len());
    for group in unpadded.chunks(4) {
        let mut bits: u32 = 0;
        for place in 0..4 {
            let digit = group
                .get(place)
                .map_or(Some(0), |letter| base64_digit(*letter))?;
            bits = (bits << 6) | u32::from(digit);
        }
        let [_, first, second, third] = bits.to_be_bytes();
        // Two letters carry one byte, three two, four three; one alone carries none.
        let whole = [first, second, third];
        decoded.extend_from_slice(whole.get(..group.len().checked_sub(1).filter(|n| *n > 0)?)?);
    }
    Some(decoded)
}

fn base64_digit(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => letter.checked_sub(b'A'),
        b'a'..=b'z' => letter.checked_sub(b'a').and_then(|n| n.checked_add(26)),
        b'0'..=b'9' => letter.checked_sub(b'0').and_then(|n| n.checked_add(52)),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
