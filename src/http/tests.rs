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
                String::from_utf8_lossy(head.method(bytes)),
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

const HOST: &str = "Host: x\r\n";

#[test]
fn a_plain_request() {
    assert_eq!(
        strict("GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Y:  v \t\r\n\r\nrest"),
        "GET /a?b=c path=/a query=b=c Http11 None keep=true expect=false host=Some(\"h:1\") [Host=h:1|X-Y=v] 45"
    );
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
fn an_upgrade_to_websocket_is_noted() {
    let mut head = Head::default();
    for (fields, expected) in [
        ("Upgrade: websocket\r\n", true),
        ("upgrade: h2c, WebSocket\r\n", true),
        ("upgrade: h2c, WebSocket\r\n", true),
        ("Upgrade: h2c\r\n", false),
        ("Upgrade: websockets\r\n", false),
        ("Sec-WebSocket-Version: 13\r\n", false),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let parsed = parse_head(request.as_bytes(), &Limits::default(), &mut head);
        assert!(matches!(parsed, Ok(Progress::Done(()))));
        assert_eq!(head.upgrades_to_websocket, expected, "{fields}");
    }
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

    #[test]
    fn what_must_hold_for_combinations(request in nearly_right(), choices in any::<[u8; 2]>()) {
        fuzz::connection(&[&choices[..], &request].concat());
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
        prop_assert!(response::check_status(&bytes).is_ok() || bytes.len() < 1000);
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
        // The end of the body is found behind any head, and whether that is there or not.
        let request = [&b"head"[..], &body].concat();
        let mut scan = ChunkScan::new(&Limits::default(), 4);
        prop_assert_eq!(scan.body_ends(&body[..cut]), Ok(false));
        prop_assert_eq!(scan.ends(&request[..cut]), Ok(false));
        prop_assert_eq!(scan.clone().body_ends(&body), Ok(true));
        prop_assert_eq!(scan.ends(&request), Ok(true));
    }
}
