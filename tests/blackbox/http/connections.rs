//! Connections: keep-alive, pipelining, HTTP/1.0, idle clients, and the timeouts of waiting.

use super::{HOST, ask};
use crate::support::{Server, Wire};

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    for _ in 0..3 {
        let reply = wire.get("/hello");
        assert_eq!((reply.status, reply.text().as_str()), (200, "OK\n"));
        assert!(!reply.closes());
        assert_eq!(reply.field("server"), Some("rcorn"));
        assert!(
            reply
                .field("date")
                .is_some_and(|date| date.ends_with(" GMT"))
        );
    }
    let reply = ask(
        &mut wire,
        &format!("GET /hello HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"),
    );
    assert!(reply.closes());
    wire.expect_eof();
    server.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let body = "POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = "POST /read_all HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n";
    wire.send(format!(
        "GET /hello HTTP/1.1\r\n{HOST}\r\n{body}{chunked}{chunked}GET /hello HTTP/1.1\r\n{HOST}\r\n"
    ));
    let texts: Vec<String> = (0..5).map(|_| wire.read_reply().text()).collect();
    assert_eq!(texts, ["OK\n", "abc", "de", "de", "OK\n"]);
    server.stop();
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let reply = ask(
        &mut wire,
        "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    );
    assert_eq!(reply.field("connection"), Some("keep-alive"));
    let reply = ask(&mut wire, "GET /generator HTTP/1.0\r\n\r\n");
    assert_eq!(reply.text(), "0 1 2 3 4 ");
    // No chunks for HTTP/1.0: the end of the connection is the end of the body.
    assert!(reply.ended_by_close && reply.field("transfer-encoding").is_none());
    server.stop();
}

#[test]
fn idle_and_half_sent_connections_block_nobody() {
    let server = Server::app("cases:app").start();
    let mut silent: Vec<Wire> = (0..20).map(|_| server.connect()).collect();
    for wire in silent.iter_mut().take(10) {
        wire.send("GET /hello HT");
    }
    let mut uploading = server.connect();
    uploading.send("POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
    for _ in 0..10 {
        assert_eq!(server.get("/hello").status, 200);
    }
    uploading.send("llo");
    assert_eq!(uploading.read_reply().text(), "hello");
    let mut first = silent.swap_remove(0);
    first.send(format!("TP/1.1\r\n{HOST}\r\n"));
    assert_eq!(first.read_reply().status, 200);
    server.stop();
}

#[test]
fn a_head_that_takes_too_long_gets_408() {
    let server = Server::app("cases:app")
        .args(["--header-timeout", "1"])
        .start();
    let mut wire = server.connect();
    wire.send("GET /hello HT");
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.closes()), (408, true));
    server.stop();
}

#[test]
fn heads_that_come_byte_by_byte_are_served() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let second = "POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let first = format!("GET /hello HTTP/1.1\r\n{HOST}\r\n");
    for byte in first.bytes().chain(second.bytes()) {
        wire.send([byte]);
    }
    assert_eq!(wire.read_reply().text(), "OK\n");
    assert_eq!(wire.read_reply().text(), "abc");
    server.stop();
}

#[test]
fn a_head_without_end_is_refused_at_its_limit() {
    let server = Server::app("cases:app")
        .args(["--limit-request-line", "500"])
        .allow("Invalid request from ip=127.0.0.1")
        .start();
    let mut wire = server.connect();
    // No line end comes: the server does not wait for the rest of the head.
    for _ in 0..600 {
        wire.send("x");
    }
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.closes()), (414, true));
    server.stop();
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive() {
    let server = Server::app("cases:app").args(["--keep-alive", "1"]).start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/hello").status, 200);
    wire.expect_eof();
    server.stop();
}

#[test]
fn keep_alive_0_closes_each_connection() {
    let server = Server::app("cases:app").args(["--keep-alive", "0"]).start();
    let mut wire = server.connect();
    assert!(wire.get("/hello").closes());
    wire.expect_eof();
    server.stop();
}

#[test]
fn idle_connections_do_not_keep_workers_from_others() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    server.wait_serving(2);
    let idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    // A worker that waited for one of them would wait for `header_timeout`, longer than this
    // client.
    assert_eq!(server.get("/hello").status, 200);
    drop(idle);
    server.stop();
}
