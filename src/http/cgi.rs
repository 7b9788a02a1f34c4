//! A request as variables (RFC 3875 section 4.1), as a proxy sends it. The variables are checked
//! and written as a head of HTTP, so that every rule about heads exists once. The wire format is in
//! `uwsgi`.

use super::bytes::{self, TOKEN};
use super::{Framing, Head, Limits, Progress, Refusal, Span, parse_head};

/// A variable, as parts of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: Span,
    /// The value.
    pub value: Span,
}

/// The variables of which the head is made. Of several with one name the last one counts, as in
/// uWSGI.
#[derive(Debug, Default)]
struct Parts<'a> {
    method: &'a [u8],
    target: &'a [u8],
    protocol: &'a [u8],
    script: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
    kind: &'a [u8],
    length: Option<&'a [u8]>,
}

/// The beginnings of names that the environ reserves for the server.
const RESERVED: [&[u8]; 2] = [b"wsgi.", b"rcorn."];
/// Fields that are ignored, because the proxy sends them as variables of their own or has already
/// obeyed them: only the variable `CONTENT_LENGTH` delimits the body.
const IGNORED: [&[u8]; 3] = [b"CONTENT_LENGTH", b"CONTENT_TYPE", b"TRANSFER_ENCODING"];
/// The version in the request line while it is parsed; `SERVER_PROTOCOL` replaces it then.
const VERSION: &[u8] = b"HTTP/1.0";

/// The name of the field that a variable was made from: `X_NAME` of `HTTP_X_NAME`. A name that no
/// field can have, such as `HTTP_A B`, is that of another variable.
#[must_use]
pub fn field_of(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_prefix(b"HTTP_")?;
    (!name.is_empty() && bytes::all(name, &TOKEN)).then_some(name)
}

/// Writes the variables, which are parts of `bytes`, as a head into `text`, and parses it into
/// `head`. What the proxy has let through is not refused ([`Limits::is_relayed`]).
///
/// The head is one of HTTP/1.0 after which the connection is closed: without chunks and `100
/// Continue`. Its request line has the version that the client used.
///
/// # Errors
///
/// The request must be refused. `text` and `head` have no meaning then.
pub(super) fn translate(
    bytes: &[u8],
    variables: &[Variable],
    limits: &Limits,
    text: &mut Vec<u8>,
    head: &mut Head,
) -> Result<(), Refusal> {
    let parts = head_parts(bytes, variables)?;
    text.clear();
    let version = write_head(bytes, variables, &parts, text);
    let limits = Limits {
        is_relayed: true,
        ..limits.clone()
    };
    match parse_head(text, &limits, head)? {
        Progress::Done(()) if head.length == text.len() => {}
        // Cannot happen, because no value in the head contains a line end.
        Progress::Done(()) | Progress::More => return Err(Refusal::VariableValue),
    }
    if head.framing == Framing::Chunked {
        return Err(Refusal::Coding);
    }
    head.keep_alive = false;
    if parts.protocol.is_empty() {
        return Ok(());
    }
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = parts.protocol else {
        return Err(Refusal::VersionForm);
    };
    if !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return Err(Refusal::VersionForm);
    }
    let (_before, rest) = text.split_at_mut(version);
    let (place, _after) = rest.split_at_mut(VERSION.len());
    place.copy_from_slice(parts.protocol);
    Ok(())
}

/// Appends the head; returns where its version begins.
fn write_head(
    bytes: &[u8],
    variables: &[Variable],
    parts: &Parts<'_>,
    text: &mut Vec<u8>,
) -> usize {
    text.extend_from_slice(parts.method);
    text.push(b' ');
    if parts.target.is_empty() {
        write_target(parts, text);
    } else {
        text.extend_from_slice(parts.target);
    }
    text.push(b' ');
    let version = text.len();
    text.extend_from_slice(VERSION);
    text.extend_from_slice(b"\r\n");
    let mut field = |name: &[u8], value: &[u8]| {
        text.extend(
            name.iter()
                .map(|byte| if *byte == b'_' { b'-' } else { *byte }),
        );
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    };
    if !parts.kind.is_empty() {
        field(b"CONTENT_TYPE", parts.kind);
    }
    if let Some(length) = parts.length {
        field(b"CONTENT_LENGTH", length);
    }
    for variable in variables {
        let Some(name) = field_of(variable.name.of(bytes)) else {
            continue;
        };
        let is_ignored = IGNORED
            .iter()
            .any(|known| bytes::same_cgi_name(name, known));
        if !is_ignored {
            field(name, variable.value.of(bytes));
        }
    }
    text.extend_from_slice(b"\r\n");
    version
}

/// Checks the variables, and selects those of which the head is made.
fn head_parts<'a>(bytes: &'a [u8], variables: &[Variable]) -> Result<Parts<'a>, Refusal> {
    let mut parts = Parts::default();
    for variable in variables {
        let (name, value) = (variable.name.of(bytes), variable.value.of(bytes));
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let reserved = RESERVED.iter().any(|prefix| name.starts_with(prefix));
        if name.is_empty() || name.contains(&0) || name.iter().any(is_end) || reserved {
            return Err(Refusal::VariableName);
        }
        if value.contains(&0) || (is_in_line(name) && value.iter().any(is_end)) {
            return Err(Refusal::VariableValue);
        }
        match name {
            // A second space in the request line would begin the target.
            b"REQUEST_METHOD" if value.contains(&b' ') => return Err(Refusal::Method),
            b"REQUEST_METHOD" => parts.method = value,
            b"REQUEST_URI" => parts.target = value,
            b"SERVER_PROTOCOL" => parts.protocol = value,
            b"SCRIPT_NAME" => parts.script = value,
            b"PATH_INFO" => parts.path = value,
            b"QUERY_STRING" => parts.query = value,
            b"CONTENT_TYPE" => parts.kind = value,
            b"CONTENT_LENGTH" if value.is_empty() => {}
            b"CONTENT_LENGTH" => {
                let before = parts.length.replace(value);
                if before.is_some_and(|before| before != value) {
                    return Err(Refusal::Twice("Content-Length"));
                }
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// Whether a variable becomes part of a line of the head or of a log, so that its value must not
/// contain a line end. Others may, because they are made of decoded paths: `/a%0Ab` is a valid
/// path.
fn is_in_line(name: &[u8]) -> bool {
    let named: [&[u8]; 7] = [
        b"CONTENT_LENGTH",
        b"CONTENT_TYPE",
        b"QUERY_STRING",
        b"REMOTE_ADDR",
        b"REQUEST_METHOD",
        b"REQUEST_URI",
        b"SERVER_PROTOCOL",
    ];
    named.contains(&name) || field_of(name).is_some()
}

/// Writes the target for a proxy that does not send `REQUEST_URI`: its decoded parts, encoded
/// again.
fn write_target(parts: &Parts<'_>, text: &mut Vec<u8>) {
    let digit = |value: u8| match value {
        0..=9 => b'0' + value,
        value => b'A' + (value - 10),
    };
    let path = [parts.script, parts.path].concat();
    if path.first() != Some(&b'/') {
        text.push(b'/');
    }
    for byte in path {
        // `pchar` and the slash (RFC 3986 section 3.3).
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(byte);
        } else {
            text.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
    if !parts.query.is_empty() {
        text.push(b'?');
        text.extend_from_slice(parts.query);
    }
}
