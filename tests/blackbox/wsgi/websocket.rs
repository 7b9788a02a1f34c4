//! `gunicorn.socket` and `werkzeug.socket`: an app that takes them has the connection to itself.

use crate::support::{Need, Server, Wire, lacks, venv};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"));
    wire
}

#[test]
fn who_takes_the_socket_owns_the_connection() {
    let access = tempfile::NamedTempFile::new().unwrap();
    let server = Server::app("upgraded:app")
        .args(["-w", "1", "--timeout", "1"])
        .args(["--access-logfile", access.path().to_str().unwrap()])
        .allow("raised after the socket was taken")
        .allow("Traceback")
        .start();
    for name in ["returns", "stops", "raises", "generates", "closes", "keeps"] {
        let mut wire = upgrade(&server, &format!("/{name}"));
        let head = wire.read_head();
        assert_eq!(head.status, 101, "{name}");
        wire.send("one\n");
        wire.expect_text("said: one\n");
        if name == "returns" {
            // Longer than `timeout`: the app waits for its client.
            assert!(!wire.hears_within(std::time::Duration::from_millis(2500)));
        }
        wire.send("end\n");
        assert_eq!(wire.read_to_eof(), b"bye\n", "{name}");
    }
    server.log().expect("raised after the socket was taken");
    server.stop();
    let access = std::fs::read_to_string(access.path()).unwrap();
    let switched = access
        .lines()
        .filter(|line| line.contains("HTTP/1.1\" 101 "));
    assert_eq!(switched.count(), 6, "{access}");
}

#[test]
fn a_socket_that_is_not_taken_changes_nothing() {
    let server = Server::app("upgraded:app").args(["-w", "1"]).start();
    let mut wire = upgrade(&server, "/looks");
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (426, "(True, True)"));
    // The connection goes on, without it.
    let without = [
        String::new(),
        "Upgrade: h2c\r\nConnection: Upgrade\r\n".to_owned(),
        format!("{UPGRADE}Content-Length: 0\r\n"),
    ];
    for fields in without {
        wire.send(format!("GET /looks HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let reply = wire.read_reply();
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (426, "(False, True)")
        );
    }
    assert_eq!(
        wire.get("/after").text(),
        "the client's socket was used after its request had ended"
    );
    let mut wire = upgrade(&server, "/late");
    assert_eq!(
        wire.read_reply().text(),
        "begun the client's socket was used after the response had begun"
    );
    server.stop();
}

/// A frame of a client (RFC 6455 section 5.2): masked, with a mask of zeroes.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

fn expect_said(wire: &mut Wire, text: &str) {
    wire.send(frame(1, text.as_bytes()));
    wire.expect_text(&format!("said: {text}"));
}

#[test]
fn flask_sock_and_simple_websocket() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let server = Server::app("websocket:app")
        .python(venv::python())
        .args(["-w", "1"])
        .start();
    for (path, end) in [("/flask", "close"), ("/flask", "return"), ("/simple", "")] {
        let mut wire = upgrade(&server, path);
        let head = wire.read_head();
        assert_eq!(head.status, 101);
        // The key's answer of RFC 6455 section 1.3.
        assert_eq!(
            head.field("Sec-WebSocket-Accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        expect_said(&mut wire, "hello");
        expect_said(&mut wire, "again");
        if end.is_empty() {
            wire.send(frame(8, &1000_u16.to_be_bytes()));
        } else {
            wire.send(frame(1, end.as_bytes()));
        }
        // The close frame and nothing behind it.
        let rest = wire.read_to_eof();
        assert_eq!(rest.first(), Some(&0x88), "{path} {end}: {rest:?}");
        assert!(rest.len() < 20, "{path} {end}: {rest:?}");
    }
    assert_eq!(server.get("/plain").text(), "plain");
    server.stop();
}
