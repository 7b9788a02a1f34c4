//! The end of a front.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use rcorn_front_link::{Configuration, ToFront};

use crate::support::client::{plain, socket};
use crate::support::frames::{ACK, DATA, GOAWAY, Http2, PING, WINDOW_UPDATE};
use crate::support::front::{Front, Process};
use crate::support::worker::{Worker, echo, ok};

#[test]
fn what_runs_is_finished() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        while let Some(request) = connection.request() {
            if request.head.starts_with("GET /slow") {
                gone.lock().unwrap().recv().unwrap();
            }
            connection.send(&ok(b"done"));
        }
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut running = plain(front.address());
    running.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = Http2::plain(front.address());
    stream.get(1, "/slow");
    let mut idle = plain(front.address());
    assert_eq!(idle.get("/").status, 200);
    let mut idle2 = Http2::plain(front.address());
    front.until(|front| front.status("requests").0 == 3);
    front
        .process
        .send(&ToFront::Drain { seconds: 60 }, Vec::new());
    // HTTP/2 is told that nothing new is taken.
    assert_eq!(stream.wait(GOAWAY).error(), 0);
    assert_eq!(idle2.wait(GOAWAY).error(), 0);
    // A request that was on its way is answered, and is the last.
    let reply = idle.get("/");
    assert_eq!(
        (reply.status, reply.field("connection")),
        (200, Some("close"))
    );
    go.send(()).unwrap();
    go.send(()).unwrap();
    let reply = running.reply();
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("done", Some("close"))
    );
    assert_eq!(stream.body(1), b"done");
    drop((stream, idle2));
    assert_eq!(front.process.wait().code(), Some(0));
}

/// Whether the front has closed its side of this connection, be it that not all has arrived: the
/// state `FIN_WAIT1` in proc(5).
fn is_closing(client: &Http2) -> bool {
    let (ours, theirs) = (client.0.local_addr(), client.0.peer_addr());
    let ports = [theirs, ours].map(|address| format!(":{:04X}", address.unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1].ends_with(&ports[0]) && words[2].ends_with(&ports[1]) && words[3] == "04"
    })
}

/// What a client still sends is taken in: otherwise a reset would overtake what is on its way.
#[test]
fn a_client_that_opens_windows_at_the_end_gets_all() {
    // More than the client's kernel takes, and less than the front's.
    const LENGTH: usize = 400_000;
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        connection.head().unwrap();
        gone.lock().unwrap().recv().unwrap();
        connection.send(&ok(&vec![b'x'; LENGTH]));
    });
    let mut front = Front::http(&worker, Configuration::default());
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is as large as it can be, and so is the connection's window.
    let mut client = Http2::over(socket(front.address()), &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    client.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    client.get(1, "/");
    front.until(|front| front.status("requests").0 == 1);
    front
        .process
        .send(&ToFront::Drain { seconds: 60 }, Vec::new());
    assert_eq!(client.wait(GOAWAY).error(), 0);
    let ping = client.wait(PING).payload;
    client.send(PING, ACK, 0, &ping);
    assert_eq!(client.wait(GOAWAY).error(), 0);
    go.send(()).unwrap();
    front.until(|_front| is_closing(&client));
    client.send(PING, ACK, 0, &[1; 8]);
    let mut length = 0;
    while let Some(frame) = client.next() {
        length += if frame.kind == DATA {
            frame.payload.len()
        } else {
            0
        };
    }
    assert_eq!(length, LENGTH);
    drop(client);
    assert_eq!(front.process.wait().code(), Some(0));
}

#[test]
fn what_takes_too_long_is_not_waited_for() {
    let worker = Worker::raw(|connection| {
        connection.head();
        // Until the front has closed the connection.
        connection.head();
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    front.until(|front| front.status("requests").0 == 1);
    front
        .process
        .send(&ToFront::Drain { seconds: 0 }, Vec::new());
    assert_eq!(front.process.wait().code(), Some(0));
    assert!(client.is_closed());
}

#[test]
fn a_front_without_connections_drains_at_once() {
    let worker = echo();
    let mut front = Front::http(&worker, Configuration::default());
    front
        .process
        .send(&ToFront::Drain { seconds: 600 }, Vec::new());
    assert_eq!(front.process.wait().code(), Some(0));
}

#[test]
fn it_ends_when_the_link_closes() {
    let worker = Worker::raw(|connection| {
        connection.head();
        connection.head();
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    front.until(|front| front.status("requests").0 == 1);
    front.process.close_link();
    assert_eq!(front.process.wait().code(), Some(0));
    assert!(client.is_closed());
    let mut never_started = Process::new();
    never_started.close_link();
    assert_eq!(never_started.wait().code(), Some(0));
}

#[test]
fn several_threads_serve_and_drain() {
    let worker = echo();
    let options = crate::support::front::Options {
        kinds: vec![rcorn_front_link::ListenerKind::Http],
        threads: 3,
        ..Default::default()
    };
    let mut front = Front::start(&worker, Configuration::default(), options);
    let mut clients: Vec<_> = (0..30).map(|_client| plain(front.address())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(front.status("requests"), (30, 30));
    drop(clients);
    front.until(|front| front.status("requests").1 == 0);
    let open = socket(front.address());
    front
        .process
        .send(&ToFront::Drain { seconds: 60 }, Vec::new());
    drop(open);
    assert_eq!(front.process.wait().code(), Some(0));
}
