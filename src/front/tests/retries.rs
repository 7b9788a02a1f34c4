//! What the front does when a worker does not answer.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use rcorn_front_link::{Configuration, Limits};

use crate::support::client::plain;
use crate::support::frames::{DATA, END_HEADERS, HEADERS, Http2, request};
use crate::support::front::Front;
use crate::support::worker::{Worker, field, ok};

/// A worker that closes each connection after its first response without a word of it, and answers
/// nothing on the connections of these numbers.
fn forgetful(silent: &'static [usize]) -> Worker {
    Worker::raw(move |connection| {
        let Some(request) = connection.request() else {
            return;
        };
        if !silent.contains(&connection.number) {
            let body = format!("{} {}", connection.number, request.body.len());
            connection.send(&ok(body.as_bytes()));
        }
        let stream = connection.reader.get_ref();
        stream.shutdown(Shutdown::Both).unwrap();
        connection.tell(request);
    })
}

#[test]
fn a_kept_connection_that_the_worker_closed_costs_no_request() {
    let worker = forgetful(&[]);
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    for number in 0..20 {
        let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
        client.send(post);
        assert_eq!(client.reply().text(), format!("{number} 2"));
        // By then the worker has closed its end.
        worker.seen();
    }
}

#[test]
fn what_may_be_sent_twice_is_sent_to_another_worker_once() {
    let worker = forgetful(&[0, 2, 3, 4]);
    let mut front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").text(), "1 0");
    assert_eq!(front.status("retries").0, 1);
    // The second has closed its connection by now.
    assert_eq!([worker.seen().connection, worker.seen().connection], [0, 1]);
    // Both workers are silent.
    let reply = plain(front.address()).get("/twice");
    assert_eq!(reply.status, 502);
    assert!(
        reply
            .text()
            .contains("The worker ended before it answered."),
        "{}",
        reply.text()
    );
    assert_eq!(front.status("bad_gateways").0, 1);
    front.process.record("No worker answered GET /twice:");
    // A body that is there already is sent again, too, if the method says that it may.
    let mut client = plain(front.address());
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.reply().text(), "5 2");
}

#[test]
fn what_a_worker_may_have_done_is_not_sent_twice() {
    let worker = forgetful(&[0, 1]);
    let mut front = Front::http(&worker, Configuration::default());
    for method in ["POST", "PATCH"] {
        let mut client = plain(front.address());
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        ));
        assert_eq!(client.reply().status, 502, "{method}");
        assert!(client.is_closed());
    }
    assert_eq!(front.status("retries").0, 0);
    let seen = [worker.seen().connection, worker.seen().connection];
    assert_eq!(seen, [0, 1]);
    assert!(worker.has_seen_all());
}

#[test]
fn a_response_that_has_begun_is_not_asked_for_again() {
    let worker = Worker::raw(|connection| {
        let request = connection.request().unwrap();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-");
        connection.tell(request);
    });
    let mut front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").status, 502);
    assert_eq!(front.status("retries").0, 0);
}

#[test]
fn a_malformed_response_is_a_bad_gateway() {
    for bad in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    ] {
        let worker = Worker::new(move |_request| bad.as_bytes().to_vec());
        let mut front = Front::http(&worker, Configuration::default());
        let reply = plain(front.address()).get("/");
        assert_eq!(reply.status, 502, "{bad}");
        assert_eq!(
            field(&reply.head, "content-type"),
            Some("text/html; charset=utf-8")
        );
        front.process.record("malformed");
    }
}

#[test]
fn without_a_worker_that_accepts_it_is_unavailable() {
    // Bound, and its queue is full: nobody accepts.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inner");
    let make = || {
        socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK,
            None,
        )
        .unwrap()
    };
    let (listener, address) = (make(), UnixAddr::new(&path).unwrap());
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = make();
        if connect(one.as_raw_fd(), &address).is_err() {
            break;
        }
        waiting.push(one);
    }
    let limits = Limits {
        connect_ms: 50,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let worker = Worker::at(folder, path);
    let mut front = Front::http(&worker, configuration);
    assert_eq!(plain(front.address()).get("/full").status, 503);
    drop(listener);
    let reply = plain(front.address()).get("/closed");
    assert_eq!(reply.status, 503);
    assert!(
        reply.text().contains("No worker takes connections"),
        "{}",
        reply.text()
    );
    assert_eq!(front.status("unavailable").0, 2);
    front
        .process
        .record("No worker took a connection for GET /closed:");
}

/// Workers come and go under load: what may be repeated never fails.
#[test]
fn no_request_is_lost_while_workers_close_their_connections() {
    let worker = Worker::raw(|connection| {
        // Some say that they close, others do not; all do it sooner or later.
        for left in (0..=connection.number % 7).rev() {
            if connection.request().is_none() {
                return;
            }
            let says = left == 0 && connection.number.is_multiple_of(2);
            let field = if says { "Connection: close\r\n" } else { "" };
            let reply = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nhi");
            connection.send(reply.as_bytes());
        }
    });
    let mut front = Front::http(&worker, Configuration::default());
    let address = front.address();
    let clients: Vec<_> = (0..4)
        .map(|_client| {
            std::thread::spawn(move || {
                let mut client = plain(address);
                for _request in 0..500 {
                    assert_eq!(client.get("/").text(), "hi");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(front.status("requests").0, 2000);
    assert_eq!(front.status("bad_gateways").0, 0);
}

/// The workers would close it soon: a request must not meet that.
#[test]
fn a_connection_that_nobody_used_for_too_long_is_not_used_any_more() {
    let worker = Worker::new(|_request| ok(b"hi"));
    let limits = Limits {
        inner_idle_ms: 1,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let mut front = Front::http(&worker, configuration);
    let mut client = plain(front.address());
    for number in 0..3 {
        assert_eq!(client.get("/").text(), "hi");
        assert_eq!(worker.seen().connection, number);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2) {
            front.status("requests");
        }
    }
}

/// A worker that answers a first request on each connection, takes `taken` bytes of the second on
/// the first connection, says `word`, and closes it.
fn leaving(taken: usize, word: &'static str) -> Worker {
    Worker::raw(move |connection| {
        while let Some(request) = connection.request() {
            let body = format!("{} {}", connection.number, request.body.len());
            connection.send(&ok(body.as_bytes()));
            connection.tell(request);
            if connection.number == 0 {
                let stream = connection.reader.get_mut();
                stream.read_exact(&mut vec![0; taken]).unwrap();
                connection.send(word.as_bytes());
                return;
            }
        }
    })
}

/// A request that is not to be sent twice.
fn post(length: usize) -> String {
    let body = "x".repeat(length);
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The worker has not read all of it when it closes the connection: no app has seen it.
#[test]
fn what_a_worker_has_not_read_is_sent_to_another() {
    for (taken, length) in [(1, 0), (1, 2), (40, 20_000), (10_000, 20_000)] {
        let worker = leaving(taken, "");
        let mut front = Front::http(&worker, Configuration::default());
        let mut client = plain(front.address());
        assert_eq!(client.get("/").text(), "0 0");
        client.send(post(length));
        assert_eq!(client.reply().text(), format!("1 {length}"), "{taken}");
        assert_eq!(front.status("retries").0, 1);
        assert_eq!([worker.seen().connection, worker.seen().connection], [0, 1]);
        assert!(worker.has_seen_all());
    }
}

/// Where the whole request was read, or the worker has told that the app is called.
#[test]
fn what_an_app_may_have_seen_is_not_sent_to_another() {
    const GOES_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let worker = Worker::raw(|connection| {
        while let Some(request) = connection.request() {
            if request.head.starts_with("POST") {
                connection.tell(request);
                return;
            }
            connection.send(&ok(b"0 0"));
        }
    });
    let told = leaving(40, GOES_ON);
    let partly = leaving(40, "HTTP/1.1 100 Con");
    for (worker, name) in [(&worker, "read"), (&told, "told"), (&partly, "partly")] {
        let mut front = Front::http(worker, Configuration::default());
        let mut client = plain(front.address());
        assert_eq!(client.get("/").text(), "0 0");
        client.send(post(20_000));
        // The client has not asked for the worker's word, and does not get it.
        assert_eq!(client.reply().status, 502, "{name}");
        assert_eq!(front.status("retries").0, 0, "{name}");
    }
    // Whoever waits for that word gets it, and the app may be called before.
    let worker = leaving(40, "");
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    assert_eq!(client.get("/").text(), "0 0");
    let body = "x".repeat(20_000);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n{body}"
    ));
    assert_eq!(client.reply().status, 502);
    assert_eq!(front.status("retries").0, 0);
}

/// The worker has all that the head has announced, though the end of the stream has not come.
#[test]
fn a_body_without_the_end_of_its_stream_may_be_whole() {
    let worker = Worker::raw(|connection| {
        let request = connection.request().unwrap();
        connection.tell(request);
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let head = request("POST", "/", &[("content-length", "2")]);
    client.send(HEADERS, END_HEADERS, 1, &head);
    client.send(DATA, 0, 1, b"hi");
    assert_eq!(worker.seen().body, b"hi");
    assert_eq!(client.wait(HEADERS).status(), 502);
    assert_eq!(front.status("retries").0, 0);
    assert!(worker.has_seen_all());
}

/// A worker tells that it calls the app: what may be sent twice is sent to another all the same.
#[test]
fn the_word_of_a_worker_is_no_answer() {
    let worker = leaving(40, "HTTP/1.1 100 Continue\r\n\r\n");
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    assert_eq!(client.get("/").text(), "0 0");
    client.send(post(20_000).replacen("POST", "PUT", 1));
    assert_eq!(client.reply().text(), "1 20000");
    assert_eq!(front.status("retries").0, 1);
}
