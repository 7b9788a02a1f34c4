//! How long clients may take, and how many there may be.

use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcorn_front_link::{Configuration, Limits};

use crate::support::client::{Client, plain, secure, socket, trusting};
use crate::support::front::Front;
use crate::support::keys::{Authority, tls};
use crate::support::worker::{Worker, echo, ok};

/// As short as it can be while a machine is busy.
const SHORT_MS: u64 = 500;

fn with(limits: Limits) -> Configuration {
    Configuration {
        limits,
        ..Configuration::default()
    }
}

#[test]
fn a_head_must_arrive_in_time() {
    let worker = echo();
    let limits = Limits {
        header_ms: SHORT_MS,
        ..Limits::default()
    };
    let mut front = Front::http(&worker, with(limits));
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost:");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("connection")),
        (408, Some("close"))
    );
    assert!(client.is_closed());
    assert_eq!(front.status("late_requests").0, 1);
}

#[test]
fn who_sends_nothing_is_not_waited_for() {
    let worker = echo();
    let limits = Limits {
        idle_ms: SHORT_MS,
        ..Limits::default()
    };
    let front = Front::http(&worker, with(limits));
    let mut silent = plain(front.address());
    let mut kept = plain(front.address());
    assert_eq!(kept.get("/").status, 200);
    assert!(silent.is_closed());
    assert!(kept.is_closed());
}

#[test]
fn a_body_must_go_on() {
    let worker = Worker::raw(|connection| {
        assert!(connection.request().is_none());
    });
    let limits = Limits {
        body_ms: SHORT_MS,
        ..Limits::default()
    };
    let mut front = Front::http(&worker, with(limits));
    let mut client = plain(front.address());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.reply().status, 408);
    assert_eq!(front.status("late_requests").0, 1);
}

/// The client is not late while it waits for the worker's word.
#[test]
fn who_waits_for_continue_is_not_late() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        // The late client's connection ends, perhaps before its head has come.
        if !connection
            .head()
            .is_some_and(|head| head.contains("/waits"))
        {
            connection.head();
            return;
        }
        gone.lock().unwrap().recv().unwrap();
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 2];
        connection.reader.read_exact(&mut body).unwrap();
        connection.send(&ok(&body));
        connection.head();
    });
    let limits = Limits {
        body_ms: SHORT_MS,
        ..Limits::default()
    };
    let mut front = Front::http(&worker, with(limits));
    let mut client = plain(front.address());
    client.send(
        "PUT /waits HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    front.until(|front| front.status("requests").0 == 1);
    // Another client is late meanwhile: so much time has passed.
    let mut late = plain(front.address());
    late.send("PUT /late HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(late.reply().status, 408);
    go.send(()).unwrap();
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send("hi");
    assert_eq!(client.reply().text(), "hi");
}

#[test]
fn who_does_not_read_its_response_is_cut_off() {
    let body = vec![b'x'; 64 << 20];
    let worker = Worker::new(move |_request| ok(&body));
    let limits = Limits {
        write_ms: SHORT_MS,
        ..Limits::default()
    };
    let mut front = Front::http(&worker, with(limits));
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    front.until(|front| front.status("slow_readers").0 == 1);
    front.until(|front| front.status("requests").1 == 0);
    let mut received = Vec::new();
    client.0.read_to_end(&mut received).ok();
    assert!(received.len() < 64 << 20);
}

/// Slow is not stalled: the limit is between two parts that the client takes.
#[test]
fn who_reads_slowly_gets_it_all() {
    const LENGTH: usize = 6 << 20;
    let (authority, body) = (Authority::new("ca"), vec![b'x'; LENGTH]);
    let worker = Worker::new(move |_request| ok(&body));
    let pair = authority.issue(&["shop.example"]);
    let limits = Limits {
        write_ms: 1000,
        ..Limits::default()
    };
    let configuration = Configuration {
        tls: Some(tls(&[&pair])),
        ..with(limits)
    };
    let mut front = Front::https(&worker, configuration);
    let config = Arc::new(trusting(authority.roots(), None));
    let session = secure(front.address(), "shop.example", &config).unwrap();
    let mut client = Client::over(session);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.head().contains("Content-Length: 6291456\r\n"));
    let begin = Instant::now();
    let mut part = vec![0; 256 * 1024];
    // Some parts after a good deal of the limit, and in sum after more than it.
    for number in 1..=LENGTH / part.len() {
        while number <= 4
            && begin.elapsed() < Duration::from_millis(400) * number.try_into().unwrap()
        {
            front.status("requests");
        }
        client.0.read_exact(&mut part).unwrap();
    }
    assert!(begin.elapsed() > Duration::from_millis(1500));
    assert_eq!(front.status("slow_readers").0, 0);
}

#[test]
fn a_handshake_must_end_in_time() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let limits = Limits {
        handshake_ms: SHORT_MS,
        ..Limits::default()
    };
    let configuration = Configuration {
        tls: Some(tls(&[&pair])),
        ..with(limits)
    };
    let mut front = Front::https(&worker, configuration);
    let mut silent = socket(front.address());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(front.status("failed_handshakes").0, 1);
    let record = front.process.record("TLS handshake");
    assert!(record.ends_with("it took too long"), "{record}");
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    let worker = echo();
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let mut front = Front::http(&worker, with(limits));
    let mut first = plain(front.address());
    let mut second = plain(front.address());
    assert_eq!(first.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    let mut third = plain(front.address());
    third.send("GET /third HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(second.get("/").status, 200);
    assert_eq!(front.status("connections"), (2, 2));
    drop(first);
    assert_eq!(third.reply().text(), "GET /third HTTP/1.1 0");
    assert_eq!(front.status("connections").0, 3);
}

/// A thousand clients that wait with half a head take little memory.
#[test]
fn who_waits_takes_little_memory() {
    let worker = echo();
    let mut front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").status, 200);
    let before = front.memory();
    let clients: Vec<_> = (0..1000)
        .map(|_client| {
            let mut client = plain(front.address());
            client.send(format!(
                "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}",
                "x".repeat(1000)
            ));
            client
        })
        .collect();
    front.until(|front| front.status("connections").1 == 1000);
    // It has read what all of them have sent when it answers this one.
    assert_eq!(plain(front.address()).get("/").status, 200);
    let each = front.memory().saturating_sub(before) / 1000;
    assert!(each < 16, "{each} KiB each");
    drop(clients);
}
