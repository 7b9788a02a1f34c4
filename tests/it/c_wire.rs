//! Raw bytes over a real socket: framing, keep-alive, slow and leaving clients. What is refused: `s_corpus`.

use std::time::Duration;

use crate::support::{Server, Wire};

const HOST: &str = "Host: x\r\n";

fn ask(wire: &mut Wire, request: &str) -> crate::support::Reply {
    wire.send(request);
    wire.read_reply()
}

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
fn continue_is_sent_when_the_app_first_reads() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    wire.send(format!(
        "POST /read_all HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(wire.read_head().status, 100);
    wire.send("abc");
    assert_eq!(wire.read_reply().text(), "abc");
    // An app that does not read never asks for the body: the reply comes at once, and ends the connection,
    // because nobody knows whether the body comes too.
    wire.send(format!(
        "POST /ignore_body HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    ));
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "ignored"));
    server.stop();
}

#[test]
fn an_unread_body_does_not_become_the_next_request() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let smuggled = "GET /pid HTTP/1.1\r\nHost: x\r\n\r\n";
    wire.send(format!(
        "POST /ignore_body HTTP/1.1\r\n{HOST}Content-Length: {}\r\n\r\n{smuggled}GET /hello HTTP/1.1\r\n{HOST}\r\n",
        smuggled.len()
    ));
    assert_eq!(wire.read_reply().text(), "ignored");
    assert_eq!(wire.read_reply().text(), "OK\n");
    server.stop();
}

#[test]
fn head_and_bodyless_statuses_have_no_body() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    for target in ["/hello", "/generator", "/large", "/file"] {
        wire.send(format!("HEAD {target} HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(wire.read_head().status, 200, "{target}");
    }
    wire.send(format!(
        "GET /no_content HTTP/1.1\r\n{HOST}\r\nGET /not_modified HTTP/1.1\r\n{HOST}\r\n"
    ));
    for status in [204, 304] {
        let reply = wire.read_head();
        assert_eq!(reply.status, status);
        assert!(
            reply.field("content-length").is_none() && reply.field("transfer-encoding").is_none()
        );
    }
    assert_eq!(wire.get("/hello").text(), "OK\n");
    server.stop();
}

#[test]
fn other_forms_of_the_target() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let reply = ask(
        &mut wire,
        "GET http://other.example:81/types?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(reply.status, 200);
    assert!(
        reply.text().contains("PATH_INFO=str:/types\n"),
        "{}",
        reply.text()
    );
    assert!(
        reply.text().contains("QUERY_STRING=str:a=b\n"),
        "{}",
        reply.text()
    );
    let reply = ask(&mut wire, &format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(reply.status, 404);
    let reply = ask(
        &mut wire,
        &format!("GET /%74ypes%3f?x HTTP/1.1\r\n{HOST}\r\n"),
    );
    assert_eq!(reply.status, 404);
    server.stop();
}

#[test]
fn a_torn_upload_raises_in_the_app() {
    for (framing, sent) in [
        ("Content-Length: 5000000", "part"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n"),
    ] {
        // With a buffer the app is not called before the body is there.
        let server = Server::app("cases:app")
            .args(["--request-buffer", "0"])
            .start();
        let mut wire = server.connect();
        wire.send(format!(
            "POST /read_then_report HTTP/1.1\r\n{HOST}{framing}\r\n\r\n{sent}"
        ));
        drop(wire);
        let line = server.log().expect("reading ");
        assert!(line.contains("raised ConnectionResetError"), "{line}");
        server
            .log()
            .expect("Client left during request POST /read_then_report");
        assert_eq!(server.get("/hello").status, 200);
        server.stop();
    }
}

#[test]
fn broken_chunks_raise_in_the_app_and_are_the_clients_fault() {
    let server = Server::app("cases:app").allow("Invalid request").start();
    let mut wire = server.connect();
    wire.send(format!(
        "POST /read_then_report HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\nabXX"
    ));
    let reply = wire.read_reply();
    assert_eq!(reply.status, 400);
    assert!(reply.closes());
    server
        .log()
        .expect("reading raised OSError: the request body is malformed");
    server.stop();
}

#[test]
fn a_client_that_leaves_during_the_reply_is_noticed_and_close_is_called() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    wire.send(format!("GET /closing_large HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(wire.read_head().status, 200);
    drop(wire);
    server
        .log()
        .expect("Client left during request GET /closing_large");
    assert_eq!(server.get("/closed").text(), "1");
    server.stop();
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let server = Server::app("cases:app")
        .args(["--write-timeout", "1"])
        .start();
    let mut wire = server.connect();
    wire.send(format!("GET /closing_large HTTP/1.1\r\n{HOST}\r\n"));
    server.log().expect("Client left during request GET /closing_large: TimeoutError: the client took nothing for 1 s");
    drop(wire);
    server.stop();
}

#[test]
fn parts_are_sent_before_the_next_is_made() {
    let gate = crate::support::Gate::new();
    let server = Server::app("cases:app").gate(&gate).start();
    let mut wire = server.connect();
    wire.send(format!(
        "GET /held_generator HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
    ));
    gate.expect(server.deadline());
    let head = wire.read_head();
    assert_eq!(head.status, 200);
    assert!(
        wire.hears_within(Duration::from_secs(10)),
        "the first part is held back"
    );
    gate.open();
    assert!(wire.read_to_eof().ends_with(b"second\r\n0\r\n\r\n"));
    server.stop();
}
