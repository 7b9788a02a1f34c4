//! Requests and responses of HTTP/2.

use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rcorn_front_link::{Configuration, Facts, Http2Limits, HttpVersion, Scheme};

use crate::support::client::{Client, plain, secure, trusting};
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, WINDOW_UPDATE, literal, request,
};
use crate::support::front::Front;
use crate::support::keys::{Authority, tls};
use crate::support::worker::{Worker, echo, field, ok};

#[test]
fn alpn_chooses_the_protocol() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let configuration = |enabled| Configuration {
        tls: Some(tls(&[&pair])),
        http2: Http2Limits {
            enabled,
            ..Http2Limits::default()
        },
        ..Configuration::default()
    };
    let connect = |front: &Front, protocols: &[&[u8]]| {
        let mut config = trusting(authority.roots(), None);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        secure(front.address(), "shop.example", &Arc::new(config)).unwrap()
    };
    let front = Front::https(&worker, configuration(true));
    let session = connect(&front, &[b"http/1.1", b"h2"]);
    assert_eq!(session.conn.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Http2::over(session, &[]);
    client.get(1, "/a?b=c");
    assert_eq!(client.body(1), b"GET /a?b=c HTTP/1.1 0");
    let head = worker.seen().head;
    let facts = Facts::parse(field(&head, "rcorn-front").unwrap().as_bytes()).unwrap();
    assert_eq!(
        (facts.scheme, facts.http),
        (Scheme::Https, HttpVersion::Http2)
    );
    assert_eq!(field(&head, "host"), Some("shop.example"));
    let session = connect(&front, &[b"http/1.1"]);
    assert_eq!(session.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(Client::over(session).get("/").status, 200);
    let without = Front::https(&worker, configuration(false));
    let session = connect(&without, &[b"h2", b"http/1.1"]);
    assert_eq!(session.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn streams_run_at_the_same_time() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::new(move |request| {
        if request.head.starts_with("GET /slow") {
            gone.lock().unwrap().recv().unwrap();
        }
        ok(b"done")
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.get(1, "/slow");
    client.get(3, "/fast");
    assert_eq!(client.body(3), b"done");
    go.send(()).unwrap();
    assert_eq!(client.body(1), b"done");
}

#[test]
fn bodies_pass_with_and_without_a_length() {
    let worker = Worker::new(|request| ok(&request.body));
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let body: Vec<u8> = (0..=250).cycle().take(40_000).collect();
    let length = body.len().to_string();
    for (stream, fields) in [(1, &[("content-length", length.as_str())][..]), (3, &[])] {
        let head = request("POST", "/", fields);
        client.send(HEADERS, END_HEADERS, stream, &head);
        for part in body.chunks(10_000) {
            client.send(DATA, 0, stream, part);
        }
        // Trailers end it, and are dropped.
        let trailers = literal("x-trailer", "1");
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
        assert!(client.body(stream) == body, "{fields:?}");
        let seen = worker.seen();
        assert!(!seen.head.contains("x-trailer"));
        let expected = fields.is_empty().then_some("chunked");
        assert_eq!(field(&seen.head, "transfer-encoding"), expected);
    }
}

/// A window of 64 KiB is all that a client of these tests gives: more comes as it opens it.
#[test]
fn a_large_response_waits_for_the_window() {
    let body: Vec<u8> = (0..=250).cycle().take(1_000_000).collect();
    let sent = body.clone();
    let worker = Worker::new(move |_request| ok(&sent));
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    let (mut received, mut longest) = (Vec::new(), 0);
    loop {
        let frame = client.frame();
        if frame.kind != DATA {
            continue;
        }
        longest = longest.max(frame.payload.len());
        received.extend_from_slice(&frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
        let more = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
        if more != [0; 4] {
            client.send(WINDOW_UPDATE, 0, 0, &more);
            client.send(WINDOW_UPDATE, 0, 1, &more);
        }
    }
    assert!(received == body);
    // With its head, a record of TLS.
    assert_eq!(longest + 9, 16_384);
}

#[test]
fn interim_responses_pass() {
    let worker = Worker::raw(|connection| {
        connection.head().unwrap();
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        connection.reader.read_exact(&mut body).unwrap();
        connection.send(&ok(&body));
        connection.head();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let head = request(
        "PUT",
        "/",
        &[("expect", "100-continue"), ("content-length", "4")],
    );
    client.send(HEADERS, END_HEADERS, 1, &head);
    for interim in [103, 100] {
        let frame = client.wait(HEADERS);
        assert_eq!(frame.flags & END_STREAM, 0);
        assert_eq!(frame.status(), interim);
    }
    client.send(DATA, END_STREAM, 1, b"body");
    assert_eq!(client.wait(HEADERS).status(), 200);
    assert_eq!(client.body(1), b"body");
}

/// What the library lets pass is held to the rules of HTTP/1.1.
#[test]
fn what_the_workers_refuse_is_refused() {
    let worker = echo();
    let mut front = Front::http(&worker, Configuration::default());
    let cases = [
        request("GET", "/", &[("host", "evil.example")]),
        request("get", "/", &[]),
        request(
            "GET",
            "/",
            &[("content-length", "0"), ("content-length", "0")],
        ),
        request("GET", "*", &[]),
    ];
    let mut client = Http2::plain(front.address());
    for (stream, fields) in (1..).step_by(2).zip(&cases) {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, fields);
        let frame = client.wait(HEADERS);
        assert_eq!((frame.stream, frame.status()), (stream, 400));
        assert!(
            String::from_utf8(client.body(stream))
                .unwrap()
                .contains("Bad Request")
        );
    }
    assert_eq!(front.status("refused_requests").0, 4);
    client.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        101,
        &request(
            "GET",
            "/",
            &[
                ("host", "shop.example"),
                ("rcorn-front", "v=1"),
                ("rcorn_front", "x"),
            ],
        ),
    );
    client.body(101);
    let head = worker.seen().head.to_lowercase();
    assert_eq!(head.matches("rcorn-front").count(), 1, "{head}");
    assert_eq!(head.matches("rcorn_front").count(), 0, "{head}");
    assert_eq!(head.matches("host:").count(), 1, "{head}");
}

#[test]
fn cookies_are_joined() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let fields = request(
        "GET",
        "/",
        &[("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2")],
    );
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    client.body(1);
    assert_eq!(field(&worker.seen().head, "cookie"), Some("a=1; c=2"));
}

#[test]
fn a_cut_response_is_an_error_of_the_stream() {
    let worker = Worker::new(|_request| {
        b"HTTP/1.1 200 OK\r\nX-Note: Connection: close\r\nContent-Length: 10\r\n\r\nabc".to_vec()
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    let frame = client.wait(RST_STREAM);
    // INTERNAL_ERROR
    assert_eq!((frame.stream, frame.error()), (1, 2));
}

#[test]
fn without_a_worker_there_is_a_page() {
    let worker = Worker::raw(|connection| {
        connection.head();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    let page = String::from_utf8(client.body(1)).unwrap();
    assert!(
        page.contains("The worker ended before it answered."),
        "{page}"
    );
}

#[test]
fn without_tls_both_protocols_are_told_apart() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").status, 200);
    let mut http2 = Http2::plain(front.address());
    http2.get(1, "/");
    assert_eq!(http2.body(1), b"GET / HTTP/1.1 0");
    // It begins like HTTP/2, and is none.
    let mut client = plain(front.address());
    client.send("PRI * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.reply().status, 400);
}

/// Whoever takes a request back frees the worker from it.
#[test]
fn a_request_that_is_taken_back_ends_at_the_worker() {
    let (ended, end) = channel::<()>();
    let ended = Mutex::new(ended);
    let worker = Worker::raw(move |connection| {
        connection.head().unwrap();
        assert!(connection.head().is_none());
        ended.lock().unwrap().send(()).unwrap();
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    front.until(|front| front.status("requests").0 == 1);
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    end.recv_timeout(crate::support::DEADLINE).unwrap();
}

/// The response ends when the body has been read, so that no client must know more; and else after
/// a while, with the word that it is to stop sending (RFC 9113 section 8.1).
#[test]
fn a_response_that_comes_before_the_body_is_read() {
    let worker = Worker::raw(|connection| {
        let head = connection.head().unwrap();
        let status = if head.contains("/large") {
            "413 Content Too Large"
        } else {
            "200 OK"
        };
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\nenough");
        connection.send(reply.as_bytes());
        // Until the front closes the connection.
        std::io::copy(&mut connection.reader, &mut std::io::sink()).ok();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[]));
    client.send(DATA, 0, 1, b"some");
    assert_eq!(client.wait(HEADERS).status(), 200);
    for _part in 0..4 {
        client.send(DATA, 0, 1, &[b'x'; 10_000]);
    }
    client.send(DATA, END_STREAM, 1, b"end");
    let data = client.wait(DATA);
    assert_eq!(
        (&data.payload[..], data.flags),
        (&b"enough"[..], END_STREAM)
    );
    // Clients that do not go on: the first learns at once that it is refused.
    for (stream, path) in [(3, "/large"), (5, "/")] {
        client.send(HEADERS, END_HEADERS, stream, &request("POST", path, &[]));
        assert_eq!(client.body(stream), b"enough");
        let reset = client.wait(RST_STREAM);
        // NO_ERROR
        assert_eq!((reset.stream, reset.error()), (stream, 0));
    }
}
