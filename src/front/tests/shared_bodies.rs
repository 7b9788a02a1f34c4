//! Bodies that a worker puts into memory which it shares with the front.

use std::collections::HashMap;
use std::io::{IoSlice, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use rcorn_front_link::{Coding, Configuration, SharedBody};
use rcorn_sys::memfd;
use rcorn_sys::passing::send_many;
use rcorn_sys::shared_block::SharedBlock;

use crate::compression::{compressing, unpacked};
use crate::support::client::{Client, plain, secure, socket, trusting};
use crate::support::frames::{DATA, END_STREAM, Http2, WINDOW_UPDATE};
use crate::support::front::Front;
use crate::support::keys::{Authority, tls};
use crate::support::worker::{Connection, Seen, Worker, ok};

const LENGTH: usize = 300_000;

/// Windows of streams as large as they can be: `SETTINGS_INITIAL_WINDOW_SIZE`.
const WIDE: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];

/// A body that no other request gets.
fn body(target: &str, connection: usize, length: usize) -> Vec<u8> {
    let line = format!("{target} {connection} ");
    line.bytes().cycle().take(length).collect()
}

fn target(request: &Seen) -> &str {
    request.head.split(' ').nth(1).unwrap()
}

/// The other end of a connection, with memory.
struct Sharing {
    block: SharedBlock,
    /// Until the front has it.
    descriptor: Option<OwnedFd>,
}

impl Sharing {
    fn new(length: usize) -> Self {
        let length = NonZeroUsize::new(length).unwrap();
        let (block, descriptor) = SharedBlock::create(c"test", length).unwrap();
        Self {
            block,
            descriptor: Some(descriptor),
        }
    }

    /// Sends these bytes; the descriptor comes with the first one.
    fn send(&mut self, connection: &Connection, bytes: &[u8]) {
        let mut stream = connection.reader.get_ref();
        let descriptor = self.descriptor.take();
        let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
        let sent = send_many(stream.as_fd(), &[IoSlice::new(bytes)], &descriptors).unwrap();
        stream.write_all(&bytes[sent..]).unwrap();
    }

    /// Answers as a worker does.
    fn answer(&mut self, connection: &Connection, body: &[u8]) {
        assert!(self.block.write(0, body));
        let length = u32::try_from(body.len()).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let announced = SharedBody { length }.encode();
        self.send(connection, &[&announced[..], head.as_bytes()].concat());
    }
}

/// A worker that shares all its bodies, which have so many bytes.
fn sharing(length: usize) -> Worker {
    Worker::raw(move |connection| {
        let mut sharing = Sharing::new(length);
        while let Some(request) = connection.request() {
            let body = body(target(&request), connection.number, length);
            sharing.answer(connection, &body);
            connection.tell(request);
        }
    })
}

#[test]
fn clients_get_them_whatever_they_speak() {
    let (authority, worker) = (Authority::new("ca"), sharing(LENGTH));
    let pair = authority.issue(&["shop.example"]);
    let configuration = Configuration {
        tls: Some(tls(&[&pair])),
        ..Configuration::default()
    };
    let front = Front::https(&worker, configuration);
    for protocol in ["http/1.1", "h2"] {
        let mut config = trusting(authority.roots(), None);
        config.alpn_protocols = vec![protocol.into()];
        let session = secure(front.address(), "shop.example", &Arc::new(config)).unwrap();
        if protocol == "h2" {
            let mut client = Http2::over(session, WIDE);
            for (stream, target) in [(1, "/a"), (3, "/b")] {
                client.get(stream, target);
                assert!(client.body(stream) == body(target, 0, LENGTH), "{target}");
            }
        } else {
            let mut client = Client::over(session);
            for target in ["/a", "/b"] {
                assert!(
                    client.get(target).body == body(target, 0, LENGTH),
                    "{target}"
                );
            }
        }
    }
}

#[test]
fn the_announcement_may_come_in_pieces_and_without_the_head() {
    let worker = Worker::raw(|connection| {
        let mut sharing = Sharing::new(10);
        while connection.request().is_some() {
            assert!(sharing.block.write(0, b"0123456789"));
            let announced = SharedBody { length: 10 }.encode();
            let head =
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
            for byte in [&announced[..], head].concat() {
                sharing.send(connection, &[byte]);
            }
        }
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    for _request in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 103 "));
        assert_eq!(client.reply().text(), "0123456789");
    }
}

/// The kernel ends a read at the descriptor, and tells nobody of the head that is there already.
#[test]
fn what_has_come_behind_the_descriptor_is_read() {
    let (go, gone) = channel::<()>();
    let (sent, was_sent) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        let mut sharing = Sharing::new(10);
        if let Some(request) = connection.request() {
            connection.tell(request);
            gone.lock().unwrap().recv().unwrap();
            assert!(sharing.block.write(0, b"0123456789"));
            sharing.send(connection, &SharedBody { length: 10 }.encode());
            sharing.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
            sent.send(()).unwrap();
            // It stays open.
            connection.request();
        }
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    worker.seen();
    let pid = Pid::from_raw(front.process.child.id().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    go.send(()).unwrap();
    was_sent.recv().unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(client.reply().text(), "0123456789");
}

/// The worker writes the next body over it.
#[test]
fn a_connection_waits_until_its_body_was_used() {
    let worker = sharing(LENGTH);
    let front = Front::http(&worker, Configuration::default());
    // All of the body is the connection's to send, and none of it the stream's.
    let mut slow = Http2::over(socket(front.address()), &[0, 4, 0, 0, 0, 0]);
    slow.get(1, "/slow");
    assert_eq!(worker.seen().connection, 0);
    let mut quick = plain(front.address());
    for number in 0..3 {
        let target = format!("/{number}");
        assert!(quick.get(&target).body == body(&target, 1, LENGTH));
    }
    for stream in [0, 1] {
        let room = u32::try_from(LENGTH).unwrap().to_be_bytes();
        slow.send(WINDOW_UPDATE, 0, stream, &room);
    }
    assert!(slow.body(1) == body("/slow", 0, LENGTH));
}

/// What the library has taken of a body and has not sent is still in that memory.
#[test]
fn a_connection_waits_until_the_last_frame_was_sent() {
    const STREAMS: usize = 100;
    let worker = sharing(60_000);
    let front = Front::http(&worker, Configuration::default());
    let socket = socket(front.address());
    setsockopt(&socket, sockopt::RcvBuf, &(128 * 1024)).unwrap();
    let mut slow = Http2::over(socket, WIDE);
    slow.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    // More than the sockets take: the front has the rest, and cannot send it.
    let targets: Vec<String> = (0..STREAMS)
        .map(|number| format!("/slow/{number}"))
        .collect();
    for (stream, target) in (1..).step_by(2).zip(&targets) {
        slow.get(stream, target);
    }
    let answered: HashMap<String, usize> = (0..STREAMS)
        .map(|_| worker.seen())
        .map(|request| (target(&request).to_owned(), request.connection))
        .collect();
    let mut quick = plain(front.address());
    for number in 0..STREAMS {
        let target = format!("/quick/{number}");
        let reply = quick.get(&target);
        let connection = worker.seen().connection;
        assert!(reply.body == body(&target, connection, 60_000), "{target}");
    }
    let mut bodies = HashMap::<u32, Vec<u8>>::new();
    let mut open = STREAMS;
    while open > 0 {
        let frame = slow.wait(DATA);
        let body = bodies.entry(frame.stream).or_default();
        body.extend_from_slice(&frame.payload);
        open -= usize::from(frame.flags & END_STREAM);
    }
    for (stream, target) in (1..).step_by(2).zip(&targets) {
        let expected = body(target, answered[target], 60_000);
        assert!(bodies[&stream] == expected, "{target}");
    }
}

#[test]
fn they_are_compressed_like_others() {
    let worker = Worker::raw(|connection| {
        let mut sharing = Sharing::new(LENGTH);
        while let Some(request) = connection.request() {
            let body = body(target(&request), 0, LENGTH);
            assert!(sharing.block.write(0, &body));
            let length = u32::try_from(body.len()).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
            );
            let announced = SharedBody { length }.encode();
            sharing.send(connection, &[&announced[..], head.as_bytes()].concat());
        }
    });
    let front = Front::http(&worker, compressing());
    let mut client = plain(front.address());
    client.send("GET /a HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.field("content-encoding"), Some("gzip"));
    assert!(unpacked(Coding::Gzip, &reply.body) == body("/a", 0, LENGTH));
}

/// A worker that answers with these bytes, and has ten digits in memory, or none.
fn saying(bytes: Vec<u8>, has_memory: bool) -> Worker {
    Worker::raw(move |connection| {
        let mut sharing = Sharing::new(10);
        if !has_memory {
            sharing.descriptor = None;
        }
        assert!(sharing.block.write(0, b"0123456789"));
        if connection.request().is_some() {
            sharing.send(connection, &bytes);
        }
    })
}

#[test]
fn what_is_not_where_it_was_announced_is_no_response() {
    const MISPLACED: &str = "its body is not where it was announced";
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let after = |length, more: &[u8]| [&SharedBody { length }.encode(), more].concat();
    let cases = [
        ("as it should be", after(10, head(10).as_bytes()), true, ""),
        (
            "no memory",
            after(10, head(10).as_bytes()),
            false,
            MISPLACED,
        ),
        (
            "too long",
            after(70_000, head(70_000).as_bytes()),
            true,
            MISPLACED,
        ),
        (
            "another length",
            after(10, head(9).as_bytes()),
            true,
            MISPLACED,
        ),
        (
            "more behind it",
            after(10, &ok(b"0123456789")),
            true,
            MISPLACED,
        ),
        (
            "no length",
            after(10, b"HTTP/1.1 200 OK\r\n\r\n"),
            true,
            MISPLACED,
        ),
        (
            "no body",
            after(10, b"HTTP/1.1 204 No Content\r\n\r\n"),
            true,
            MISPLACED,
        ),
        (
            "a part",
            after(10, b"")[..3].to_vec(),
            true,
            "the connection was closed",
        ),
    ];
    for (case, bytes, has_memory, reason) in cases {
        let mut front = Front::http(&saying(bytes, has_memory), Configuration::default());
        let reply = plain(front.address()).get("/");
        if reason.is_empty() {
            assert_eq!(reply.text(), "0123456789", "{case}");
            continue;
        }
        assert_eq!(reply.status, 502, "{case}");
        let record = front.process.record("GET /");
        assert!(record.contains(reason), "{case}: {record}");
    }
}

/// The worker believes that it has the memory.
#[test]
fn a_front_without_room_for_the_memory_leaves_the_connection() {
    let worker = Worker::raw(|connection| {
        let mut sharing = Sharing::new(10);
        while let Some(request) = connection.request() {
            if target(&request) == "/large" {
                let offer = SharedBody { length: 0 }.encode();
                let body = ok(b"0123456789");
                sharing.send(connection, &[&offer[..], &body].concat());
            } else {
                connection.send(&ok(b"small"));
            }
            connection.tell(request);
        }
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    assert_eq!(client.get("/").text(), "small");
    let pid = front.process.child.id();
    let open: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    let first_free = (0..1024).find(|number| !open.contains(number)).unwrap();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={first_free}")])
        .status();
    assert!(limited.unwrap().success());
    for target in ["/large", "/large"] {
        assert_eq!(client.get(target).text(), "0123456789");
    }
    let connections = [(); 3].map(|()| worker.seen().connection);
    assert_eq!(connections, [0, 0, 1]);
}

/// It could be made shorter while it is read.
#[test]
fn memory_of_another_kind_is_refused() {
    let worker = Worker::raw(|connection| {
        let mut sharing = Sharing::new(10);
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        let file = memfd::create(c"test", flags).unwrap();
        nix::unistd::ftruncate(&file, 10).unwrap();
        sharing.descriptor = Some(file);
        if connection.request().is_some() {
            sharing.answer(connection, b"0123456789");
        }
    });
    let mut front = Front::http(&worker, Configuration::default());
    assert_eq!(plain(front.address()).get("/").status, 502);
    front
        .process
        .record("its body is not where it was announced");
}

#[test]
fn a_worker_that_ends_leaves_it_to_the_front() {
    let worker = Worker::raw(|connection| {
        if let Some(request) = connection.request() {
            let body = body(target(&request), 0, LENGTH);
            Sharing::new(LENGTH).answer(connection, &body);
        }
    });
    let front = Front::http(&worker, Configuration::default());
    assert!(plain(front.address()).get("/a").body == body("/a", 0, LENGTH));
}

#[test]
fn unused_memory_is_given_back_soon() {
    let worker = Worker::raw(|connection| {
        let mut sharing = Sharing::new(LENGTH);
        while let Some(request) = connection.request() {
            sharing.answer(connection, &body(target(&request), 0, LENGTH));
        }
        // The front has closed it.
        connection.tell(Seen {
            connection: connection.number,
            head: String::new(),
            body: Vec::new(),
        });
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = plain(front.address());
    assert!(client.get("/a").body == body("/a", 0, LENGTH));
    let maps = format!("/proc/{}/maps", front.process.child.id());
    let is_mapped = || {
        std::fs::read_to_string(&maps)
            .unwrap()
            .contains("/memfd:test")
    };
    assert_eq!(worker.seen().connection, 0);
    front.until(|_front| !is_mapped());
    // The client has its connection still.
    assert!(client.get("/b").body == body("/b", 0, LENGTH));
}
