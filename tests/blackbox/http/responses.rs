//! Responses on the wire: without a body, interim, in parts, and to clients that leave or take
//! nothing.

use std::time::{Duration, Instant};

use super::{HOST, ask};
use crate::support::{Gate, Place, Server, get};

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
    let gate = Gate::new();
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

#[test]
fn early_hints_come_before_the_answer() {
    let server = Server::app("parking:app").start();
    let mut wire = server.connect();
    for _ in 0..2 {
        wire.send(get("/hinted"));
        let first = wire.read_reply();
        assert_eq!(first.status, 103);
        assert_eq!(first.field("link"), Some("</style.css>; rel=preload"));
        assert!(first.field("connection").is_none() && first.field("date").is_none());
        let second = wire.read_reply();
        assert_eq!(
            (second.status, second.field("link")),
            (103, Some("</script.js>; rel=preload"))
        );
        let reply = wire.read_reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hinted"));
    }
    let late = wire.get("/hinted_late");
    assert_eq!(
        late.text(),
        "begun early_hints was called after the response had begun"
    );
    // HTTP/1.0 knows no interim replies.
    let mut old = server.connect();
    old.send("GET /hinted HTTP/1.0\r\n\r\n");
    let reply = old.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "hinted"));
    server.stop();
}

/// A client that prints in how many segments its reply came (`tcpi_data_segs_in` of `TCP_INFO`,
/// tcp(7)).
const SEGMENTS: &str = r"
import socket, struct, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
client.sendall(b'GET /quick_parts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
reply = b''
while piece := client.recv(1 << 20):
    reply += piece
segments, = struct.unpack_from('I', client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 152)
assert reply.endswith(b'\r\n0\r\n\r\n') and reply.count(b'400\r\n') == 20, reply
print(segments)
";

#[test]
fn quick_parts_leave_together() {
    let server = Server::app("parking:app").start();
    let Place::Tcp(address) = server.place() else {
        unreachable!("a test over TCP");
    };
    let mut fewest = u32::MAX;
    // The app may be preempted in the middle, but not every time.
    for _ in 0..5 {
        let said = std::process::Command::new("python3")
            .args(["-c", SEGMENTS, &address.port().to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&said.stderr);
        fewest = fewest.min(
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("{complaint}")),
        );
    }
    // One segment for the first part, one for all others.
    assert_eq!(fewest, 2);
    server.stop();
}

#[test]
fn a_part_does_not_wait_for_the_next() {
    for target in ["/held_parts", "/held_writes"] {
        let gate = Gate::new();
        let server = Server::app("parking:app").gate(&gate).start();
        let mut times: Vec<Duration> = (0..10)
            .map(|_| {
                let mut wire = server.connect();
                let begun = Instant::now();
                wire.send(get(target));
                wire.expect_text("second");
                let took = begun.elapsed();
                gate.expect(server.deadline());
                gate.open();
                wire.expect_text("third");
                took
            })
            .collect();
        times.sort();
        eprintln!("{target}: the second part after {:?} (median)", times[5]);
        assert!(times[5] < Duration::from_millis(100), "{times:?}");
        server.stop();
    }
}

#[test]
fn a_byte_too_many_does_not_cost_the_rest_of_the_last_reply() {
    let server = Server::app("parking:app").start();
    for target in ["/list_of_bytes?900000", "/sparse?1"] {
        let mut wire = server.connect();
        wire.send(format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let head = wire.read_head();
        // As some clients do after a body.
        wire.send("\r\n");
        let length: u64 = head.field("content-length").unwrap().parse().unwrap();
        wire.skip(length);
        wire.expect_eof();
    }
    server.stop();
}

#[test]
fn the_server_field_is_the_operators() {
    for (arguments, field) in [
        (&[][..], Some("rcorn")),
        (&["--server-header", "shop"][..], Some("shop")),
        (&["--server-header", "off"][..], None),
        (&["--server-header="][..], None),
    ] {
        let server = Server::app("cases:app").args(arguments).start();
        assert_eq!(server.get("/hello").field("server"), field);
        // Also on the server's own pages; what an app sets counts.
        let mut wire = server.connect();
        wire.send("nonsense\r\n");
        assert_eq!(wire.read_reply().field("server"), field);
        server.log().expect("Invalid request");
        assert_eq!(server.get("/own_fields").field("server"), Some("mine"));
        server.stop();
    }
    let ended = Server::app("cases:app")
        .args(["--server-header", "a\r\nb"])
        .unbound()
        .start()
        .exit();
    assert_eq!(ended.code(), Some(2));
    assert!(
        ended
            .text()
            .contains("has characters that a header field cannot have")
    );
}
