//! The environ of PEP 3333, asked from outside; the apps are in `tests/apps/cases.py`.

use super::text;
use crate::support::{Place, Server, Wire, have_threads};

#[test]
fn the_environ_has_every_key_with_its_type() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    let Place::Tcp(place) = server.place().clone() else {
        panic!("a TCP place")
    };
    let mut wire = server.connect();
    wire.send("POST /types?a=%20b HTTP/1.1\r\nHost: test:1\r\nContent-Type: text/x\r\nContent-Length: 2\r\nX-One: 1\r\nX-One: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_Two: no\r\nX-Latin: caf\u{e9}\r\n\r\nhi");
    let listing = wire.read_reply().text();
    let multithread = if have_threads() { "True" } else { "False" };
    for line in [
        &format!("wsgi.multithread=bool:{multithread}"),
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
    // Three equal heads in a row exercise the memo of the last head; then others follow.
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
fn a_unix_peer_has_an_empty_address_and_the_servers_name_is_the_clients() {
    let server = Server::app("cases:app").unix().start();
    let mut wire = server.connect();
    wire.send("GET /types HTTP/1.1\r\nHost: site.example:8443\r\nX-Forwarded-Proto: https\r\nSCRIPT_NAME: /types\r\n\r\n");
    let reply = wire.read_reply();
    // The path is SCRIPT_NAME itself: the rest of it is empty, and the app has no such case.
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
