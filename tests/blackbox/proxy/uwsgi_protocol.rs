//! uwsgi packets, byte by byte over real sockets.

use crate::support::{APPS, Builder, Gate, Place, Reply, Server, Wire, expect_lines, has_line};

/// A packet with these variables. The code is independent of the server's.
fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        let length = u16::try_from(text.len()).unwrap();
        body.extend([length.to_le_bytes().as_slice(), text.as_bytes()].concat());
    }
    let size = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[0, size[0], size[1], 0], body.as_slice()].concat()
}

fn get(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let all = [
        &[
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", path),
            ("PATH_INFO", path),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
        ],
        more,
    ];
    packet(&all.concat())
}

fn post(length: &str) -> Vec<u8> {
    packet(&[
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/read_all"),
        ("PATH_INFO", "/read_all"),
        ("CONTENT_LENGTH", length),
    ])
}

fn uwsgi() -> Builder {
    Server::app("cases:app").args(["--protocol", "uwsgi"])
}

fn ask(server: &Server, bytes: impl AsRef<[u8]>) -> Reply {
    let mut wire = server.connect();
    wire.send(bytes);
    let reply = wire.read_reply();
    assert!(reply.closes());
    wire.expect_eof();
    reply
}

#[test]
fn a_packet_is_a_request() {
    let server = uwsgi().args(["--access-logfile", "-"]).start();
    let reply = ask(
        &server,
        get(
            "/types",
            &[
                ("QUERY_STRING", "a=b"),
                ("CONTENT_TYPE", ""),
                ("CONTENT_LENGTH", ""),
                ("HTTP_HOST", "shop.test"),
                ("HTTP_X_ONE", "1"),
                ("HTTP_X_ONE", "2"),
                ("HTTP_COOKIE", "c=d"),
                ("REMOTE_ADDR", "192.0.2.7"),
                ("REMOTE_PORT", "4000"),
                ("SERVER_NAME", "front.test"),
                ("SERVER_PORT", "443"),
                ("HTTPS", "on"),
                ("REQUEST_SCHEME", "https"),
                ("DOCUMENT_ROOT", "/srv/\u{e9}"),
                ("my.own", "value"),
            ],
        ),
    );
    expect_lines(
        &reply,
        &[
            "REQUEST_METHOD=str:GET",
            "REQUEST_URI=str:/types",
            "RAW_URI=str:/types",
            "PATH_INFO=str:/types",
            "SCRIPT_NAME=str:",
            "QUERY_STRING=str:a=b",
            "HTTP_HOST=str:shop.test",
            "HTTP_X_ONE=str:1,2",
            "HTTP_COOKIE=str:c=d",
            "REMOTE_ADDR=str:192.0.2.7",
            "REMOTE_PORT=str:4000",
            "SERVER_NAME=str:front.test",
            "SERVER_PORT=str:443",
            "SERVER_PROTOCOL=str:HTTP/1.1",
            "HTTPS=str:on",
            "wsgi.url_scheme=str:https",
            "my.own=str:value",
        ],
    );
    assert!(!reply.text().contains("CONTENT_"), "{}", reply.text());
    assert!(reply.field("transfer-encoding").is_none());
    // A list has a length; the end of the connection delimits a generator's body.
    assert!(reply.field("content-length").is_some());
    let streamed = ask(&server, get("/generator", &[]));
    assert_eq!(streamed.text(), "0 1 2 3 4 ");
    assert!(streamed.ended_by_close);
    let line = server.log().expect("\"GET /types HTTP/1.1\" 200");
    assert!(line.starts_with("192.0.2.7 - - ["), "{line}");
    server.stop();
}

#[test]
fn bodies_come_behind_the_packet() {
    let server = uwsgi().args(["--request-buffer", "1000"]).start();
    assert_eq!(
        ask(&server, [post("3"), b"abc".into()].concat()).text(),
        "abc"
    );
    // Bytes beyond the length are ignored.
    let more = [post("3"), b"abcGET / HTTP/1.1\r\n\r\n".into()].concat();
    assert_eq!(ask(&server, more).text(), "abc");
    assert_eq!(ask(&server, post("")).text(), "");
    assert_eq!(ask(&server, post("0")).text(), "");
    let large = "x".repeat(3_000_000);
    let whole = [post("3000000"), large.clone().into()].concat();
    assert_eq!(ask(&server, whole).text(), large);
    server.stop();
}

#[test]
fn a_packet_may_come_in_any_pieces() {
    let server = uwsgi().start();
    let request = [post("5"), b"hello".into()].concat();
    for cut in 1..request.len() {
        let mut wire = server.connect();
        wire.send(&request[..cut]);
        // After a round trip on another connection the first part has been read.
        assert_eq!(ask(&server, get("/hello", &[])).status, 200);
        wire.send(&request[cut..]);
        assert_eq!(wire.read_reply().text(), "hello", "cut at {cut}");
    }
    server.stop();
}

#[test]
fn slow_and_wrong_packets_hold_nobody() {
    let server = uwsgi().args(["--header-timeout", "1"]).start();
    let mut slow = server.connect();
    slow.send(&get("/hello", &[])[..20]);
    for (wrong, status) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        (vec![0, 1, 0, 0, 9], 400),
        (get("/hello", &[("wsgi.input", "x")]), 400),
        (get("/hello", &[("HTTP_X", "a\nb")]), 400),
        (get("a", &[]), 400),
        (get(&format!("/{}", "x".repeat(5000)), &[]), 414),
        (get("/hello", &vec![("HTTP_X", "y"); 101]), 431),
        (post("x"), 400),
    ] {
        assert_eq!(ask(&server, wrong).status, status);
    }
    server
        .log()
        .expect("Invalid request from ip=127.0.0.1: this is not a uwsgi request");
    assert_eq!(slow.read_reply().status, 408);
    server.stop();
}

#[test]
fn the_proxys_word_on_the_scheme_counts() {
    let server = uwsgi().start();
    let scheme = |more: &[(&str, &str)]| {
        let reply = ask(&server, get("/types", more));
        has_line(&reply, "wsgi.url_scheme=str:https")
    };
    assert!(!scheme(&[]));
    assert!(scheme(&[("HTTPS", "1")]));
    assert!(scheme(&[("REQUEST_SCHEME", "https")]));
    assert!(scheme(&[
        ("UWSGI_SCHEME", "https"),
        ("REQUEST_SCHEME", "http")
    ]));
    assert!(!scheme(&[("HTTPS", "off"), ("REQUEST_SCHEME", "https")]));
    let said = ("HTTP_X_FORWARDED_PROTO", "https");
    assert!(!scheme(&[("REQUEST_SCHEME", "http"), said]));
    // Where no variable says it, the fields count, as over HTTP.
    assert!(scheme(&[said]));
    server.stop();
}

#[test]
fn script_names_are_taken_as_they_are() {
    let server = uwsgi().start();
    let parts = [("SCRIPT_NAME", "/app"), ("PATH_INFO", "/types")];
    let reply = ask(&server, get("/app/types", &parts));
    expect_lines(&reply, &["SCRIPT_NAME=str:/app", "PATH_INFO=str:/types"]);
    server.stop();
    let server = uwsgi().env("SCRIPT_NAME", "/app").start();
    let reply = ask(&server, get("/app/types", &[]));
    expect_lines(&reply, &["SCRIPT_NAME=str:/app", "PATH_INFO=str:/types"]);
    server.stop();
}

#[test]
fn a_torn_reply_is_reset() {
    let server = uwsgi().allow("raised on purpose").start();
    let mut wire = server.connect();
    wire.send(get("/raises_midway", &[]));
    wire.expect_reset();
    assert_eq!(ask(&server, get("/raises", &[])).status, 500);
    let mut wire = server.connect();
    wire.send(packet(&[
        ("REQUEST_METHOD", "HEAD"),
        ("REQUEST_URI", "/hello"),
    ]));
    let head = wire.read_head();
    assert_eq!((head.status, head.body.len()), (200, 0));
    wire.expect_eof();
    server.stop();
}

#[test]
fn who_may_speak_uwsgi() {
    let closed = ["--uwsgi-allow-from", "10.0.0.0/8"];
    let server = uwsgi().args(closed).start();
    let reply = ask(&server, get("/hello", &[]));
    assert_eq!((reply.status, reply.reason.as_str()), (403, "Forbidden"));
    server.log().expect(
        "Invalid request from ip=127.0.0.1: the peer may not speak uwsgi (uwsgi_allow_ips)",
    );
    server.stop();
    let server = uwsgi().unix().args(closed).start();
    let reply = ask(&server, get("/types", &[("HTTP_HOST", "shop.test:81")]));
    expect_lines(
        &reply,
        &[
            "REMOTE_ADDR=str:",
            "SERVER_NAME=str:shop.test",
            "SERVER_PORT=str:81",
        ],
    );
    server.stop();
}

#[test]
fn what_nginx_lets_through_is_served() {
    let server = uwsgi().args(["--access-logfile", "-"]).start();
    for (target, line) in [
        ("/types?\u{e5}", r"GET /types?\xc3\xa5 HTTP/1.1"),
        ("/types#b", "GET /types#b HTTP/1.1"),
        ("/types?a b", "GET /types?a b HTTP/1.1"),
        ("/types?\u{1}\"", r#"GET /types?\x01\" HTTP/1.1"#),
    ] {
        let reply = ask(
            &server,
            packet(&[
                ("REQUEST_METHOD", "GET"),
                ("REQUEST_URI", target),
                ("PATH_INFO", "/types"),
                ("SERVER_PROTOCOL", "HTTP/1.1"),
                ("HTTP_HOST", "m\u{fc}ller.test"),
                ("HTTP_X_ODD", "\u{1}"),
                ("HTTP_X ODD", "other"),
                ("SCRIPT_FILENAME", "/srv/a\nb"),
            ]),
        );
        assert_eq!(reply.status, 200, "{target}");
        expect_lines(&reply, &["PATH_INFO=str:/types", "HTTP_X ODD=str:other"]);
        let text = reply.text();
        assert!(text.contains("HTTP_X_ODD=str:"), "{text}");
        assert!(text.contains("HTTP_HOST=str:m"), "{text}");
        server.log().expect(&format!("\"{line}\" 200"));
    }
    server.stop();
}

#[test]
fn a_refused_packet_is_named_with_its_client_and_line() {
    let server = uwsgi().start();
    let bad = [("REMOTE_ADDR", "192.0.2.7"), ("HTTP_HOST", "a/b")];
    assert_eq!(ask(&server, get("/x?y", &bad)).status, 400);
    server.log().expect(
        "Invalid request from ip=192.0.2.7: the Host header field is malformed; it begins with \
         'GET /x?y HTTP/1.1'",
    );
    // Nothing of an earlier packet is left.
    assert_eq!(ask(&server, "GET /http HTTP/1.1\r\n\r\n").status, 400);
    server.log().expect(
        "Invalid request from ip=127.0.0.1: this is not a uwsgi request (modifier1 is not 0); it \
         looks like an HTTP request: this address speaks uwsgi (protocol); it begins with 'GET \
         /http HTTP/1.1'",
    );
    assert_eq!(ask(&server, [0, 1, 0, 0, 9]).status, 400);
    server
        .log()
        .expect("Invalid request from ip=127.0.0.1: the uwsgi packet is malformed");
    server.stop();
}

#[test]
fn a_packet_that_queue_timeout_refuses_is_logged_with_its_client() {
    let gate = Gate::new();
    let server = Server::app("threads:app")
        .args(["--protocol", "uwsgi", "-w", "1", "--threads", "2"])
        .args(["--queue-timeout", "0.2", "--access-logfile", "-"])
        .allow("queue_timeout")
        .gate(&gate)
        .start();
    let hold = |_| {
        let mut wire = server.connect();
        wire.send(get("/held", &[]));
        gate.expect(server.deadline());
        wire
    };
    let held: Vec<Wire> = (0..2).map(hold).collect();
    let mut late = server.connect();
    late.send(packet(&[
        ("REQUEST_METHOD", "HEAD"),
        ("REQUEST_URI", "/late"),
        ("PATH_INFO", "/late"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("HTTP_USER_AGENT", "me"),
    ]));
    let head = String::from_utf8(late.read_to_eof()).unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"));
    let line = server.log().expect("HEAD /late HTTP/1.1");
    assert!(line.starts_with("192.0.2.7 - - ["), "{line}");
    assert!(line.ends_with(r#""HEAD /late HTTP/1.1" 503 0 "-" "me""#));
    // One that would be refused shows what the error log would show of it.
    let mut late = server.connect();
    late.send(packet(&[
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/wrong"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.8"),
        ("CONTENT_LENGTH", "many"),
    ]));
    assert!(late.read_to_eof().starts_with(b"HTTP/1.1 503 "));
    let line = server.log().expect("GET /wrong HTTP/1.1");
    assert!(line.starts_with("192.0.2.8 - - ["), "{line}");
    for mut wire in held {
        gate.open();
        assert_eq!(wire.read_reply().text(), "held");
    }
    server.stop();
}

#[test]
fn each_address_says_what_is_spoken_there() {
    let server = Server::app("cases:app")
        .unbound()
        .args(["-b", "127.0.0.1:0,uwsgi://127.0.0.1:0"])
        .args(["-b", "uwsgi://unix:s.sock"])
        .args(["--pythonpath", APPS])
        .file("unused", "")
        .start();
    let line = server.log().expect("Listening at: ");
    let listed = line.split("Listening at: ").nth(1).unwrap();
    let shown: Vec<&str> = listed.split(' ').next().unwrap().split(',').collect();
    server.wait_workers(1);
    let [http, tcp, unix] = shown[..] else {
        panic!("{line}")
    };
    let place = |text: &str| Place::Tcp(text.parse().unwrap());
    let http = Wire::connect(&place(http.strip_prefix("http://").unwrap())).get("/hello");
    assert_eq!(http.text(), "OK\n");
    let path = unix.strip_prefix("uwsgi://unix:").unwrap();
    assert!(path.ends_with("s.sock"), "{line}");
    for place in [
        place(tcp.strip_prefix("uwsgi://").unwrap()),
        Place::Unix(server.directory().join("s.sock")),
    ] {
        let mut wire = Wire::connect(&place);
        wire.send(get("/hello", &[]));
        assert_eq!(wire.read_reply().text(), "OK\n", "{place:?}");
    }
    server.stop();
}

const PROXY: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n";

#[test]
fn a_proxy_header_may_stand_before_a_packet() {
    let server = uwsgi().args(["--proxy-protocol", "v1"]).start();
    let reply = ask(&server, [PROXY, &get("/types", &[])[..]].concat());
    expect_lines(&reply, &["REMOTE_ADDR=str:192.0.2.1"]);
    let said = get("/types", &[("REMOTE_ADDR", "203.0.113.9")]);
    let reply = ask(&server, [PROXY, &said[..]].concat());
    expect_lines(&reply, &["REMOTE_ADDR=str:203.0.113.9"]);
    // The port would be that of another address.
    assert!(!reply.text().contains("REMOTE_PORT"), "{}", reply.text());
    server.stop();
}
