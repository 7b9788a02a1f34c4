//! The head of a request as a worker gets it: HTTP/1, with what the front knows of the client, and
//! without what concerns only the client's connection (RFC 9110 section 7.6.1).

use rcorn_front_link::FIELD_NAME;
use rcorn_http::{Framing, Head, Version};

/// How much of a request's line stands in logs, in bytes.
pub(crate) const ABOUT_BYTES: usize = 200;

/// Whether a field is that of the front, in any spelling that an environ takes for it.
fn is_of_front(name: &[u8]) -> bool {
    let known = FIELD_NAME.as_bytes();
    let same = |(one, other): (&u8, &u8)| match *one {
        b'_' => *other == b'-',
        one => one.eq_ignore_ascii_case(other),
    };
    name.len() == known.len() && name.iter().zip(known).all(same)
}

/// Fields about the connection or the framing of the body, which the front writes itself.
pub(crate) fn is_of_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Fields without which a request would be another one: a client cannot have them removed.
fn is_kept(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [b"content-length", b"host"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a value of Connection names a field.
pub(crate) fn names(connection: &[u8], name: &[u8]) -> bool {
    let mut options = connection.split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
}

/// Appends the head. `bytes` are those that were parsed; `facts` is the value of the front's field.
pub(crate) fn write(out: &mut Vec<u8>, head: &Head, bytes: &[u8], facts: &str) {
    out.reserve(head.length.saturating_add(facts.len()).saturating_add(64));
    let version: &[u8] = match head.version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
    };
    let target = head.target.of(bytes);
    for part in [head.method(bytes), b" ", target, b" ", version, b"\r\n"] {
        out.extend_from_slice(part);
    }
    for part in [FIELD_NAME, ": ", facts, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let fields = || {
        let both = |field: &rcorn_http::Field| (field.name.of(bytes), field.value.of(bytes));
        head.fields.iter().map(both)
    };
    let is_connection = |name: &[u8]| name.eq_ignore_ascii_case(b"connection");
    let has_options = fields().any(|(name, _)| is_connection(name));
    let names_it = |name: &[u8]| {
        let mut fields = fields();
        fields.any(|(field, value)| is_connection(field) && names(value, name))
    };
    for (name, value) in fields() {
        let is_named = has_options && !is_kept(name) && names_it(name);
        if !is_of_connection(name) && !is_named && !is_of_front(name) {
            write_field(out, name, value);
        }
    }
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if head.upgrades_to_websocket {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if head.version == Version::Http10 && head.keep_alive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a field. A fold becomes spaces (RFC 9112 section 5.2).
fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value);
    for byte in out.iter_mut().skip(start) {
        if matches!(*byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a request may be sent twice (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
    )
}

#[cfg(test)]
mod tests {
    use rcorn_http::{Limits, parse_head};

    use super::*;

    fn written(request: &str) -> String {
        let mut head = Head::default();
        let limits = Limits {
            permit_obsolete_folding: true,
            ..Limits::default()
        };
        parse_head(request.as_bytes(), &limits, &mut head).unwrap();
        let mut out = Vec::new();
        write(&mut out, &head, request.as_bytes(), "v=1");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_concerns_the_connection_stays_behind() {
        let request = "GET /a?b=%20 HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nConnection: close, X-Hop\r\n\
                       Keep-Alive: 5\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Kept: 2\r\n\r\n";
        assert_eq!(
            written(request),
            "GET /a?b=%20 HTTP/1.1\r\nRcorn-Front: v=1\r\nHost: x\r\nCookie: a=b\r\n\
             X-Kept: 2\r\n\r\n"
        );
    }

    #[test]
    fn no_client_brings_the_fronts_field_or_takes_host_or_length_away() {
        let request = "POST / HTTP/1.1\r\nrcorn-front: v=1; proto=https\r\nRcorn_Front: v=1\r\n\
                       RCORN-FRONT: x\r\nHost: x\r\nContent-Length: 3\r\n\
                       Connection: Host, Content-Length, Rcorn-Front\r\n\r\n";
        assert_eq!(
            written(request),
            "POST / HTTP/1.1\r\nRcorn-Front: v=1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn framing_and_upgrade_are_written_anew() {
        let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:  Chunked\r\n\r\n";
        assert_eq!(
            written(chunked),
            "POST / HTTP/1.1\r\nRcorn-Front: v=1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let websocket = "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
                         Upgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n";
        assert_eq!(
            written(websocket),
            "GET / HTTP/1.1\r\nRcorn-Front: v=1\r\nHost: x\r\nSec-WebSocket-Key: k\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(
            written(old),
            "GET / HTTP/1.0\r\nRcorn-Front: v=1\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn a_fold_becomes_spaces() {
        let folded = "GET / HTTP/1.1\r\nHost: x\r\nX-Long: a\r\n b\r\n\r\n";
        assert_eq!(
            written(folded),
            "GET / HTTP/1.1\r\nRcorn-Front: v=1\r\nHost: x\r\nX-Long: a   b\r\n\r\n"
        );
    }
}
