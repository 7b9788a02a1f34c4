//! Children that the app forks and leaves behind: they hold nothing of the server's, so that every
//! connection ends when the server ends it, and the port is free after a stop.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::{Place, Server, Wire, wait_until};

const FORKS: [&str; 6] = [
    "fork",
    "in_thread",
    "process",
    "by_c",
    "terminal",
    "grandchild",
];

fn start(arguments: &[&str]) -> Server {
    // From a file of its own: its children wait in the current directory.
    let server = Server::app("m:app")
        .file("m.py", include_str!("../../apps/lingering_child.py"))
        .args(["-w", "1"])
        .args(arguments)
        .allow("torn on purpose")
        .allow("was terminated by signal")
        .allow("Request lost when worker")
        .allow("Worker (pid")
        .start();
    mkfifo(&server.directory().join("end"), Mode::S_IRWXU).unwrap();
    server.wait_serving(1);
    server
}

/// Lets the children end, those that have not run yet too, while what it gives is held.
fn end_children(server: &Server) -> File {
    let end = server.directory().join("end");
    OpenOptions::new().read(true).write(true).open(end).unwrap()
}

fn body(bytes: &[u8]) -> Pid {
    let text = String::from_utf8_lossy(bytes);
    let (_head, body) = text.split_once("\r\n\r\n").unwrap();
    Pid::from_raw(body.parse().unwrap())
}

/// What the descriptors of a process refer to, but those of a device or pipe.
fn holdings(pid: Pid) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let names = links.map(|link| link.to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("socket:") || name.starts_with("anon_inode:"))
        .collect()
}

#[test]
fn a_child_holds_nothing_of_the_server() {
    let server = start(&[]);
    // In a place, in the hands of the worker, and in its response.
    let mut kept = server.connect();
    assert_eq!(kept.get("/").text(), "hello");
    for how in FORKS {
        let mut wire = server.connect();
        wire.send(format!("GET /{how} HTTP/1.0\r\n\r\n"));
        let pid = body(&wire.read_to_eof());
        // It may not have run yet.
        wait_until(server.deadline(), how, || holdings(pid).is_empty());
    }
    assert_eq!(kept.get("/").text(), "hello");
    let _end = end_children(&server);
    server.stop();
}

#[test]
fn a_response_ends_at_once_though_a_child_lives() {
    let server = start(&[]);
    for how in FORKS {
        for request in [
            format!("GET /{how} HTTP/1.0\r\n\r\n"),
            format!("GET /{how}/length HTTP/1.0\r\n\r\n"),
            format!("GET /{how}/length HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ] {
            let mut wire = server.connect();
            wire.send(&request);
            body(&wire.read_to_eof());
        }
        let mut wire = server.connect();
        wire.send(format!("GET /{how}/torn HTTP/1.1\r\nHost: x\r\n\r\n"));
        body(&wire.expect_reset());
    }
    let _end = end_children(&server);
    server.stop();
}

#[test]
fn connections_end_at_once_though_a_child_lives() {
    let server = start(&["--keep-alive", "1", "--max-keepalive-requests", "3"]);
    let fork = |how: &str| {
        // Others are there when the child is forked: one that waits, one that has sent half a head.
        let (mut idle, mut half) = (server.connect(), server.connect());
        assert_eq!(idle.get("/").text(), "hello");
        half.send("GET / HTTP/1.1\r\nHo");
        let mut wire = server.connect();
        let length = wire.get(&format!("/{how}/length"));
        (length.text(), wire, idle, half)
    };
    for how in ["fork", "process", "by_c"] {
        let (_pid, mut wire, mut idle, mut half) = fork(how);
        half.send(" st\r\n\r\n");
        assert_eq!(half.read_reply().status, 400, "{how}");
        half.expect_eof();
        idle.expect_eof();
        wire.expect_eof();
        // The last request of a connection.
        let mut wire = server.connect();
        let ends = [wire.get("/").closes(), wire.get("/").closes()];
        assert_eq!(ends, [false, false]);
        assert!(wire.get("/").closes());
        wire.expect_eof();
    }
    let _end = end_children(&server);
    server.stop();
}

/// A worker that is killed, too.
#[test]
fn the_end_of_a_worker_ends_its_connections_though_a_child_lives() {
    let server = start(&[]);
    let mut idle = server.connect();
    assert_eq!(idle.get("/").text(), "hello");
    let mut wire = server.connect();
    wire.get("/fork/length");
    kill(server.workers()[0], Signal::SIGKILL).unwrap();
    for wire in [&mut idle, &mut wire] {
        wire.expect_eof();
    }
    let _end = end_children(&server);
    server.stop();
}

#[test]
fn the_port_is_free_after_a_stop_though_a_child_lives() {
    let mut server = start(&[]);
    let mut idle: Wire = server.connect();
    assert_eq!(idle.get("/").text(), "hello");
    for how in FORKS {
        server.get(&format!("/{how}/length"));
    }
    server.signal(Signal::SIGTERM);
    server.wait_exit();
    idle.expect_eof();
    let Place::Tcp(address) = server.place() else {
        panic!("the server listens on TCP");
    };
    let listener = TcpListener::bind(address).unwrap();
    drop(listener);
    let _end = end_children(&server);
    server.finish();
}
