//! The atoms of the access log format: the meaning of each name in `%(name)s`, and its raw value.
//! `render` escapes and pads values.

use super::Record;

/// The meaning of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// Text from the client or the app, which must be escaped.
    Foreign(Foreign),
    /// A number that rcorn measured.
    Measure(Measure),
    /// `t`: when the response was complete.
    Time,
    /// `p`: the process that served the request, as `<123>`.
    Pid,
    /// `l`, and every unknown name: prints `-`.
    Dash,
}

/// Text from the client or the app.
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

/// A number that rcorn measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// `s`
    Status,
    /// `b`: prints `-` if unknown
    BytesOrDash,
    /// `B`: prints `None` if unknown, as Python does
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

/// The value of a [`Measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// A whole number.
    Whole(u64),
    /// Nanoseconds, printed as seconds with a fraction.
    Nanoseconds(u64),
    /// An unknown number, for which this text is printed.
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
    /// The value for this request.
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
    /// Appends the raw value for this request, `-` if there is none.
    pub(super) fn of(&self, record: &impl Record, out: &mut Vec<u8>) {
        if !self.find(record, out) {
            out.push(b'-');
        }
    }

    /// Appends the raw value for this request, and returns whether there is one.
    pub(super) fn find(&self, record: &impl Record, out: &mut Vec<u8>) -> bool {
        match self {
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
        }
    }
}

fn all(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

/// Appends the user of Basic authentication (RFC 7617); returns whether there is one.
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

/// Decodes base64 (RFC 4648 section 4) with or without padding; `None` if it is anything else.
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
        // Four letters are three bytes, three are two, two are one; one letter alone is an error.
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
