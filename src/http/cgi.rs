//! A request as variables (RFC 3875 section 4.1), as a proxy sends it: checked, and written as a
//! head of HTTP, so that all that is said about heads is said once. Knows no wire form; `uwsgi`
//! does.

use super::bytes::{self, TOKEN};
use super::{Framing, Head, Limits, Progress, Refusal, Span, parse_head};

/// One variable, as places in the bytes that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: Span,
    /// Its value.
    pub value: Span,
}

/// What the head is made of; of a variable that comes several times the last one counts, as with
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

/// Names that the environ keeps for the server.
const RESERVED: [&[u8]; 2] = [b"wsgi.", b"rcorn."];
/// Fields that the proxy has dealt with: `CONTENT_LENGTH` and `CONTENT_TYPE` have their own names,
/// and what frames the body is `CONTENT_LENGTH` alone.
const DEALT_WITH: [&[u8]; 3] = [b"CONTENT_LENGTH", b"CONTENT_TYPE", b"TRANSFER_ENCODING"];
/// What stands in the request line until the proxy's own word is put over it.
const VERSION: &[u8] = b"HTTP/1.0";

/// The field that a variable is made from: `X_NAME` of `HTTP_X_NAME`.
#[must_use]
pub fn field_of(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"HTTP_")
}

/// Writes the variables, which are parts of `bytes`, as a head into `text`, and parses it into
/// `head`.
///
/// The head is one of HTTP/1.0 that does not go on: no chunks, no `100 Continue`, no second
/// request. Its request line shows the version that the client spoke.
pub(super) fn translate(
    bytes: &[u8],
    variables: &[Variable],
    limits: &Limits,
    text: &mut Vec<u8>,
    head: &mut Head,
) -> Result<(), Refusal> {
    let parts = head_parts(bytes, variables)?;
    text.clear();
    text.extend_from_slice(parts.method);
    text.push(b' ');
    if parts.target.is_empty() {
        write_target(&parts, text);
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
        if name.is_empty() || !bytes::all(name, &TOKEN) {
            return Err(Refusal::FieldName);
        }
        if !DEALT_WITH
            .iter()
            .any(|known| bytes::same_cgi_name(name, known))
        {
            field(name, variable.value.of(bytes));
        }
    }
    text.extend_from_slice(b"\r\n");
    match parse_head(text, limits, head)? {
        Progress::Done(()) if head.length == text.len() => {}
        // Not possible with values that have no line ends.
        Progress::Done(()) | Progress::More => return Err(Refusal::VariableValue),
    }
    if head.framing == Framing::Chunked {
        return Err(Refusal::Coding);
    }
    head.keep_alive = false;
    if let Some(place) = text.get_mut(version..version.saturating_add(VERSION.len()))
        && !parts.protocol.is_empty()
    {
        let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = parts.protocol else {
            return Err(Refusal::VersionForm);
        };
        if !major.is_ascii_digit() || !minor.is_ascii_digit() {
            return Err(Refusal::VersionForm);
        }
        place.copy_from_slice(parts.protocol);
    }
    Ok(())
}

/// Checks each variable, and picks those that the head is made of.
fn head_parts<'a>(bytes: &'a [u8], variables: &[Variable]) -> Result<Parts<'a>, Refusal> {
    let mut parts = Parts::default();
    for variable in variables {
        let (name, value) = (variable.name.of(bytes), variable.value.of(bytes));
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let reserved = RESERVED.iter().any(|prefix| name.starts_with(prefix));
        if name.is_empty() || name.contains(&0) || name.iter().any(is_end) || reserved {
            return Err(Refusal::VariableName);
        }
        // These are decoded: `/a%0Ab` is a path like any other, over HTTP too.
        let decoded = matches!(name, b"PATH_INFO" | b"SCRIPT_NAME" | b"DOCUMENT_URI");
        if value.contains(&0) || (!decoded && value.iter().any(is_end)) {
            return Err(Refusal::VariableValue);
        }
        match name {
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

/// The target, encoded again from its decoded parts, for a proxy that does not send `REQUEST_URI`.
fn write_target(parts: &Parts<'_>, text: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| HEX.get(usize::from(value & 0x0f)).copied().unwrap_or(b'0');
    let path = [parts.script, parts.path].concat();
    if path.first() != Some(&b'/') {
        text.push(b'/');
    }
    for byte in path {
        // RFC 3986 section 3.3: `pchar` and the slash.
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(byte);
        } else {
            text.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
    if !parts.query.is_empty() {
        text.push(b'?');
        text.extend_from_slice(parts.query);
    }
}
