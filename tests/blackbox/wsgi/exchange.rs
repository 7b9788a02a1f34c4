//! Input and output of PEP 3333, one rule a test, asked from outside; the apps are in
//! `tests/apps/cases.py`.

use super::{post, text};
use crate::support::Server;

#[test]
fn input_reads_to_the_end_and_no_further() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let body = "first line\nsecond\nthird line\nlast without end";
    for chunked in [false, true] {
        assert_eq!(post(&mut wire, "/read_all", body, chunked), body);
        assert_eq!(post(&mut wire, "/read_pieces", body, chunked), body);
        assert_eq!(
            post(&mut wire, "/read_mixed", body, chunked),
            "first line\n|se|con|d\n|third line\n|last without end"
        );
        assert_eq!(post(&mut wire, "/read_all", "", chunked), "");
    }
    let large = "0123456789".repeat(300_000);
    for chunked in [false, true] {
        assert_eq!(post(&mut wire, "/read_all", &large, chunked), large);
    }
    server.stop();
}

#[test]
fn replies_in_every_form() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    assert_eq!(text(&mut wire, "/write"), "one two three");
    assert_eq!(text(&mut wire, "/generator"), "0 1 2 3 4 ");
    assert_eq!(text(&mut wire, "/lazy_start"), "lazy");
    assert_eq!(text(&mut wire, "/tuple_body"), "abc");
    assert_eq!(text(&mut wire, "/returns_empty"), "");
    assert_eq!(text(&mut wire, "/large").len(), 10 * 1024 * 1024);
    let reply = wire.get("/tuple_body");
    assert_eq!(reply.field("content-length"), Some("3"));
    let reply = wire.get("/no_reason");
    assert_eq!((reply.status, reply.reason.as_str()), (202, ""));
    let reply = wire.get("/latin1_header");
    assert!(reply.raw_head.windows(4).any(|part| part == b"caf\xe9"));
    let reply = wire.get("/own_fields");
    assert_eq!(
        (reply.field("server"), reply.field("date")),
        (Some("mine"), Some("Thu, 01 Jan 1970 00:00:00 GMT"))
    );
    assert!(reply.closes());
    server.stop();
}

#[test]
fn exc_info_replaces_or_reraises() {
    let server = Server::app("cases:app")
        .allow("Error handling request")
        .start();
    let mut wire = server.connect();
    let reply = wire.get("/exc_info_before");
    assert_eq!(
        (reply.status, reply.reason.as_str(), reply.field("x-mended")),
        (500, "Sorry", Some("yes"))
    );
    assert!(reply.field("content-type").is_none());
    assert_eq!(wire.get("/exc_info_keyword").status, 503);
    wire.send("GET /exc_info_after HTTP/1.1\r\nHost: x\r\n\r\n");
    let before = wire.expect_reset();
    assert!(String::from_utf8_lossy(&before).contains("sent"));
    server.log().expect("KeyError: 'too late on purpose'");
    server.stop();
}

#[test]
fn close_is_called_on_every_path() {
    let server = Server::app("cases:app")
        .allow("Error handling request")
        .allow("Error in close() after request")
        .start();
    assert_eq!(text(&mut server.connect(), "/closing"), "x");
    let mut wire = server.connect();
    wire.send("GET /closing_raises HTTP/1.1\r\nHost: x\r\n\r\n");
    wire.expect_reset();
    server.log().expect("RuntimeError: midway on purpose");
    let mut wire = server.connect();
    wire.send("HEAD /closing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(wire.read_head().status, 200);
    assert_eq!(text(&mut wire, "/closed"), "3");
    // A reply that is whole stays whole when close() raises.
    assert_eq!(text(&mut wire, "/close_raises"), "whole");
    server
        .log()
        .expect("Error in close() after request GET /close_raises");
    server.stop();
}

#[test]
fn files_are_sent_whole_from_where_they_stand() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    assert_eq!(text(&mut wire, "/file"), "0123456789".repeat(100_000));
    let reply = wire.get("/file_offset");
    assert_eq!(reply.field("content-length"), Some("9995"));
    assert!(reply.text().starts_with("56789"));
    assert_eq!(text(&mut wire, "/file_named"), "named".repeat(100));
    assert_eq!(text(&mut wire, "/file_bytesio"), "from memory");
    assert_eq!(text(&mut wire, "/file_only_read"), "only read");
    assert_eq!(text(&mut wire, "/file_longer_than_said"), "0123");
    assert_eq!(text(&mut wire, "/file_empty"), "");
    assert_eq!(text(&mut wire, "/file_gzip"), "unpacked");
    server.stop();
    let server = Server::app("cases:app").args(["--no-sendfile"]).start();
    assert_eq!(text(&mut server.connect(), "/file_offset").len(), 9995);
    server.stop();
}

#[test]
fn errors_go_to_the_error_log() {
    let server = Server::app("cases:app").start();
    text(&mut server.connect(), "/errors");
    server.log().expect("said by the app");
    server.log().expect("and more");
    server.stop();
}

#[test]
fn what_an_app_keeps_is_dead_after_its_request() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    assert_eq!(post(&mut wire, "/keep", "body", false), "kept");
    assert_eq!(text(&mut wire, "/use_kept"), "AssertionError ValueError");
    assert_eq!(text(&mut wire, "/hello"), "OK\n");
    server.stop();
}

#[test]
fn wsgirefs_validator_has_no_complaint() {
    let server = Server::app("validate:app").start();
    let mut wire = server.connect();
    for target in ["/", "/streamed", "/written"] {
        text(&mut wire, &format!("{target}?q=1"));
    }
    assert_eq!(post(&mut wire, "/", "body", false), "valid body");
    server.stop();
}

/// As in gunicorn: iterating over empty bytes gives nothing.
#[test]
fn no_bytes_at_all_are_an_empty_body() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    for _ in 0..2 {
        let reply = wire.get("/returns_no_bytes");
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    }
    server.stop();
}
