//! The gzip coding (RFC 9110 section 8.4.1.3) of responses: of which, and of their bytes.

use rcorn_front_link::Compress;
use rcorn_http::Head;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use crate::response_head::{Delimited, ResponseHead};

/// The window of 32 KiB, with the header and the trailer of gzip (`deflateInit2` of zlib).
const GZIP_WINDOW_BITS: i32 = 15 + 16;

/// How much is written at a time, in bytes.
const PART_BYTES: usize = 16 * 1024;

/// Whether a client takes gzip, by its Accept-Encoding (RFC 9110 section 12.5.3). `bytes` are those
/// that were parsed.
pub(crate) fn is_accepted(head: &Head, bytes: &[u8]) -> bool {
    let mut others = false;
    for field in &head.fields {
        if !field
            .name
            .of(bytes)
            .eq_ignore_ascii_case(b"accept-encoding")
        {
            continue;
        }
        for item in field.value.of(bytes).split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let accepted = parts.all(|part| !is_weight_of_zero(part));
            if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
                return accepted;
            }
            others |= coding == b"*" && accepted;
        }
    }
    others
}

/// Whether a parameter is `q=0`, which means "not acceptable" (RFC 9110 section 12.4.2).
fn is_weight_of_zero(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else {
        return false;
    };
    weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
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

/// The head of a response that could be compressed, and is if `compresses`.
pub(crate) fn write_head(head: &ResponseHead, bytes: &[u8], compresses: bool) -> Vec<u8> {
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
    if compresses {
        out.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    if compresses || head.delimited == Delimited::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Compresses the body of one response.
pub(crate) struct Gzip(Deflate);

impl Gzip {
    /// From 1, fast, to 9, small.
    pub(crate) fn new(level: u8) -> Self {
        Self(Deflate::new_with_config(DeflateConfig {
            level: i32::from(level.clamp(1, 9)),
            window_bits: GZIP_WINDOW_BITS,
            ..DeflateConfig::default()
        }))
    }

    /// Takes some of the body; what comes out may be less, or nothing yet.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.run(data, DeflateFlush::NoFlush, out);
    }

    /// Puts out all that was taken, so that the client can read it.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(&[], DeflateFlush::SyncFlush, out);
    }

    /// Puts out the rest and the trailer.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], DeflateFlush::Finish, out);
    }

    fn run(&mut self, mut data: &[u8], flush: DeflateFlush, out: &mut Vec<u8>) {
        loop {
            let start = out.len();
            out.resize(start.saturating_add(PART_BYTES), 0);
            let room = out.get_mut(start..).unwrap_or_default();
            let before = (self.0.total_in(), self.0.total_out());
            let status = self.0.compress(data, room, flush);
            let moved = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(0);
            let taken = moved(before.0, self.0.total_in());
            let written = moved(before.1, self.0.total_out());
            out.truncate(start.saturating_add(written));
            data = data.get(taken..).unwrap_or_default();
            let is_full = written == PART_BYTES;
            let goes_on = matches!(status, Ok(Status::Ok)) && (is_full || !data.is_empty());
            if !goes_on {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcorn_http::{Limits, parse_head};
    use zlib_rs::{InflateConfig, ReturnCode, decompress_slice};

    use super::*;

    fn unpacked(bytes: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length.max(1)];
        let config = InflateConfig {
            window_bits: GZIP_WINDOW_BITS,
        };
        let (out, code) = decompress_slice(&mut out, bytes, config);
        assert_eq!(code, ReturnCode::Ok);
        out.to_vec()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let noise: Vec<u8> = (0..300_000_u32)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 24).to_be_bytes()[3])
            .collect();
        let same = vec![b'x'; 1_000_000];
        for body in [&b""[..], b"a", &same, &noise] {
            for part in [1000, 65_536, 2_000_000] {
                let (mut gzip, mut out) = (Gzip::new(6), Vec::new());
                for (number, data) in body.chunks(part).enumerate() {
                    gzip.write(data, &mut out);
                    if number % 3 == 0 {
                        gzip.flush(&mut out);
                    }
                }
                gzip.finish(&mut out);
                assert!(unpacked(&out, body.len()) == body, "{} {part}", body.len());
            }
        }
    }

    #[test]
    fn a_client_says_what_it_takes() {
        let takes = |values: &[&str]| {
            let fields = values
                .iter()
                .map(|value| format!("Accept-Encoding: {value}\r\n"));
            let fields: String = fields.collect();
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let mut head = Head::default();
            parse_head(text.as_bytes(), &Limits::default(), &mut head).unwrap();
            is_accepted(&head, text.as_bytes())
        };
        for values in [
            &["gzip"][..],
            &["br, GZIP;q=0.5"],
            &["*"],
            &["br", "x-gzip"],
        ] {
            assert!(takes(values), "{values:?}");
        }
        for values in [
            &[][..],
            &["br"],
            &["gzip;q=0"],
            &["*, gzip; q=0.000"],
            &["*;q=0"],
        ] {
            assert!(!takes(values), "{values:?}");
        }
    }

    fn may_be(fields: &str, status: u16) -> bool {
        let rules = Compress {
            types: vec!["text/*".to_owned(), "application/json".to_owned()],
            min_bytes: 100,
            level: 6,
        };
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        assert!(head.parse(text.as_bytes(), false).unwrap());
        is_compressible(&rules, &head, text.as_bytes())
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
        let written = |compresses| String::from_utf8(write_head(&head, text, compresses)).unwrap();
        assert_eq!(
            written(true),
            "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nETag: W/\"a\"\r\n\
             Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            written(false),
            "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nContent-Length: 200\r\nETag: \"a\"\r\n\
             Accept-Ranges: bytes\r\nVary: Accept-Encoding\r\n\r\n"
        );
    }
}
