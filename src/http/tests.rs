//! The parser against tables of right and wrong, and against every way of cutting them.

use proptest::prelude::*;

use super::*;

/// The outcome in one comparable line.
fn outcome(bytes: &[u8], limits: &Limits) -> String {
    let mut head = Head::default();
    describe(bytes, parse_head(bytes, limits, &mut head), &head)
}

fn describe(bytes: &[u8], result: Result<Progress<()>, Refusal>, head: &Head) -> String {
    let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
    match result {
        Err(refusal) => format!("refused {} {refusal:?}", refusal.status()),
        Ok(Progress::More) => "more".into(),
        Ok(Progress::Done(())) => {
            let fields: Vec<String> = head
                .fields
                .iter()
                .map(|field| format!("{}={}", text(field.name), text(field.value)))
                .collect();
            format!(
                "{} {} path={} query={} {:?} {:?} keep={} expect={} host={:?} [{}] {}",
                text(head.method),
                text(head.target),
                text(head.path),
                text(head.query),
                head.version,
                head.framing,
                head.keep_alive,
                head.expect_continue,
                head.host.map(text),
                fields.join("|"),
                head.length
            )
        }
    }
}

fn strict(bytes: &str) -> String {
    outcome(bytes.as_bytes(), &Limits::default())
}

fn refused(bytes: &str, refusal: Refusal) {
    let expected = format!("refused {} {refusal:?}", refusal.status());
    assert_eq!(strict(bytes), expected, "{bytes:?}");
}

const HOST: &str = "Host: x\r\n";

#[test]
fn a_plain_request() {
    assert_eq!(
        strict("GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Y:  v \t\r\n\r\nrest"),
        "GET /a?b=c path=/a query=b=c Http11 None keep=true expect=false host=Some(\"h:1\") [Host=h:1|X-Y=v] 45"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_refused_and_why() {
    let with = |field: &str| format!("GET / HTTP/1.1\r\n{HOST}{field}\r\n\r\n");
    let post = |fields: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n");
    for (request, refusal) in [
        ("GET / HTTP/1.1\nHost: x\n\n".to_owned(), Refusal::LineEnd),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n".into(), Refusal::LineEnd),
        ("   \r\n\r\n".into(), Refusal::Method),
        ("GET /\r\n\r\n".into(), Refusal::RequestLine),
        ("GET  / HTTP/1.1\r\n\r\n".into(), Refusal::RequestLine),
        ("GET /a b HTTP/1.1\r\n\r\n".into(), Refusal::RequestLine),
        ("get / HTTP/1.1\r\n\r\n".into(), Refusal::Method),
        ("GE / HTTP/1.1\r\n\r\n".into(), Refusal::Method),
        ("G(T / HTTP/1.1\r\n\r\n".into(), Refusal::Method),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n".into(), Refusal::Connect),
        ("GET a HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET * HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET /#f HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET /\u{1} HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET /\u{e9} HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET ftp://x/ HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET http:///a HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET http://u@h/ HTTP/1.1\r\n\r\n".into(), Refusal::Target),
        ("GET / HTTP/2.0\r\n\r\n".into(), Refusal::Version),
        ("GET / HTTP/1.2\r\n\r\n".into(), Refusal::Version),
        ("GET / http/1.1\r\n\r\n".into(), Refusal::VersionForm),
        ("GET / HTTP/1.1x\r\n\r\n".into(), Refusal::VersionForm),
        ("GET / HTTP/1.1\r\n\r\n".into(), Refusal::NoHost),
        (
            format!("GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"),
            Refusal::ManyHosts,
        ),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), Refusal::Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), Refusal::Host),
        ("GET / HTTP/1.1\r\n Host: x\r\n\r\n".into(), Refusal::Folded),
        (with("A: b\r\n c"), Refusal::Folded),
        (with("A : b"), Refusal::FieldName),
        (with(": b"), Refusal::FieldName),
        (with("A"), Refusal::FieldName),
        (with("\u{e9}: b"), Refusal::FieldName),
        (with("A: b\u{0}c"), Refusal::FieldValue),
        (with("A: b\u{b}"), Refusal::FieldValue),
        (with("A: b\rc"), Refusal::FieldValue),
        (with("Content_Length: 1"), Refusal::FramingTwin),
        (with("transfer_ENCODING: chunked"), Refusal::FramingTwin),
        (with("Expect: 200-ok"), Refusal::Expectation),
        (
            with("Content-Type: a\r\nContent-Type: b"),
            Refusal::Twice("Content-Type"),
        ),
        (post("Content-Length: "), Refusal::Length),
        (post("Content-Length: +1"), Refusal::Length),
        (post("Content-Length: 1_0"), Refusal::Length),
        (post("Content-Length: 0x10"), Refusal::Length),
        (post("Content-Length: 5, 5"), Refusal::Length),
        (
            post("Content-Length: 99999999999999999999"),
            Refusal::Length,
        ),
        (
            post("Content-Length: 5\r\nContent-Length: 5"),
            Refusal::Twice("Content-Length"),
        ),
        (
            post("Content-Length: 5\r\nTransfer-Encoding: chunked"),
            Refusal::LengthAndCoding,
        ),
        (
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            Refusal::Twice("Transfer-Encoding"),
        ),
        (post("Transfer-Encoding: gzip"), Refusal::UnknownCoding),
        (
            post("Transfer-Encoding: gzip, chunked"),
            Refusal::UnknownCoding,
        ),
        (post("Transfer-Encoding: chunked, gzip"), Refusal::Coding),
        (post("Transfer-Encoding: \u{b}chunked"), Refusal::FieldValue),
        (post("Transfer-Encoding:"), Refusal::Coding),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            Refusal::CodingInHttp10,
        ),
    ] {
        refused(&request, refusal);
    }
}

#[test]
fn limits_hold_before_the_end_has_come() {
    let limits = Limits {
        request_line: 20,
        fields: 2,
        field_size: 10,
        ..Limits::default()
    };
    let ask = |text: &str| outcome(text.as_bytes(), &limits);
    assert!(ask("GET /aaaa HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("GET"));
    assert!(ask("GET /aaaaaaaaaaaaaaaa").starts_with("refused 414"));
    assert!(ask("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n").starts_with("refused 414"));
    assert!(ask("GET / HTTP/1.1\r\nHost: x\r\nA: 12345678").starts_with("refused 431"));
    assert!(ask("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n").starts_with("refused 431"));
}

#[test]
fn leniency_where_it_was_asked_for() {
    let limits = Limits {
        require_host: false,
        permit_obsolete_folding: true,
        permit_unconventional_http_method: true,
        permit_unconventional_http_version: true,
        ..Limits::default()
    };
    let ask = |text: &str| outcome(text.as_bytes(), &limits);
    assert!(ask("q#x / HTTP/1.1\r\n\r\n").starts_with("q#x /"));
    assert!(ask("GET / HTTP/1.7\r\n\r\n").contains("Http11"));
    assert!(ask("GET / HTTP/1.1\r\nA: b\r\n  c\r\nD: e\r\n\r\n").contains("[A=b\r\n  c|D=e]"));
}

#[test]
fn forms_of_the_target() {
    assert!(strict(&format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n")).contains("path=* query= "));
    let absolute = strict(&format!("GET HTTP://other:81/p?q HTTP/1.1\r\n{HOST}\r\n"));
    assert!(
        absolute.contains("path=/p query=q") && absolute.contains("host=Some(\"other:81\")"),
        "{absolute}"
    );
}

#[test]
fn the_connection_goes_on_or_ends() {
    let keep = |text: String| strict(&text).contains("keep=true");
    assert!(keep(format!("GET / HTTP/1.1\r\n{HOST}\r\n")));
    assert!(!keep(format!(
        "GET / HTTP/1.1\r\n{HOST}Connection: x, Close\r\n\r\n"
    )));
    assert!(!keep("GET / HTTP/1.0\r\n\r\n".into()));
    assert!(keep(
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".into()
    ));
}

#[test]
fn the_same_fields_are_not_parsed_again_and_say_the_same() {
    let limits = Limits::default();
    let mut head = Head::default();
    let parse = |bytes: &str, head: &mut Head| {
        let result = parse_head(bytes.as_bytes(), &limits, head);
        describe(bytes.as_bytes(), result, head)
    };
    parse(
        &format!("GET /first HTTP/1.1\r\n{HOST}A: b\r\n\r\n"),
        &mut head,
    );
    let serial = head.serial;
    let again = format!("POST /a/longer/path?x HTTP/1.1\r\n{HOST}A: b\r\n\r\n");
    assert_eq!(parse(&again, &mut head), strict(&again));
    assert_eq!(head.serial, serial);
    for other in [
        format!("GET /first HTTP/1.1\r\n{HOST}A: c\r\n\r\n"),
        format!("GET /first HTTP/1.0\r\n{HOST}A: c\r\n\r\n"),
        format!("GET http://else/ HTTP/1.0\r\n{HOST}A: c\r\n\r\n"),
        format!("GET / HTTP/1.0\r\n{HOST}A: c\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}\r\n"),
    ] {
        assert_eq!(parse(&other, &mut head), strict(&other), "{other:?}");
    }
}

#[test]
fn paths_are_decoded() {
    let decode = |path: &str| {
        let mut out = Vec::new();
        path_info(path.as_bytes(), &mut out);
        out
    };
    assert_eq!(decode("/a%20b%2Fc"), b"/a b/c");
    assert_eq!(decode("/%C3%a9"), "/é".as_bytes());
    assert_eq!(decode("/%zz%4%"), b"/%zz%4%");
    assert_eq!(decode("/%%34"), b"/%4");
}

fn decode(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Option<usize>), Refusal> {
    let mut decoder = ChunkedDecoder::new(&Limits::default());
    let (mut data, mut at) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        while at < end {
            let chunk = decoder.decode(&bytes[at..end])?;
            data.extend_from_slice(chunk.data);
            at += chunk.consumed;
            if chunk.done {
                return Ok((data, Some(at)));
            }
            assert!(chunk.consumed > 0, "no progress");
        }
    }
    Ok((data, None))
}

#[test]
fn chunks_are_decoded_to_their_end_and_no_further() {
    let body = b"4;a=\"b\"\r\nWiki\r\n0A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nNEXT";
    let end = body.len() - 4;
    for cut in 0..body.len() {
        assert_eq!(
            decode(body, &[cut]),
            Ok((b"Wiki0123456789".to_vec(), Some(end))),
            "cut at {cut}"
        );
    }
}

#[test]
fn broken_chunks_are_refused() {
    for (bytes, refusal) in [
        ("\r\n", Refusal::ChunkSize),
        ("g\r\n", Refusal::ChunkSize),
        ("-1\r\n", Refusal::ChunkSize),
        ("0x1\r\n", Refusal::ChunkSize),
        ("1 1\r\n", Refusal::ChunkSize),
        ("11111111111111111\r\n", Refusal::ChunkSize),
        ("1\nx", Refusal::LineEnd),
        ("1;a\nb\r\n", Refusal::LineEnd),
        ("1;\u{1}\r\n", Refusal::ChunkExtension),
        ("1\r\nxy\r\n", Refusal::ChunkEnd),
        ("1\r\nx\n", Refusal::ChunkEnd),
        ("0\r\nbad trailer\r\n\r\n", Refusal::FieldName),
        ("0\r\nA: \u{1}\r\n\r\n", Refusal::FieldValue),
    ] {
        assert_eq!(decode(bytes.as_bytes(), &[]), Err(refusal), "{bytes:?}");
    }
    let long = format!("1;{}\r\n", "x".repeat(5000));
    assert_eq!(decode(long.as_bytes(), &[]), Err(Refusal::ChunkExtension));
}

/// Requests that are nearly right: where parsers disagree.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "GET / HTTP/1.0",
        "GET http://h/ HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /",
        "\r\nGET / HTTP/1.1",
        "G\rT / HTTP/1.1",
    ]);
    let field = prop::sample::select(vec![
        "Host: x",
        "Host: y",
        "Content-Length: 3",
        "Content-Length: 03",
        "Content-Length: x",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Connection: close",
        "Expect: 100-continue",
        "A: b",
        "A : b",
        " folded",
        "Content_Length: 1",
        "X: \u{e9}",
        "NoColon",
        "A: b\rc",
        "",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]);
    (line, prop::collection::vec((field, end.clone()), 0..5), end).prop_map(
        |(line, fields, end)| {
            let mut request = format!("{line}{end}");
            for (field, end) in fields {
                request.push_str(field);
                request.push_str(end);
            }
            request.push_str("\r\n");
            request.into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes are cut, the answer is the same; a refusal may come before the end has.
    #[test]
    fn a_cut_changes_nothing(request in nearly_right()) {
        let limits = Limits::default();
        let whole = outcome(&request, &limits);
        for cut in 0..request.len() {
            let part = outcome(&request[..cut], &limits);
            if part.starts_with("refused") {
                prop_assert!(whole.starts_with("refused"), "{part} at {cut}, then {whole}");
            } else if part != "more" {
                prop_assert_eq!(&part, &whole, "at {}", cut);
            }
        }
    }

    /// A head parsed after another is as one parsed alone.
    #[test]
    fn memory_changes_nothing(first in nearly_right(), second in nearly_right()) {
        let limits = Limits::default();
        let mut head = Head::default();
        assert_ne!(parse_head(&first, &limits, &mut head), Err(Refusal::Underscore));
        let result = parse_head(&second, &limits, &mut head);
        prop_assert_eq!(describe(&second, result, &head), outcome(&second, &limits));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
        outcome(&bytes, &Limits::default());
        prop_assert!(decode(&bytes, &[cut.min(bytes.len())]).is_ok_and(|(data, _)| data.len() <= bytes.len()) || !bytes.is_empty());
        let mut out = Vec::new();
        path_info(&bytes, &mut out);
        prop_assert!(reply::check_status(&bytes).is_ok() || bytes.len() < 1000);
    }

    #[test]
    fn chunks_survive_a_round_trip(data in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10), cut in any::<prop::sample::Index>()) {
        let mut body = Vec::new();
        for chunk in &data {
            body.extend(format!("{:X}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let end = body.len();
        let cut = cut.index(end);
        prop_assert_eq!(decode(&body, &[cut]), Ok((data.concat(), Some(end))));
    }
}
