//! uwsgi packets: tables of right and wrong, and every way of cutting them.

use proptest::prelude::*;

use super::*;

fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        body.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        body.extend(text.bytes());
    }
    let size = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[0][..], &size, &[0], &body].concat()
}

/// The outcome in one comparable line.
fn outcome(bytes: &[u8]) -> String {
    let (mut read, mut head) = (Packet::default(), Head::default());
    match parse_packet(bytes, &Limits::default(), &mut read, &mut head) {
        Err(refusal) => format!("refused {} {refusal:?}", refusal.status()),
        Ok(Progress::More) => "more".into(),
        Ok(Progress::Done(())) => {
            assert!(!head.keep_alive && !head.expect_continue);
            assert_eq!(head.version, Version::Http10);
            let text = String::from_utf8_lossy(&read.text).replace("\r\n", "|");
            format!("{text} {:?} {}", head.framing, read.variables.len())
        }
    }
}

fn asked(variables: &[(&str, &str)]) -> String {
    outcome(&packet(variables))
}

/// What nginx sends for a GET with its own `uwsgi_params`, shortened.
const NGINX: [(&str, &str); 8] = [
    ("QUERY_STRING", "q=1"),
    ("REQUEST_METHOD", "GET"),
    ("CONTENT_TYPE", ""),
    ("CONTENT_LENGTH", ""),
    ("REQUEST_URI", "/a%20b?q=1"),
    ("PATH_INFO", "/a b"),
    ("SERVER_PROTOCOL", "HTTP/2.0"),
    ("HTTP_HOST", "x:1"),
];

#[test]
fn packets_become_heads() {
    assert_eq!(asked(&NGINX), "GET /a%20b?q=1 HTTP/2.0|HOST: x:1|| None 8");
    assert_eq!(
        asked(&[
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/"),
            ("CONTENT_LENGTH", "3"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTP_X_REAL_IP", "192.0.2.1"),
            ("OTHER", "x"),
        ]),
        "POST / HTTP/1.0|CONTENT-TYPE: text/plain|CONTENT-LENGTH: 3|X-REAL-IP: 192.0.2.1|| Length(3) 6"
    );
    // Without REQUEST_URI the target is put together from its parts.
    assert_eq!(
        asked(&[
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/a b?\u{e9}\n"),
            ("QUERY_STRING", "q")
        ]),
        "GET /app/a%20b%3F%C3%A9%0A?q HTTP/1.0|| None 4"
    );
    assert_eq!(
        asked(&[("REQUEST_METHOD", "GET")]),
        "GET / HTTP/1.0|| None 1"
    );
    // Of several the last one counts.
    assert_eq!(
        asked(&[
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a"),
            ("REQUEST_URI", "/b")
        ]),
        "GET /b HTTP/1.0|| None 3"
    );
}

#[test]
fn what_the_proxy_has_let_through_is_served() {
    let get = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/")];
    for (more, head) in [
        (
            ("REQUEST_URI", "/\u{e5}?\u{e9}"),
            "GET /\u{e5}?\u{e9} HTTP/1.0||",
        ),
        (("REQUEST_URI", "/a#b?c"), "GET /a#b?c HTTP/1.0||"),
        (("REQUEST_URI", "/a b"), "GET /a b HTTP/1.0||"),
        (
            ("REQUEST_URI", "/\u{1}\u{7f}\t"),
            "GET /\u{1}\u{7f}\t HTTP/1.0||",
        ),
        (
            ("HTTP_HOST", "m\u{fc}ller"),
            "GET / HTTP/1.0|HOST: m\u{fc}ller||",
        ),
        (("HTTP_HOST", "a@b#c"), "GET / HTTP/1.0|HOST: a@b#c||"),
        (
            ("HTTP_X", "a\u{1}b\u{7f}"),
            "GET / HTTP/1.0|X: a\u{1}b\u{7f}||",
        ),
        // What cannot be a line of a head is a variable like any other.
        (("HTTP_", "a"), "GET / HTTP/1.0||"),
        (("HTTP_X:Y", "a"), "GET / HTTP/1.0||"),
        (("HTTP_X Y", "a\r\nb"), "GET / HTTP/1.0||"),
        (("HTTP_\u{e9}", "a"), "GET / HTTP/1.0||"),
        (("OTHER", "a\r\nb"), "GET / HTTP/1.0||"),
        (("DOCUMENT_URI", "/a\nb"), "GET / HTTP/1.0||"),
    ] {
        let expected = format!("{head} None 3");
        assert_eq!(asked(&[&get[..], &[more]].concat()), expected, "{more:?}");
    }
}

#[test]
fn a_fragment_is_part_of_neither_path_nor_query() {
    for (target, path, query) in [
        ("/a#b?c", "/a", ""),
        ("/a?b#c?d", "/a", "b"),
        ("/#", "/", ""),
        ("/a b?c d", "/a b", "c d"),
    ] {
        let (mut read, mut head) = (Packet::default(), Head::default());
        let bytes = packet(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", target)]);
        let parsed = parse_packet(&bytes, &Limits::default(), &mut read, &mut head);
        assert_eq!(parsed, Ok(Progress::Done(())), "{target}");
        assert_eq!(head.path.of(&read.text), path.as_bytes(), "{target}");
        assert_eq!(head.query.of(&read.text), query.as_bytes(), "{target}");
    }
}

#[test]
fn no_variable_changes_the_framing() {
    let posted = [
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/"),
        ("CONTENT_LENGTH", "3"),
    ];
    for more in [
        ("HTTP_CONTENT_LENGTH", "9"),
        ("HTTP_content-length", "9"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("HTTP_Transfer-Encoding", "chunked"),
        ("HTTP_CONTENT_TYPE", "x"),
        ("CONTENT_LENGTH", ""),
        ("CONTENT_LENGTH", "3"),
        ("TRANSFER_ENCODING", "chunked"),
    ] {
        assert_eq!(
            asked(&[&posted[..], &[more]].concat()),
            "POST / HTTP/1.0|CONTENT-LENGTH: 3|| Length(3) 4",
            "{more:?}"
        );
    }
    // Nor does one make the connection go on, or the client wait.
    for more in [
        ("HTTP_CONNECTION", "keep-alive"),
        ("HTTP_EXPECT", "100-continue"),
        ("HTTP_EXPECT", "miracles"),
    ] {
        assert!(asked(&[&posted[..], &[more]].concat()).ends_with("Length(3) 4"));
    }
}

#[test]
fn wrong_variables_are_refused() {
    let long = "x".repeat(9000);
    let get = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/")];
    for (more, refusal) in [
        (("CONTENT_LENGTH", "x"), Refusal::Length),
        (("CONTENT_LENGTH", "-1"), Refusal::Length),
        (("REQUEST_METHOD", ""), Refusal::Method),
        (("REQUEST_METHOD", "get"), Refusal::Method),
        (("REQUEST_METHOD", "GET /x"), Refusal::Method),
        (("REQUEST_METHOD", "CONNECT"), Refusal::Connect),
        (("REQUEST_URI", "x"), Refusal::Target),
        (("REQUEST_URI", "#/x"), Refusal::Target),
        (("REQUEST_URI", "/\0"), Refusal::VariableValue),
        (("REQUEST_URI", &long), Refusal::RequestLineTooLong),
        (("REQUEST_URI", "/\r\nA: b"), Refusal::VariableValue),
        (("SERVER_PROTOCOL", "HTTP/1.1\r\n"), Refusal::VariableValue),
        (("SERVER_PROTOCOL", "HTTP/x.1"), Refusal::VersionForm),
        (("SERVER_PROTOCOL", "gopher"), Refusal::VersionForm),
        (("HTTP_HOST", "a/b"), Refusal::Host),
        (("HTTP_X", "a\nb"), Refusal::VariableValue),
        (("HTTP_HOST", "a b"), Refusal::Host),
        (("HTTP_HOST", "a\u{1}"), Refusal::Host),
        (("HTTP_X", &long), Refusal::FieldTooLong),
        (("REMOTE_ADDR", "a\nb"), Refusal::VariableValue),
        (("OTHER", "a\0b"), Refusal::VariableValue),
        (("PATH_INFO", "/\0"), Refusal::VariableValue),
        (("OTH\0ER", "a"), Refusal::VariableName),
        (("OTH\nER", "a"), Refusal::VariableName),
        (("", "a"), Refusal::VariableName),
        (("wsgi.input", "a"), Refusal::VariableName),
        (("rcorn.x", "a"), Refusal::VariableName),
    ] {
        assert_eq!(
            asked(&[&get[..], &[more]].concat()),
            format!("refused {} {refusal:?}", refusal.status()),
            "{more:?}"
        );
    }
}

#[test]
fn variables_that_come_too_often_are_refused() {
    let get = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/")];
    assert_eq!(
        asked(&[&get[..], &[("HTTP_HOST", "a"), ("HTTP_HOST", "b")]].concat()),
        "refused 400 ManyHosts"
    );
    assert_eq!(
        asked(
            &[
                &get[..],
                &[("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "2")]
            ]
            .concat()
        ),
        "refused 400 Twice(\"Content-Length\")"
    );
    let many = vec![("HTTP_X", "y"); 101];
    assert_eq!(
        asked(&[&get[..], &many].concat()),
        "refused 431 TooManyFields"
    );
}

#[test]
fn what_is_no_packet_is_refused() {
    assert_eq!(outcome(b"GET / HTTP/1.1\r\n"), "refused 400 Modifier");
    // The parts do not fill the packet.
    assert_eq!(outcome(&[0, 1, 0, 0, 9]), "refused 400 Packet");
    assert_eq!(outcome(&[0, 3, 0, 0, 1, 0, b'a']), "refused 400 Packet");
    assert_eq!(
        outcome(&[0, 6, 0, 0, 1, 0, b'a', 9, 0, b'b']),
        "refused 400 Packet"
    );
    assert_eq!(outcome(&[0, 0, 0, 0]), "refused 400 Method");
}

#[test]
fn the_largest_packet_is_taken_and_no_larger_one_exists() {
    let value = "x".repeat(60_000);
    let mut variables = NGINX.to_vec();
    variables.push(("OTHER", &value));
    assert!(asked(&variables).ends_with(" 9"));
    // A size of 0xffff needs as many bytes before anything is said.
    assert_eq!(outcome(&[0, 0xff, 0xff, 0]), "more");
    assert_eq!(
        outcome(&[&[0, 0xff, 0xff, 0][..], &vec![0; 65534]].concat()),
        "more"
    );
}

/// Packets that are nearly right.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let variable = prop::sample::select(vec![
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_METHOD", "G T"),
        ("REQUEST_URI", "/a?b"),
        ("REQUEST_URI", "/a\r\n"),
        ("PATH_INFO", "/a\n"),
        ("CONTENT_LENGTH", "3"),
        ("CONTENT_LENGTH", "+3"),
        ("HTTP_HOST", "x"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("wsgi.x", "y"),
    ]);
    (
        prop::collection::vec(variable, 0..6),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(variables, wrong)| {
            let mut bytes = packet(&[&NGINX[..], &variables].concat());
            if let Some((place, byte)) = wrong {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend(b"body");
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes are cut, the answer is the same; a refusal may come before the end has.
    #[test]
    fn a_cut_packet_changes_nothing(bytes in nearly_right()) {
        let whole = outcome(&bytes);
        for cut in 0..bytes.len() {
            let part = outcome(&bytes[..cut]);
            if part != "more" {
                prop_assert_eq!(&part, &whole, "at {}", cut);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 0_u8..100) {
        for all in [bytes.clone(), [&[0, size, 0, 0][..], &bytes].concat()] {
            let said = outcome(&all);
            prop_assert!(said == "more" || said.starts_with("refused") || said.ends_with(char::is_numeric));
        }
    }

    /// Whatever the variables hold, no field and no line comes of them that was not one of them.
    #[test]
    fn nothing_is_smuggled_into_the_head(name in "[ -~\r\n]{0,12}", value in "[ -~\r\n\u{e9}]{0,20}") {
        let name = format!("HTTP_{name}");
        let variables = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/"), (name.as_str(), value.as_str())];
        let (mut read, mut head) = (Packet::default(), Head::default());
        let bytes = packet(&variables);
        if parse_packet(&bytes, &Limits::default(), &mut read, &mut head).is_ok() {
            prop_assert!(head.fields.len() <= 1);
            prop_assert_eq!(head.framing, Framing::None);
            for field in &head.fields {
                let got = String::from_utf8_lossy(field.name.of(&read.text)).replace('-', "_");
                let wanted = name.strip_prefix("HTTP_").unwrap().replace('-', "_");
                prop_assert_eq!(got, wanted);
            }
        }
    }
}
