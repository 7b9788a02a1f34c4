//! The pure parts of the hot path in nanoseconds: parsing a head, decoding chunks and paths,
//! checking what an app declares. For comparing commits on a quiet machine; what needs a CPython is
//! counted in instructions instead (`tests/bench/instructions.py`).
//!
//! `RCORN_NATIVE=/dev/null cargo bench`: the variable saves building the native module, which is
//! not run here.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a bench is like a test: it may panic"
)]

use divan::Bencher;
use divan::counter::BytesCount;
use rcorn_http::{
    ChunkedDecoder, Head, Limits, Packet, Progress, parse_head, parse_packet, path_info, response,
};

const MINIMAL: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BROWSER: &str = "GET /index.html?x=1 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=abcdefghijklmnop; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

fn main() {
    divan::main();
}

/// Parses heads in turn, as a connection does, with one `Head`.
fn heads(bencher: Bencher<'_, '_>, heads: &[String]) {
    let limits = Limits::default();
    let mut head = Head::default();
    let mut next = heads.iter().cycle();
    bencher
        .counter(BytesCount::of_str(&heads[0]))
        .bench_local(|| {
            let bytes = next.next().map_or(&[][..], String::as_bytes);
            assert_eq!(
                parse_head(divan::black_box(bytes), &limits, &mut head),
                Ok(Progress::Done(()))
            );
            head.length
        });
}

/// Two heads that differ in their last field, so that nothing of one serves the other.
fn changing(head: &str) -> [String; 2] {
    let fields = head.trim_end();
    ["1", "2"].map(|value| format!("{fields}\r\nX-Turn: {value}\r\n\r\n"))
}

#[divan::bench]
fn head_minimal(bencher: Bencher<'_, '_>) {
    heads(bencher, &changing(MINIMAL));
}

#[divan::bench]
fn head_browser(bencher: Bencher<'_, '_>) {
    heads(bencher, &changing(BROWSER));
}

#[divan::bench]
fn head_browser_same_as_before(bencher: Bencher<'_, '_>) {
    heads(bencher, &[BROWSER.to_owned()]);
}

#[divan::bench]
fn head_browser_one_byte_short(bencher: Bencher<'_, '_>) {
    let limits = Limits::default();
    let mut head = Head::default();
    let cut = &BROWSER.as_bytes()[..BROWSER.len() - 1];
    bencher.bench_local(|| {
        let result = parse_head(divan::black_box(cut), &limits, &mut head);
        assert_eq!(result, Ok(Progress::More));
    });
}

#[divan::bench]
fn uwsgi_packet(bencher: Bencher<'_, '_>) {
    let mut variables = Vec::new();
    let put = |variables: &mut Vec<u8>, text: &str| {
        variables.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        variables.extend(text.as_bytes());
    };
    for (name, value) in [
        ("QUERY_STRING", "x=1"),
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", "/index.html?x=1"),
        ("PATH_INFO", "/index.html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "www.example.com"),
        ("HTTP_HOST", "www.example.com"),
        ("HTTP_ACCEPT", "*/*"),
        ("HTTP_COOKIE", "session=abcdefghijklmnop; theme=dark"),
    ] {
        put(&mut variables, name);
        put(&mut variables, value);
    }
    let size = u16::try_from(variables.len()).unwrap().to_le_bytes();
    let packet = [&[0, size[0], size[1], 0][..], &variables].concat();
    let limits = Limits::default();
    let (mut parsed, mut head) = (Packet::default(), Head::default());
    bencher
        .counter(BytesCount::of_slice(&packet))
        .bench_local(|| {
            let result = parse_packet(divan::black_box(&packet), &limits, &mut parsed, &mut head);
            assert_eq!(result, Ok(Progress::Done(())));
        });
}

#[divan::bench(args = [16, 1024, 65536])]
fn chunks(bencher: Bencher<'_, '_>, size: usize) {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    let body = format!("{}0\r\n\r\n", chunk.repeat(20));
    let limits = Limits::default();
    // The data is not touched, so its size does not count.
    bencher.bench_local(|| {
        let mut decoder = ChunkedDecoder::new(&limits);
        let (mut rest, mut data) = (divan::black_box(body.as_bytes()), 0);
        loop {
            let chunk = decoder.decode(rest).expect("well formed");
            data += chunk.data.len();
            rest = &rest[chunk.consumed..];
            if chunk.done {
                break;
            }
        }
        assert_eq!(data, 20 * size);
    });
}

#[divan::bench(args = ["/index.html", "/a%20file/%C3%A9t%C3%A9.html"])]
fn path(bencher: Bencher<'_, '_>, path: &str) {
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        path_info(divan::black_box(path.as_bytes()), &mut out);
        out.len()
    });
}

#[divan::bench]
fn reply_of_ten_fields(bencher: Bencher<'_, '_>) {
    const FIELDS: [(&str, &str); 10] = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", "14"),
        ("Cache-Control", "no-cache, private"),
        ("Vary", "Accept-Encoding, Cookie"),
        ("ETag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
        (
            "Set-Cookie",
            "session=abcdefghijklmnop; Path=/; HttpOnly; SameSite=Lax",
        ),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
    ];
    bencher.bench_local(|| {
        assert_eq!(response::check_status(divan::black_box(b"200 OK")), Ok(200));
        for (name, value) in divan::black_box(FIELDS) {
            assert_eq!(response::check_name(name.as_bytes()), Ok(()));
            assert_eq!(response::check_value(value.as_bytes()), Ok(()));
            assert!(!response::hop_by_hop(name.as_bytes()));
        }
    });
}
