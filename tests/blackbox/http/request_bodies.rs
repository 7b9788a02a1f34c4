//! Bodies of requests: 100-continue, unread, torn, broken.

use super::HOST;
use crate::support::{Server, post};

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
    // If the app does not read, no body is asked for: the reply comes at once, and ends the
    // connection, because the server cannot know whether the body follows.
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
fn a_torn_upload_raises_in_the_app() {
    for (framing, sent) in [
        ("Content-Length: 5000000", "part"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n"),
    ] {
        // With a buffer the app is called only when the body has arrived.
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
fn a_broken_body_that_the_app_forgives_ends_the_connection() {
    let fields = "X-A: b\r\n".repeat(2000);
    for broken in [
        "1\r\na\r\n0\r\nConnection: x\r\n\r\n",
        "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n",
        "1\r\na\r\n0\r\nno colon\r\n\r\n",
        "1\r\na\r\n0\r\nA: b\r\n folded\r\n\r\n",
        &format!("0\r\n{fields}\r\n"),
        "1\r\nabc\r\n0\r\n\r\n",
        "x\r\n0\r\n\r\n",
    ] {
        for buffer in ["0", "65536"] {
            let server = Server::app("cases:app")
                .args(["--request-buffer", buffer])
                .start();
            for pause in [false, true] {
                let mut wire = server.connect();
                wire.send(format!(
                    "POST /read_or_not HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"
                ));
                // Without a buffer the app waits for it, and nobody else is served.
                if pause && buffer != "0" {
                    server.get("/hello");
                }
                wire.send(broken);
                wire.send(format!("GET /hello HTTP/1.1\r\n{HOST}\r\n"));
                let response = wire.read_reply();
                assert_eq!(response.text(), "OSError", "{broken}");
                assert!(response.closes(), "{broken}");
                assert_eq!(wire.read_to_eof(), b"", "{broken}");
            }
            server.stop();
        }
    }
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection_as_announced() {
    let server = Server::app("parking:app").start();
    let part = vec![b'x'; 1 << 20];
    let mut wire = server.connect();
    wire.send(post("/", 4 << 20));
    // As much as is read before the app is called, and a little more.
    wire.send(&part);
    wire.send(&part[..100]);
    assert_eq!(wire.read_reply().field("connection"), Some("close"));
    let mut wire = server.connect();
    wire.send(post("/upload", 4 << 20));
    for _ in 0..4 {
        wire.send(&part);
    }
    assert_eq!(wire.read_reply().field("connection"), None);
    assert_eq!(wire.get("/").status, 200);
    server.stop();
}
