//! Requests that are refused, as the log names them.

use crate::support::Server;

/// Sends these bytes on a connection of their own; the answer must be this status and the end.
fn refused(server: &Server, sent: &[u8], status: u16) {
    let mut wire = server.connect();
    wire.send(sent);
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.closes()), (status, true));
    wire.expect_eof();
}

/// What follows the head of the answer.
fn body_of(server: &Server, sent: &str, status: u16) -> usize {
    let mut wire = server.connect();
    wire.send(sent);
    let head = wire.read_head();
    assert_eq!(head.status, status, "{sent:.60}");
    assert!(head.field("content-length").is_some(), "{sent:.60}");
    wire.read_to_eof().len()
}

/// RFC 9110 section 9.3.2.
#[test]
fn a_head_request_that_is_refused_gets_no_body() {
    let server = Server::app("cases:app")
        .args(["--header-timeout", "1", "--casefold-http-method"])
        .allow("Error handling request")
        .start();
    let long = format!(" /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9000));
    let field = format!(" / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(9000));
    for (rest, status) in [
        (" / HTTP/1.1\r\n\r\n", 400),
        (" / HTTP/1.1\r\nHost: x\r\nContent-Length: y\r\n\r\n", 400),
        (" / HTTP/1.1\r\nHost: x\r\nA b\r\n\r\n", 400),
        (
            " / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
        ),
        (" / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (long.as_str(), 414),
        (field.as_str(), 431),
        // The app reads it.
        (
            " /read_all HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            400,
        ),
        // It comes no further.
        (" / HTTP/1.1\r\n", 408),
    ] {
        for method in ["HEAD", "\r\nHEAD", "Head"] {
            let sent = format!("{method}{rest}");
            assert_eq!(body_of(&server, &sent, status), 0, "{sent:.60}");
        }
        for method in ["GET", "HEADS"] {
            let sent = format!("{method}{rest}");
            assert_ne!(body_of(&server, &sent, status), 0, "{sent:.60}");
        }
    }
    server.stop();
}

#[test]
fn other_protocols_are_named_and_refused_at_once() {
    let server = Server::app("cases:app").start();
    let cases: [(&[u8], u16, &str); 8] = [
        // No line end comes: the client waits for an answer.
        (
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            400,
            r"this is not HTTP; it looks like a TLS handshake: the client uses https, this address speaks http; it begins with '\x16\x03\x01\x02\x00\x01",
        ),
        (b"\x05\x01\0", 400, "this is not HTTP; it looks like SOCKS"),
        (
            b"\0\x26\0\0\x0e\0REQUEST_METHOD\x03\0GET\x0b\0REQUEST_URI\x02\0/m",
            400,
            "this is not HTTP; it looks like a uwsgi packet",
        ),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            505,
            "the HTTP version is not supported; it looks like HTTP/2: this server speaks \
             HTTP/1.1; it begins with 'PRI * HTTP/2.0'",
        ),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "it looks like a PROXY header: see proxy_protocol; it begins with 'PROXY TCP4 ",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\0\x20\0",
            400,
            "it looks like a PROXY header",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400, "it looks like SSH"),
        (
            b"GET /old\r\n",
            400,
            "it looks like HTTP/0.9; it begins with 'GET /old'",
        ),
    ];
    for (sent, status, line) in cases {
        refused(&server, sent, status);
        let line = server.log().expect(line);
        assert!(
            line.contains("Invalid request from ip=127.0.0.1: "),
            "{line}"
        );
    }
    server.stop();
}

#[test]
fn a_health_check_without_host_is_told_the_way_out() {
    // HAProxy's `option httpchk GET / HTTP/1.1`.
    let check = b"GET /hello HTTP/1.1\r\n\r\n";
    let server = Server::app("cases:app").start();
    refused(&server, check, 400);
    let line = server
        .log()
        .expect("there is no Host header field (require_host)");
    assert!(line.contains("http-check send hdr Host NAME"), "{line}");
    server.stop();
    let server = Server::app("cases:app").args(["--no-require-host"]).start();
    let mut wire = server.connect();
    wire.send(check);
    assert_eq!(wire.read_reply().status, 200);
    server.stop();
}

#[test]
fn health_checks_of_load_balancers_are_served_or_told_the_way_out() {
    let server = Server::app("cases:app").start();
    for (check, is_head) in [
        // HAProxy: `option httpchk`, with another method, and `http-check send hdr Host x`.
        ("OPTIONS /hello HTTP/1.0\r\n\r\n", false),
        ("HEAD /hello HTTP/1.0\r\n\r\n", true),
        ("OPTIONS /hello HTTP/1.1\r\nHost: x\r\n\r\n", false),
        (
            "HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            true,
        ),
        // Kubernetes, AWS, Google.
        (
            "GET /hello HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: 10.0.0.9\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
            false,
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: 10.0.0.9\r\nUser-Agent: GoogleHC/1.0\r\nConnection: Keep-alive\r\n\r\n",
            false,
        ),
    ] {
        let mut wire = server.connect();
        wire.send(check);
        let reply = if is_head {
            wire.read_head()
        } else {
            wire.read_reply()
        };
        assert_eq!(reply.status, 200, "{check}");
    }
    // A check of the port alone: closed at once, and while nothing or half of a line has come.
    for sent in ["", "GET", "\r\n"] {
        server.connect().send(sent);
        let mut wire = server.connect();
        wire.send(sent);
        wire.half_close();
    }
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(server.log().count("Invalid request"), 0);
    for check in ["OPTIONS /hello", "HEAD /", "GET /hello?full=1", "OPTIONS *"] {
        let mut wire = server.connect();
        wire.send(format!("{check} HTTP/1.1\r\n\r\n"));
        assert_eq!(wire.read_head().status, 400, "{check}");
        let line = server.log().expect("there is no Host header field");
        assert!(line.contains("http-check send hdr Host NAME"), "{line}");
    }
    server.stop();
}

#[test]
fn the_beginning_of_a_refused_request_is_escaped_and_cut() {
    let server = Server::app("cases:app").start();
    refused(&server, b"GET /\x1b[2J\\' HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    server
        .log()
        .expect(r"the request target is malformed; it begins with 'GET /\x1b[2J\\' HTTP/1.1'");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a/b\r\n\r\n", "x".repeat(500));
    refused(&server, long.as_bytes(), 400);
    let shown = "x".repeat(115);
    server.log().expect(&format!(
        "the Host header field is malformed; it begins with 'GET /{shown}...'"
    ));
    // A body that is refused while the app reads it.
    let body = b"POST /read_all?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\n";
    refused(&server, body, 400);
    server.log().expect(
        "a chunk's extension is malformed or too long; it begins with 'POST /read_all?q HTTP/1.1'",
    );
    server.stop();
}

#[test]
fn a_refused_request_behind_a_proxy_is_named_with_its_client() {
    let bad = b"GET / HTTP/1.1\r\nHost: a/b\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\r\n";
    let server = Server::app("cases:app").unix().start();
    refused(&server, bad, 400);
    server.log().expect("Invalid request from ip=192.0.2.7: ");
    refused(&server, b"nonsense\r\n", 400);
    server.log().expect("Invalid request from ip=unix socket: ");
    server.stop();
    // Anybody can send such a field.
    let server = Server::app("cases:app")
        .args(["--forwarded-allow-ips", "10.0.0.9"])
        .start();
    refused(&server, bad, 400);
    server.log().expect("Invalid request from ip=127.0.0.1: ");
    server.stop();
}

#[test]
fn a_request_that_does_not_arrive_in_time_is_named() {
    let server = Server::app("cases:app")
        .args(["--header-timeout", "1"])
        .start();
    refused(&server, b"GET /slow HTTP/1.1\r\nHos", 408);
    server.log().expect(
        "Request from ip=127.0.0.1 took too long to arrive; it begins with 'GET /slow HTTP/1.1'",
    );
    server.stop();
}
