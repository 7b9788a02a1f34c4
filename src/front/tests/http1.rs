//! Requests and responses of HTTP/1.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket as new_socket,
};
use rcorn_front_link::{Configuration, Facts, HttpVersion, Limits, ListenerKind, Scheme};

use crate::support::DEADLINE;
use crate::support::client::{Client, plain, secure_over, socket, trusting};
use crate::support::front::{Front, Options};
use crate::support::keys::{Authority, tls};
use crate::support::worker::{Worker, echo, field, ok};

#[test]
fn a_worker_gets_the_request_and_first_what_the_front_knows() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send(
        "POST /a?b=%20c HTTP/1.1\r\nHost: shop.example\r\nRcorn-Front: v=1; proto=https; http=2\r\n\
         X-Forwarded-For: 203.0.113.9\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
    );
    let reply = client.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), "POST /a?b=%20c HTTP/1.1 5");
    assert_eq!(reply.field("connection"), None);
    let seen = worker.seen();
    assert_eq!(seen.body, b"hello");
    let mut lines = seen.head.lines();
    assert_eq!(lines.next(), Some("POST /a?b=%20c HTTP/1.1"));
    let (name, value) = lines.next().unwrap().split_once(": ").unwrap();
    assert_eq!(name, "Rcorn-Front");
    let facts = Facts::parse(value.as_bytes()).unwrap();
    let local = client.0.get_ref().local_addr().unwrap();
    assert_eq!(
        (facts.client, facts.server),
        (Some(local), Some(front.address()))
    );
    assert_eq!(
        (facts.scheme, facts.http),
        (Scheme::Http, HttpVersion::Http1)
    );
    assert_eq!((facts.tls, facts.verify), (None, None));
    let rest: Vec<&str> = lines.collect();
    assert_eq!(
        rest,
        [
            "Host: shop.example",
            "X-Forwarded-For: 203.0.113.9",
            "Content-Length: 5",
            ""
        ]
    );
}

#[test]
fn connections_are_kept_on_both_sides() {
    let worker = echo();
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    for number in 0..5 {
        let target = format!("/{number}");
        assert_eq!(
            client.get(&target).text(),
            format!("GET {target} HTTP/1.1 0")
        );
        assert_eq!(worker.seen().connection, 0);
    }
    let mut other = plain(front.address());
    other.get("/");
    assert_eq!(worker.seen().connection, 0);
    assert_eq!(front.status("inner_connections"), (1, 2));
    assert_eq!(front.status("requests").0, 6);
}

#[test]
fn requests_that_are_sent_together_are_answered_in_order() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    let get = |target| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let post =
        "POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send([&get("/1"), post, &get("/3")].concat());
    assert_eq!(client.reply().text(), "GET /1 HTTP/1.1 0");
    assert_eq!(client.reply().text(), "POST /2 HTTP/1.1 3");
    assert_eq!(client.reply().text(), "GET /3 HTTP/1.1 0");
}

#[test]
fn a_chunked_body_arrives_without_extensions_and_trailers() {
    let worker = Worker::new(|request| ok(&request.body));
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;ext=1\r\nhello\r\n1\r\n,\r\n",
    );
    client.send("6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n");
    assert_eq!(client.reply().text(), "hello, world");
    let head = worker.seen().head;
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
    assert!(!head.contains("X-Trailer"));
    // The connection goes on.
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_response_streams() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        connection.request().unwrap();
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        gone.lock().unwrap().recv().unwrap();
        connection.send(b"6\r\nsecond\r\n0\r\n\r\n");
        connection.head();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.head().contains("Transfer-Encoding: chunked\r\n"));
    assert_eq!(client.chunk().unwrap(), b"first");
    go.send(()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"second");
    assert_eq!(client.chunk(), None);
}

#[test]
fn bodies_of_any_size_pass_in_both_directions() {
    let worker = Worker::new(|request| ok(&request.body));
    let front = Front::http(&worker, Configuration::default());
    for length in [0, 1, 16_383, 65_536, 65_537, 3_000_000] {
        let body: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut client = plain(front.address());
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send(&body);
        assert!(client.reply().body == body, "{length}");
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(10_000) {
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.reply().body == body, "{length} chunked");
    }
}

/// Neither a client that sends nor a worker that sends fills the front's memory.
#[test]
fn who_is_not_read_must_wait() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        connection.head().unwrap();
        // Reads nothing of the body until the test has seen that the client must wait.
        gone.lock().unwrap().recv().unwrap();
        connection.send(&ok(b"done"));
        std::io::copy(&mut connection.reader, &mut std::io::sink()).ok();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n");
    let before = front.memory();
    client.0.get_ref().set_nonblocking(true).unwrap();
    let part = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // Until the buffers of both sockets are full: the front is not scheduled in between for ever.
    let mut refused = 0;
    while refused < 100_000 && sent < 100 << 20 {
        match client.0.get_mut().write(&part) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(_full) => {
                refused += 1;
                std::thread::yield_now();
            }
        }
    }
    assert!(sent < 60 << 20, "{sent} bytes were taken");
    let more = front.memory().saturating_sub(before);
    assert!(more < 4096, "{more} KiB more");
    client.0.get_ref().set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.reply().text(), "done");
}

#[test]
fn interim_responses_pass() {
    let worker = Worker::raw(|connection| {
        connection.send(b"");
        let head = connection.head().unwrap();
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        connection.reader.read_exact(&mut body).unwrap();
        connection.send(&ok(&body));
        connection.head();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(
        client.head(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    );
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.reply().text(), "body");
}

#[test]
fn responses_without_a_body_have_none() {
    let worker = Worker::new(|request| match request.head.split(' ').nth(1) {
        Some("/204") => b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n".to_vec(),
        Some("/304") => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec(),
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(
        client.head(),
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    );
    client.send("GET /204 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n");
    client.send("GET /304 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(
        client.head(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
    );
}

#[test]
fn http_1_0_gets_no_chunks() {
    let worker = Worker::new(|request| match request.head.split(' ').nth(1) {
        Some("/stream") => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()
        }
        _ => ok(b"abc"),
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("abc", Some("keep-alive"))
    );
    client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("abc", Some("close"))
    );
    assert_eq!(reply.field("transfer-encoding"), None);
    assert!(worker.seen().head.starts_with("GET /kept HTTP/1.0\r\n"));
}

#[test]
fn a_response_until_the_end_of_the_connection_becomes_chunks() {
    let worker =
        Worker::new(|_request| b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc".to_vec());
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    for _request in 0..2 {
        let reply = client.get("/");
        assert_eq!(
            (reply.text(), reply.field("transfer-encoding")),
            ("abc", Some("chunked"))
        );
        // That the worker closes is not the client's business.
        assert_eq!(reply.field("connection"), None);
    }
}

/// What a proxy and a server could read in two ways is refused, and no worker sees it.
#[test]
fn what_the_workers_refuse_is_refused() {
    let worker = echo();
    let mut front = Front::http(&worker, Configuration::default());
    let requests = [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content_Length: 3\r\n", 400),
        ("X-Fine: 3\r\n", 200),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Content-Length: +3\r\n", 400),
        ("Host: y\r\n", 400),
        ("X-A: b\r\n c\r\n", 400),
        ("X-A : b\r\n", 400),
        ("X-A: b\x01\r\n", 400),
        ("X-A: b\n", 400),
        ("Expect: other\r\n", 417),
    ];
    let mut refused = 0;
    for (fields, status) in requests {
        let mut client = plain(front.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let reply = client.reply();
        assert_eq!(reply.status, status, "{fields:?}: {reply:?}");
        if status != 200 {
            refused += 1;
            assert_eq!(reply.field("connection"), Some("close"), "{fields}");
            assert!(client.is_closed(), "{fields}");
        }
    }
    worker.seen();
    assert!(worker.has_seen_all());
    assert_eq!(front.status("refused_requests").0, refused);
}

#[test]
fn a_malformed_chunk_is_refused_while_it_is_passed_on() {
    let worker = Worker::raw(|connection| {
        // The front closes the connection: there is no request.
        assert!(connection.request().is_none());
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n");
    assert_eq!(client.reply().status, 400);
    assert!(client.is_closed());
}

#[test]
fn limits_of_a_head_are_those_of_the_settings() {
    let worker = echo();
    let limits = Limits {
        request_line: 100,
        fields: 4,
        field_size: 100,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        server: Some("rcorn".to_owned()),
        ..Configuration::default()
    };
    let front = Front::http(&worker, configuration);
    let long = "x".repeat(100);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nX-A: {long}\r\n\r\n"),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(4)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(3)),
            200,
        ),
    ] {
        let mut client = plain(front.address());
        client.send(&request);
        let reply = client.reply();
        assert_eq!(reply.status, status, "{request}");
        let server = (status != 200).then_some("rcorn");
        assert_eq!(reply.field("server"), server);
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let worker = Worker::raw(|connection| {
        let head = connection.head().unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "connection"), Some("Upgrade"));
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: k\r\n\r\nwelcome",
        );
        let mut text = String::new();
        connection.reader.read_to_string(&mut text).unwrap();
        connection.send(text.to_uppercase().as_bytes());
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    // The first bytes of the other protocol may come at once.
    client.send(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\nearly ",
    );
    let head = client.head();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "sec-websocket-accept"), Some("k"));
    client.send("late");
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "welcomeEARLY LATE");
    assert_eq!(front.status("tunnels").0, 1);
}

#[test]
fn a_change_of_protocol_that_nobody_asked_for_is_malformed() {
    let worker = Worker::new(|_request| {
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".to_vec()
    });
    let front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").status, 502);
}

#[test]
fn a_response_that_comes_before_the_body_is_read() {
    let worker = Worker::raw(|connection| {
        connection.head().unwrap();
        connection.send(
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
        );
    });
    let front = Front::http(&worker, Configuration::default());
    let mut stream = socket(front.address());
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        .unwrap();
    // The front goes on reading for a while, so that this is no reset and the answer is read.
    stream.write_all(&vec![b'x'; 3_000_000]).unwrap();
    let mut client = Client::over(stream);
    assert_eq!(client.reply().status, 413);
    assert!(client.is_closed());
}

#[test]
fn after_a_refused_expectation_the_connection_ends() {
    let worker = Worker::raw(|connection| {
        connection.head().unwrap();
        connection.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        connection.head();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("connection")),
        (401, Some("close"))
    );
    assert!(client.is_closed());
}

/// However the bytes are cut, what arrives is the same.
#[test]
fn bytes_may_come_one_by_one() {
    let worker = Worker::raw(|connection| {
        connection.reader.get_ref().set_read_timeout(None).unwrap();
        while let Some(request) = connection.request() {
            let reply = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                request.body.len(),
                String::from_utf8(request.body).unwrap()
            );
            for byte in reply.bytes() {
                connection.send(&[byte]);
            }
        }
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.0.get_ref().set_nodelay(true).unwrap();
    for request in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello,world",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\nhello,\r\n5;a=b\r\nworld\r\n0\r\nX-T: 1\r\n\r\n",
    ] {
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.reply().text(), "hello,world");
    }
}

#[test]
fn a_cut_response_does_not_look_complete() {
    let worker = Worker::new(|request| {
        let framing = match request.head.split(' ').nth(1) {
            Some("/length") => "Content-Length: 10",
            _ => "Transfer-Encoding: chunked",
        };
        // With this the worker closes the connection.
        let head = format!("HTTP/1.1 200 OK\r\nX-Note: Connection: close\r\n{framing}\r\n\r\n");
        let body = if framing.starts_with('C') {
            "abc"
        } else {
            "3\r\nabc\r\n"
        };
        [head, body.to_owned()].concat().into_bytes()
    });
    let mut front = Front::http(&worker, Configuration::default());
    for (target, body) in [("/length", "abc"), ("/chunked", "3\r\nabc\r\n")] {
        let mut client = plain(front.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.head();
        let mut rest = String::new();
        client.0.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, body, "{target}");
    }
    assert_eq!(front.status("cut_responses").0, 2);
    // HTTP/1.0 has no other end than that of the connection: it gets a reset.
    let mut client = plain(front.address());
    client.send("GET /chunked HTTP/1.0\r\n\r\n");
    let mut received = Vec::new();
    let error = client.0.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// A client that takes little at a time.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = new_socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    // Before it connects: it is the window that it offers.
    setsockopt(&socket, RcvBuf, &4096).unwrap();
    let SocketAddr::V4(address) = address else {
        panic!("{address}");
    };
    connect(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a request, and more when the response has begun, which nobody answers; then reads all of
/// the response. `together`: so many requests are sent at first.
fn reads_all(stream: impl Read + Write, request: &str, together: usize, length: usize) {
    let mut client = Client::over(stream);
    client.send(request.repeat(together));
    let head = client.head();
    // The front reads none of it while the client does not take the response.
    client.send(request.repeat(20));
    assert_eq!(field(&head, "connection"), Some("close"), "{request}");
    let mut body = Vec::new();
    // The end, and no reset.
    client.0.read_to_end(&mut body).unwrap();
    assert_eq!(body.len(), length, "{request}");
}

/// Otherwise the kernel would reset the connection, and forget what the client has not got yet.
#[test]
fn a_client_that_sends_on_after_its_last_request_gets_all_of_the_response() {
    const LENGTH: usize = 1 << 20;
    let worker = Worker::raw(|connection| {
        while let Some(request) = connection.request() {
            let body = vec![b'x'; LENGTH];
            if request.head.starts_with("GET /chunked") {
                let size = format!("{LENGTH:x}\r\n");
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let parts = [head.as_bytes(), size.as_bytes(), &body, b"\r\n0\r\n\r\n"];
                connection.send(&parts.concat());
            } else {
                connection.send(&ok(&body));
            }
        }
    });
    let authority = Authority::new("ca");
    let pair = authority.issue(&["shop.example"]);
    let configuration = Configuration {
        tls: Some(tls(&[&pair])),
        ..Configuration::default()
    };
    let options = Options {
        kinds: vec![ListenerKind::Http, ListenerKind::Https],
        ..Options::default()
    };
    let mut front = Front::start(&worker, configuration, options);
    let config = Arc::new(trusting(authority.roots(), None));
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        // The client does not know that it is the last: the response has no other end.
        "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ] {
        for together in [1, 3] {
            reads_all(narrow(front.addresses[0]), request, together, LENGTH);
            let socket = narrow(front.addresses[1]);
            let session = secure_over(socket, "shop.example", &config).unwrap();
            reads_all(session, request, together, LENGTH);
        }
    }
    assert_eq!(front.status("requests").0, 8);
}

/// A connection is worth nothing to a client that has all, and takes a place.
#[test]
fn a_client_that_keeps_its_side_open_after_its_last_request_is_not_waited_for() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = plain(front.address());
        client.send(request);
        assert_eq!(client.reply().status, 200);
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
        // Who lingers takes it, and resets nothing.
        client.send("x");
        let stream = client.0.get_ref();
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        let mut wanted = [PollFd::new(stream.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut wanted, timeout), Ok(1), "{request}");
        // What a reset is to whoever has the end already.
        let error = stream.take_error().unwrap().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::BrokenPipe), "{request}");
    }
}
