//! `worker_connections` and few descriptors: idle connections are closed, none is lost in a
//! hand-off, and a worker that cannot accept waits.

use std::time::Duration;
use std::{fs, io};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{Builder, Gate, Server, Wire, get, wait_until};

const LIMIT: usize = 64;

/// Descriptors that are left to the app.
const APPS: usize = 8;

fn scarce() -> Builder {
    Server::app("scarce:app").allow("Few descriptors are left of 64: closed 1 connections")
}

/// How many descriptors below the limit the process has. It may have inherited others from the test
/// program.
fn descriptors(pid: Pid) -> usize {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let number = |entry: io::Result<fs::DirEntry>| -> usize {
        entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    all.map(number).filter(|number| *number < LIMIT).count()
}

/// How often the threads of the process that accept have slept in the kernel.
fn waits(pid: Pid) -> u64 {
    let waits = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            let waits: u64 = field("voluntary_ctxt_switches:")
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            if field("Name:").unwrap().trim() == "rcorn io" {
                0
            } else {
                waits
            }
        });
    waits.sum()
}

#[test]
fn idle_clients_make_room_and_the_app_has_its_own() {
    let server = scarce().start();
    let worker = server.wait_workers(1)[0];
    let mut kept: Vec<Wire> = Vec::new();
    for _ in 0..2 * LIMIT {
        let mut wire = server.connect();
        assert_eq!(wire.get("/open").text(), "opened");
        kept.push(wire);
    }
    // The last reply may come before its connection is parked.
    wait_until(server.deadline(), "the app's descriptors are free", || {
        descriptors(worker) <= LIMIT - APPS
    });
    kept[0].expect_eof();
    assert_eq!(kept.last_mut().unwrap().get("/open").text(), "opened");
    server.log().expect("Few descriptors are left");
    assert_eq!(server.log().count("Few descriptors are left"), 1);
    server.stop();
}

#[test]
fn a_worker_that_can_take_nobody_rests_until_it_can() {
    let gate = Gate::new();
    let server = scarce()
        .args(["--response-buffer", "16MiB"])
        .gate(&gate)
        .allow("cannot take a connection: Too many open files")
        .start();
    let worker = server.wait_workers(1)[0];
    // A reply is being sent: this connection cannot be closed to make room.
    let mut first = server.connect();
    first.send(get("/take"));
    first.expect_text("HTTP/1.1 200 OK");
    let mut second = server.connect();
    second.send(get("/open"));
    server.log().expect("cannot take a connection");
    let before = waits(worker);
    wait_until(server.deadline(), "the worker rests", || {
        waits(worker) > before + 2
    });
    gate.open();
    assert_eq!(second.read_reply().text(), "opened");
    first.expect_text("\r\n\r\n");
    first.skip(12 << 20);
    assert_eq!(first.get("/open").text(), "opened");
    assert_eq!(server.log().count("cannot take a connection"), 1);
    server.stop();
}

#[test]
fn a_reload_loses_nobody_who_has_asked() {
    let gate = Gate::new();
    // No other thread is to take them while the gate is shut.
    let server = scarce().args(["--threads", "1"]).gate(&gate).start();
    let mut kept: Vec<Wire> = (0..30).map(|_| server.connect()).collect();
    for wire in &mut kept {
        assert_eq!(wire.get("/open").text(), "opened");
    }
    kept[0].send(get("/gate"));
    gate.expect(server.deadline());
    let mut asked: Vec<Wire> = (0..LIMIT).map(|_| server.connect()).collect();
    for wire in asked.iter_mut().chain(&mut kept[1..]) {
        wire.send(get("/open"));
    }
    server.signal(Signal::SIGHUP);
    server.log().expect_count("Booting worker with pid", 2);
    gate.open();
    assert_eq!(kept[0].read_reply().text(), "opened");
    for wire in asked.iter_mut().chain(&mut kept[1..]) {
        assert_eq!(wire.read_reply().text(), "opened");
    }
    server.log().expect("Reloaded: generation 2 serves.");
    server.stop();
}

/// The interval at which slow clients send.
const BEAT: Duration = Duration::from_millis(40);

#[test]
fn the_longest_idle_makes_room() {
    let gate = Gate::new();
    let server = Server::app("parking:app")
        .args(["--worker-connections", "8"])
        .gate(&gate)
        .allow("More connections than worker_connections (8): closed 1")
        .start();
    let mut kept: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
    for wire in &mut kept {
        assert_eq!(wire.get("/").status, 200);
    }
    // Half a request: it is kept longer than an idle connection.
    kept[0].send("GET / HT");
    assert_eq!(kept[7].get("/").status, 200);
    // The clock of idle times is coarse: the next connections must be clearly younger.
    assert!(!kept[0].hears_within(BEAT));
    let mut more: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    for wire in &mut more {
        assert_eq!(wire.get("/").status, 200);
    }
    for wire in kept.drain(1..4) {
        let mut wire = wire;
        wire.expect_eof();
    }
    kept[0].send("TP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept[0].read_reply().status, 200);
    for wire in kept.iter_mut().chain(&mut more) {
        assert_eq!(wire.get("/").status, 200);
    }
    server.log().expect("More connections than");
    assert_eq!(server.log().count("More connections than"), 1);
    server.stop();
}
