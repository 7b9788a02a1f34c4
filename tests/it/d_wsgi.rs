//! PEP 3333, one rule a test, asked from outside; the apps are in `tests/apps/cases.py`.

use std::fmt::Write;

use crate::support::{Place, Server, Wire};

fn text(wire: &mut Wire, target: &str) -> String {
    let reply = wire.get(target);
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}

fn post(wire: &mut Wire, target: &str, body: &str, chunked: bool) -> String {
    if chunked {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.as_bytes().chunks(3) {
            let data = String::from_utf8_lossy(chunk);
            write!(request, "{:x};note=1\r\n{data}\r\n", chunk.len()).unwrap();
        }
        request.push_str("0\r\nX-Trailer: t\r\n\r\n");
        wire.send(request);
    } else {
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    let reply = wire.read_reply();
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}

#[test]
fn the_environ_has_every_key_with_its_type() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    let Place::Tcp(place) = server.place().clone() else {
        panic!("a TCP place")
    };
    let mut wire = server.connect();
    wire.send("POST /types?a=%20b HTTP/1.1\r\nHost: test:1\r\nContent-Type: text/x\r\nContent-Length: 2\r\nX-One: 1\r\nX-One: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_Two: no\r\nX-Latin: caf\u{e9}\r\n\r\nhi");
    let listing = wire.read_reply().text();
    for line in [
        "REQUEST_METHOD=str:POST",
        "SCRIPT_NAME=str:",
        "PATH_INFO=str:/types",
        "QUERY_STRING=str:a=%20b",
        "RAW_URI=str:/types?a=%20b",
        "CONTENT_TYPE=str:text/x",
        "CONTENT_LENGTH=str:2",
        "SERVER_NAME=str:127.0.0.1",
        "SERVER_PROTOCOL=str:HTTP/1.1",
        "REMOTE_ADDR=str:127.0.0.1",
        "HTTP_HOST=str:test:1",
        "HTTP_X_ONE=str:1,2",
        "HTTP_COOKIE=str:a=1; b=2",
        "wsgi.version=tuple:(1, 0)",
        "wsgi.url_scheme=str:http",
        "wsgi.multithread=bool:False",
        "wsgi.multiprocess=bool:True",
        "wsgi.run_once=bool:False",
        "wsgi.input_terminated=bool:True",
    ] {
        assert!(
            listing.lines().any(|have| have == line),
            "no {line} in\n{listing}"
        );
    }
    let port = format!("SERVER_PORT=str:{}", place.port());
    assert!(
        listing.lines().any(|have| have == port),
        "no {port} in\n{listing}"
    );
    assert!(
        !listing.contains("HTTP_X_TWO") && !listing.contains("HTTP_CONTENT_"),
        "{listing}"
    );
    server.stop();
    let server = Server::app("cases:app").args(["-w", "1"]).start();
    let listing = text(&mut server.connect(), "/types");
    assert!(
        listing.contains("wsgi.multiprocess=bool:False"),
        "{listing}"
    );
    assert!(
        !listing.contains("CONTENT_LENGTH") && !listing.contains("CONTENT_TYPE"),
        "{listing}"
    );
    server.stop();
}

#[test]
fn the_next_request_sees_nothing_of_the_last() {
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    let listing = |wire: &mut Wire, fields: &str| {
        wire.send(format!("GET /types HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        wire.read_reply().text()
    };
    // Three alike in a row exercise the memory of the last head; then others.
    for _ in 0..3 {
        assert!(listing(&mut wire, "X-Secret: 1\r\n").contains("HTTP_X_SECRET=str:1"));
    }
    assert!(!listing(&mut wire, "").contains("SECRET"));
    assert!(listing(&mut wire, "X-Secret: 2\r\n").contains("HTTP_X_SECRET=str:2"));
    let other = listing(&mut server.connect(), "X-Secret: 2\r\n");
    assert!(other.contains("HTTP_X_SECRET=str:2"));
    wire.send("GET /types?q HTTP/1.1\r\nHost: x\r\nX-Secret: 2\r\n\r\n");
    assert!(wire.read_reply().text().contains("QUERY_STRING=str:q"));
    assert!(listing(&mut wire, "X-Secret: 2\r\n").contains("QUERY_STRING=str:\n"));
    server.stop();
}

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
        .allow("KeyError")
        .allow("Error handling request")
        .allow("Traceback")
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
        .allow("on purpose")
        .allow("Error")
        .allow("Traceback")
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
fn an_app_that_fails_before_the_head_gives_500() {
    let server = Server::app("cases:app")
        .allow("Error handling request")
        .allow("Traceback")
        .start();
    for (target, said) in [
        ("/raises", "ValueError: raised on purpose"),
        ("/raises_after_start", "ValueError: raised on purpose"),
        ("/raises_before_first_part", "ValueError: raised on purpose"),
        ("/exits", "SystemExit: on purpose"),
        (
            "/twice",
            "start_response was called a second time without exc_info",
        ),
        (
            "/returns_str",
            "the app returned str; it must return an iterable of bytes: encode it",
        ),
        ("/returns_none", "the app returned NoneType"),
        ("/returns_dict", "the app returned dict"),
        ("/returns_bytes", "the app returned bytes"),
        ("/returns_int", "the app returned int"),
        ("/never_starts", "without calling start_response"),
        ("/bad_status_code", "bad status 'OK'"),
        ("/bad_status_type", "the status is of type 'bytes'"),
        ("/bad_status_newline", "bad status"),
        ("/bad_header_crlf", "bad header 'X-Bad'"),
        ("/bad_header_lf", "bad header 'X-Bad'"),
        ("/bad_header_wide", "beyond latin-1"),
        ("/bad_header_int", "('X-Bad', 5)"),
        ("/bad_header_name", "bad header 'X Bad'"),
        ("/bad_headers_type", "the headers are of type 'dict'"),
        ("/bad_length", "bad header 'Content-Length'"),
    ] {
        let mut wire = server.connect();
        let reply = wire.get(target);
        assert_eq!((reply.status, reply.closes()), (500, true), "{target}");
        // Nothing of the app's secrets goes to the client.
        assert!(!reply.text().contains("purpose"), "{}", reply.text());
        server
            .log()
            .expect(&format!("Error handling request GET {target}"));
        server.log().expect(said);
    }
    server.stop();
}

#[test]
fn an_app_that_fails_after_the_head_aborts() {
    let server = Server::app("cases:app")
        .allow("Error handling request")
        .allow("Traceback")
        .start();
    for (target, said) in [
        ("/raises_midway", "ValueError: raised on purpose"),
        (
            "/too_short",
            "declared Content-Length: 10 but gave 5 bytes less",
        ),
        ("/file_shorter_than_said", "bytes less"),
    ] {
        let mut wire = server.connect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        wire.expect_reset();
        server.log().expect(said);
    }
    let mut wire = server.connect();
    assert_eq!(text(&mut wire, "/too_long"), "long");
    server
        .log()
        .expect("declared Content-Length: 4 but gave 2 bytes more");
    // An item of the wrong type is named with its place.
    assert_eq!(wire.get("/returns_strs").status, 500);
    server
        .log()
        .expect("has a 'str' as item 1; each item must be bytes: encode it");
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

#[test]
fn a_unix_peer_has_an_empty_address_and_the_servers_name_is_the_clients() {
    let server = Server::app("cases:app").unix().start();
    let mut wire = server.connect();
    wire.send("GET /types HTTP/1.1\r\nHost: site.example:8443\r\nX-Forwarded-Proto: https\r\nSCRIPT_NAME: /types\r\n\r\n");
    let reply = wire.read_reply();
    // The path is below SCRIPT_NAME: what is left of it is empty, which is no case of this app.
    assert_eq!(reply.status, 404);
    wire.send("GET /types HTTP/1.1\r\nHost: site.example:8443\r\nX-Forwarded-Proto: https\r\n\r\n");
    let listing = wire.read_reply().text();
    for line in [
        "REMOTE_ADDR=str:",
        "SERVER_NAME=str:site.example",
        "SERVER_PORT=str:8443",
        "wsgi.url_scheme=str:https",
    ] {
        assert!(
            listing.lines().any(|have| have == line),
            "no {line} in\n{listing}"
        );
    }
    server.stop();
}

#[test]
fn forwarding_fields_of_strangers_are_not_believed() {
    let server = Server::app("cases:app")
        .args(["--forwarded-allow-ips", "10.0.0.1"])
        .start();
    let mut wire = server.connect();
    wire.send(
        "GET /types HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nSCRIPT_NAME: /types\r\n\r\n",
    );
    let listing = wire.read_reply().text();
    assert!(listing.contains("wsgi.url_scheme=str:http\n"), "{listing}");
    assert!(
        listing.contains("SCRIPT_NAME=str:\n") && listing.contains("PATH_INFO=str:/types\n"),
        "{listing}"
    );
    server.stop();
    let server = Server::app("cases:app").start();
    let mut wire = server.connect();
    wire.send("GET /types HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX-Forwarded-SSL: off\r\n\r\n");
    assert_eq!(wire.read_reply().status, 400);
    server.log().expect("disagree about http or https");
    server.stop();
}

#[test]
fn script_name_of_the_environment_is_taken_off_the_path() {
    let server = Server::app("cases:app")
        .env("SCRIPT_NAME", "/mounted")
        .allow("is not below SCRIPT_NAME")
        .start();
    let listing = text(&mut server.connect(), "/mounted/types");
    assert!(
        listing.contains("SCRIPT_NAME=str:/mounted\n")
            && listing.contains("PATH_INFO=str:/types\n"),
        "{listing}"
    );
    assert_eq!(server.get("/elsewhere").status, 500);
    server.stop();
}

/// As gunicorn has it: iterating over it gives nothing.
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
