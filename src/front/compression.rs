//! Which responses are compressed, with which content coding (RFC 9110 section 8.4.1), and what
//! their heads say then.

use rcorn_front_link::{Coding, Compress};
use rcorn_http::{Head, accepted_codings};

use crate::response_head::{Delimited, ResponseHead};

/// The coding that a client is to get: of those that it takes by its Accept-Encoding (RFC 9110
/// section 12.5.3) the one that it prefers, and else that which comes first in the settings.
/// `bytes` are those that were parsed.
pub(crate) fn negotiated(rules: &Compress, head: &Head, bytes: &[u8]) -> Option<Coding> {
    let fields = head.fields.iter();
    let accepts = fields.filter(|field| {
        let name = field.name.of(bytes);
        name.eq_ignore_ascii_case(b"accept-encoding")
    });
    // Several are one list (RFC 9110 section 5.3).
    let values: Vec<&[u8]> = accepts.map(|field| field.value.of(bytes)).collect();
    let accepted = accepted_codings(&values.join(&b','), &rules.codings, Coding::name);
    accepted.first().copied()
}

/// Whether a response may be compressed, whoever asks for it.
pub(crate) fn is_compressible(rules: &Compress, head: &ResponseHead, bytes: &[u8]) -> bool {
    let is_short = match head.delimited {
        Delimited::None => true,
        Delimited::Length(length) => length < rules.min_bytes,
        Delimited::Chunked | Delimited::Close => false,
    };
    // A part of a representation is not a representation (RFC 9110 section 14).
    if is_short || matches!(head.status, ..200 | 206) {
        return false;
    }
    let mut is_listed = false;
    for (name, value) in head.fields(bytes) {
        if name.eq_ignore_ascii_case(b"content-type") {
            is_listed = rules.types.iter().any(|known| is_of_type(value, known));
        } else if name.eq_ignore_ascii_case(b"cache-control") {
            if has_directive(value, b"no-transform") {
                return false;
            }
        } else if name.eq_ignore_ascii_case(b"content-encoding")
            || name.eq_ignore_ascii_case(b"content-range")
        {
            return false;
        }
    }
    is_listed
}

/// Whether a media type is the one that is listed, or of its kind: `text/*`.
fn is_of_type(value: &[u8], listed: &str) -> bool {
    let end = value.iter().position(|byte| *byte == b';');
    let media_type = value.get(..end.unwrap_or(value.len())).unwrap_or(value);
    let media_type = media_type.trim_ascii();
    match listed.strip_suffix('*') {
        Some(kind) => media_type
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes())),
        None => media_type.eq_ignore_ascii_case(listed.as_bytes()),
    }
}

fn has_directive(value: &[u8], directive: &[u8]) -> bool {
    let mut directives = value.split(|byte| *byte == b',');
    directives.any(|found| found.trim_ascii().eq_ignore_ascii_case(directive))
}

/// The head of a response that could be compressed, and is if there is a coding.
pub(crate) fn write_head(head: &ResponseHead, bytes: &[u8], coding: Option<Coding>) -> Vec<u8> {
    let compresses = coding.is_some();
    let mut out = format!("HTTP/1.1 {} ", head.status).into_bytes();
    out.extend_from_slice(head.reason(bytes));
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.fields(bytes) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if compresses && (is(b"content-length") || is(b"accept-ranges")) {
            continue;
        }
        // Not the same bytes, but the same meaning (RFC 9110 section 8.8.1).
        let is_strong = compresses && is(b"etag") && !value.starts_with(b"W/");
        let weak: &[u8] = if is_strong { b"W/" } else { b"" };
        for part in [name, b": ", weak, value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    if let Some(coding) = coding {
        out.extend_from_slice(format!("Content-Encoding: {}\r\n", coding.name()).as_bytes());
    }
    if compresses || head.delimited == Delimited::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use rcorn_http::{Limits, parse_head};

    use super::*;

    fn rules(codings: &[Coding]) -> Compress {
        Compress {
            codings: codings.to_vec(),
            types: vec!["text/*".to_owned(), "application/json".to_owned()],
            min_bytes: 100,
            level: 6,
        }
    }

    #[test]
    fn client_and_settings_choose_together() {
        use Coding::{Br, Gzip, Zstd};
        let usual = [Zstd, Br, Gzip];
        let cases: [(&[Coding], &[&str], Option<Coding>); 16] = [
            (&usual, &["gzip, deflate, br, zstd"], Some(Zstd)),
            (&usual, &["gzip, br"], Some(Br)),
            (&[Gzip, Br], &["gzip, br"], Some(Gzip)),
            (&[Br], &["gzip, br;q=0.1"], Some(Br)),
            (&usual, &["zstd;q=0.5, GZIP;q=0.8"], Some(Gzip)),
            (&usual, &["zstd;q=0, *"], Some(Br)),
            (&usual, &["br", "x-gzip"], Some(Br)),
            (&usual, &["deflate", "x-gzip"], Some(Gzip)),
            (&usual, &["*"], Some(Zstd)),
            (&[Gzip], &["*, gzip; q=0.000"], None),
            (&usual, &["br;q=0.5, identity"], None),
            (&usual, &["identity;q=0, gzip"], Some(Gzip)),
            (&usual, &["*;q=0"], None),
            (&usual, &["deflate"], None),
            (&usual, &[""], None),
            (&usual, &[], None),
        ];
        for (codings, values, expected) in cases {
            let fields = values
                .iter()
                .map(|value| format!("Accept-Encoding: {value}\r\n"));
            let fields: String = fields.collect();
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let mut head = Head::default();
            parse_head(text.as_bytes(), &Limits::default(), &mut head).unwrap();
            let found = negotiated(&rules(codings), &head, text.as_bytes());
            assert_eq!(found, expected, "{codings:?} {values:?}");
        }
    }

    fn may_be(fields: &str, status: u16) -> bool {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        assert!(head.parse(text.as_bytes(), false).unwrap());
        is_compressible(&rules(&[Coding::Gzip]), &head, text.as_bytes())
    }

    #[test]
    fn only_what_is_listed_long_enough_and_not_coded_is_compressed() {
        let html = "Content-Type: text/html; charset=utf-8\r\n";
        for fields in [
            "Content-Length: 100\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Cache-Control: no-cache\r\n",
        ] {
            assert!(may_be(&format!("{html}{fields}"), 200), "{fields}");
        }
        assert!(may_be("Content-Type: Application/JSON\r\n", 404));
        for fields in [
            "Content-Length: 99\r\n",
            "Content-Encoding: br\r\n",
            "Cache-Control: public, No-Transform\r\n",
            "Content-Range: bytes 0-1/2\r\n",
        ] {
            assert!(!may_be(&format!("{html}{fields}"), 200), "{fields}");
        }
        assert!(!may_be("Content-Type: image/png\r\n", 200));
        assert!(!may_be("", 200));
        assert!(!may_be(html, 206));
        assert!(!may_be(html, 304));
    }

    #[test]
    fn the_head_says_that_it_is_compressed() {
        let text = b"HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nContent-Length: 200\r\n\
                     ETag: \"a\"\r\nAccept-Ranges: bytes\r\n\r\n";
        let mut head = ResponseHead::default();
        assert!(head.parse(text, false).unwrap());
        let written = |coding| String::from_utf8(write_head(&head, text, coding)).unwrap();
        assert_eq!(
            written(Some(Coding::Br)),
            "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nETag: W/\"a\"\r\n\
             Vary: Accept-Encoding\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            written(None),
            "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nContent-Length: 200\r\nETag: \"a\"\r\n\
             Accept-Ranges: bytes\r\nVary: Accept-Encoding\r\n\r\n"
        );
    }
}
