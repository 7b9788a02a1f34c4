//! PROXY headers, byte by byte over real sockets.

use std::fmt::Write as _;

use nix::sys::signal::Signal;

use crate::support::{Broken, Builder, Gate, Server, expect_lines, has_line};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n";

const TYPES: &str = "GET /types HTTP/1.1\r\nHost: x\r\n\r\n";

fn v2(command: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x21][..], &length, body].concat()
}

fn six() -> Vec<u8> {
    let mut body = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7]].concat();
    body.extend(
        [
            &[0; 15][..],
            &[1],
            &5001_u16.to_be_bytes(),
            &443_u16.to_be_bytes(),
        ]
        .concat(),
    );
    body
}

fn proxied() -> Builder {
    Server::app("cases:app").args(["--proxy-protocol", "--access-logfile", "-"])
}

#[test]
fn a_proxy_header_names_the_client_for_the_whole_connection() {
    let server = proxied().start();
    let mut wire = server.connect();
    wire.send(V1);
    for _ in 0..4 {
        wire.send(TYPES);
        expect_lines(
            &wire.read_reply(),
            &[
                "REMOTE_ADDR=str:192.0.2.1",
                "REMOTE_PORT=str:5000",
                "PROXY_PROTOCOL=str:TCP4",
                "PROXY_ADDR=str:198.51.100.2",
                "PROXY_PORT=str:80",
            ],
        );
    }
    server.log().expect_count("192.0.2.1 - - [", 4);
    let mut wire = server.connect();
    // With an extension behind the addresses, which is skipped.
    wire.send(v2(0x21, &[six(), vec![4, 0, 1, 0]].concat()));
    wire.send(TYPES);
    expect_lines(
        &wire.read_reply(),
        &[
            "REMOTE_ADDR=str:2001:db8::7",
            "REMOTE_PORT=str:5001",
            "PROXY_PROTOCOL=str:TCP6",
            "PROXY_ADDR=str:::1",
            "PROXY_PORT=str:443",
        ],
    );
    // LOCAL, UNKNOWN and no header at all: none of them inherits the address of another connection.
    for first in [&v2(0x20, &six())[..], b"PROXY UNKNOWN\r\n", b""] {
        let mut wire = server.connect();
        wire.send(first);
        wire.send(TYPES);
        let reply = wire.read_reply();
        assert!(has_line(&reply, "REMOTE_ADDR=str:127.0.0.1"), "{first:?}");
        assert!(!reply.text().contains("PROXY_"), "{}", reply.text());
    }
    // A second header is read as a request, and is malformed.
    let mut wire = server.connect();
    wire.send([V1, V1, TYPES.as_bytes()].concat());
    assert_eq!(wire.read_reply().status, 400);
    server.log().expect("Invalid request from ip=192.0.2.1: ");
    server.stop();
}

#[test]
fn a_proxy_header_may_come_in_any_pieces() {
    let server = proxied().start();
    for header in [V1.to_vec(), v2(0x21, &six())] {
        let all = [&header[..], TYPES.as_bytes()].concat();
        for cut in 1..=header.len() {
            let mut wire = server.connect();
            wire.send(&all[..cut]);
            assert_eq!(server.get("/hello").status, 200);
            wire.send(&all[cut..]);
            let reply = wire.read_reply();
            assert!(reply.text().contains("PROXY_ADDR="), "cut at {cut}");
        }
    }
    server.stop();
}

#[test]
fn checks_of_a_proxy_that_speaks_for_itself_are_served_or_pass_in_silence() {
    let server = proxied().start();
    let local = [
        v2(0x20, &[]),
        v2(0x20, &six()),
        v2(0x20, &[3, 0, 1, 0]),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ];
    for header in &local {
        // HAProxy's `check-send-proxy`: alone, and before a request.
        server.connect().send(header);
        let mut wire = server.connect();
        wire.send(header);
        wire.half_close();
        wire.expect_eof();
        for check in [
            "OPTIONS /hello HTTP/1.0\r\n\r\n",
            "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ] {
            let mut wire = server.connect();
            wire.send([header, check.as_bytes()].concat());
            assert_eq!(wire.read_reply().status, 200, "{header:?} {check}");
        }
    }
    assert_eq!(server.log().count("Invalid request"), 0);
    server.stop();
}

#[test]
fn wrong_proxy_headers_end_the_connection() {
    let server = proxied().start();
    for wrong in [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 5000\r\n".to_vec(),
        b"PROXY TCP9\r\n".to_vec(),
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes(),
        v2(0x31, &six()),
        v2(0x21, &six()[..20]),
        v2(0x21, &[0; 5000]),
    ] {
        let mut wire = server.connect();
        wire.send(&wrong);
        drop(wire.try_send(TYPES.as_bytes()));
        let reply = wire.read_reply();
        assert_eq!((reply.status, reply.closes()), (400, true), "{wrong:?}");
        wire.expect_eof();
    }
    server
        .log()
        .expect("Invalid request from ip=127.0.0.1: the PROXY header is malformed");
    server
        .log()
        .expect("Invalid request from ip=127.0.0.1: the PROXY header is too long");
    server.stop();
}

#[test]
fn who_may_send_a_proxy_header_and_which() {
    let closed = [
        "--proxy-protocol",
        "auto",
        "--proxy-allow-from",
        "10.0.0.0/8",
    ];
    let server = Server::app("cases:app").args(closed).start();
    let mut wire = server.connect();
    wire.send([V1, TYPES.as_bytes()].concat());
    assert_eq!(wire.read_reply().status, 403);
    server
        .log()
        .expect("Invalid request from ip=127.0.0.1: the peer may not send a PROXY header");
    // Only the header needs permission.
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
    let server = Server::app("cases:app").unix().args(closed).start();
    let mut wire = server.connect();
    wire.send([V1, TYPES.as_bytes()].concat());
    expect_lines(
        &wire.read_reply(),
        &["REMOTE_ADDR=str:192.0.2.1", "REMOTE_PORT=str:5000"],
    );
    server.stop();
    for (mode, header, status) in [
        ("off", V1.to_vec(), 400),
        ("v1", V1.to_vec(), 200),
        ("v1", v2(0x21, &six()), 400),
        ("v2", V1.to_vec(), 400),
        ("v2", v2(0x21, &six()), 200),
    ] {
        let server = Server::app("cases:app")
            .args(["--proxy-protocol", mode])
            .start();
        let mut wire = server.connect();
        wire.send(&header);
        drop(wire.try_send(TYPES.as_bytes()));
        assert_eq!(wire.read_reply().status, status, "{mode}");
        server.stop();
    }
}

#[test]
fn the_client_stays_known_when_the_worker_changes() {
    let server = proxied().start();
    let mut named = server.connect();
    named.send([V1, b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"].concat());
    let first = named.read_reply().text();
    let mut half = server.connect();
    half.send(&V1[..20]);
    let mut waiting = server.connect();
    waiting.send([V1, b"GET /types HTTP/1.1\r\n"].concat());
    // After a round trip the bytes sent before have been read.
    assert_eq!(server.get("/hello").status, 200);
    let before = server.wait_workers(1)[0];
    server.signal(Signal::SIGHUP);
    server.wait_gone(before);
    let second = named.get("/pid").text();
    assert_ne!(first, second);
    half.send([&V1[20..], TYPES.as_bytes()].concat());
    waiting.send("Host: x\r\n\r\n");
    named.send(TYPES);
    for wire in [&mut named, &mut half, &mut waiting] {
        let reply = wire.read_reply();
        expect_lines(&reply, &["REMOTE_ADDR=str:192.0.2.1", "PROXY_PORT=str:80"]);
    }
    server.stop();
}

#[test]
fn fields_are_believed_from_whom_is_connected() {
    // As in gunicorn: the peer that sends the header may say https, not the client that the header
    // names.
    let ask = |believed: &str| {
        let server = proxied().args(["--forwarded-allow-ips", believed]).start();
        let mut wire = server.connect();
        let mut request = String::from_utf8(V1.to_vec()).unwrap();
        write!(
            request,
            "GET /types HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        .unwrap();
        wire.send(request);
        let https = has_line(&wire.read_reply(), "wsgi.url_scheme=str:https");
        server.stop();
        https
    };
    assert!(ask("127.0.0.1"));
    assert!(!ask("192.0.2.1"));
}

#[test]
fn a_lost_request_is_told_with_the_client_that_was_named() {
    let gate = Gate::new();
    let server = proxied()
        .gate(&gate)
        .allow("192.0.2.1")
        .allow("Request lost when worker")
        .allow("was sent SIGKILL")
        .start();
    let mut wire = server.connect();
    wire.send([V1, b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"].concat());
    let worker = gate.expect(server.deadline());
    nix::sys::signal::kill(worker, Signal::SIGKILL).unwrap();
    server.log().expect("192.0.2.1 - - [");
    assert!(matches!(
        wire.try_read_reply(false),
        Err(Broken::NoReply | Broken::Reset)
    ));
    server.stop();
}
