//! Apps that fail: before the head a 500, after it an abort, and what the log says.

use super::text;
use crate::support::Server;

#[test]
fn an_app_that_fails_before_the_head_gives_500() {
    let server = Server::app("cases:app")
        .allow("Error handling request")
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
        // The client sees nothing of the exception.
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
    // An item of the wrong type is reported with its index.
    assert_eq!(wire.get("/returns_strs").status, 500);
    server
        .log()
        .expect("has a 'str' as item 1; each item must be bytes: encode it");
    server.stop();
}
