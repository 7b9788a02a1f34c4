//! TERM, QUIT and the drain modes: what is finished, what is served, what is dropped.

use nix::sys::signal::{Signal, kill};

use crate::support::{Connections, Gate, Load, Server, wait_until};

#[test]
fn term_finishes_what_is_in_hand() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "1", "--threads", "1"])
        .gate(&gate)
        .start();
    let mut held = server.connect();
    held.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(server.deadline());
    // Waits in the kernel's queue: the only worker is busy.
    let mut queued = server.connect();
    queued.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    server.signal(Signal::SIGTERM);
    // The log says it before the worker is told, the status after.
    wait_until(server.deadline(), "the worker is told to leave", || {
        server.ctl(&["status"]).out.contains("leaving")
    });
    server.log().expect("Handling signal: term");
    gate.open();
    let reply = held.read_reply();
    assert_eq!(reply.text(), "held");
    let reply = queued.read_reply();
    assert_eq!((reply.status, reply.closes()), (200, true));
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn term_under_load_resets_nobody() {
    for connections in [Connections::Each, Connections::Kept] {
        let server = Server::app("cases:app").args(["-w", "2"]).start();
        let load = Load::start(server.place(), "/hello", 8, connections);
        load.wait_for(500, server.deadline());
        server.signal(Signal::SIGTERM);
        let ended = server.exit();
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        load.stop().assert_nothing_lost();
    }
}

#[test]
fn quit_drops_what_is_in_hand() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "1"])
        .gate(&gate)
        .allow("Dropped request")
        .allow("was sent SIGKILL")
        .start();
    let mut held = server.connect();
    held.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(server.deadline());
    server.signal(Signal::SIGQUIT);
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
fn term_with_one_busy_worker_serves_who_is_queued() {
    let gate = Gate::new();
    let server = Server::app("cases:app").gate(&gate).start();
    server.wait_workers(1);
    let mut busy = server.connect();
    busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(server.deadline());
    let mut queued = server.connect();
    queued.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    server.signal(Signal::SIGTERM);
    server.log().expect("Handling signal: term");
    gate.open();
    assert_eq!(busy.read_reply().status, 200);
    assert_eq!(queued.read_reply().status, 200);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn an_upload_in_progress_outlives_every_stop() {
    for mode in ["queue", "immediate"] {
        let server = Server::app("cases:app")
            .args(["--drain-mode", mode])
            .start();
        server.wait_serving(1);
        let mut wire = server.connect();
        wire.send("POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
        wait_until(server.deadline(), "a worker has the connection", || {
            let status = server.status();
            let workers = status["workers"].as_array().unwrap();
            workers.iter().any(|worker| worker["connections"] == 1)
        });
        server.signal(Signal::SIGTERM);
        wait_until(server.deadline(), "the worker is told to leave", || {
            server.ctl(&["status"]).out.contains("leaving")
        });
        wire.send("def");
        assert_eq!(wire.read_reply().text(), "abcdef", "{mode}");
        assert_eq!(server.exit().code(), Some(0));
    }
}

/// Its connections have no other worker to go to.
#[test]
fn a_worker_that_was_being_replaced_when_the_server_stopped_serves_its_clients() {
    let server = Server::app("cases:app")
        .args(["--response-buffer", "33554432"])
        .start();
    let old = server.wait_workers(1)[0];
    let mut wire = server.connect();
    // More than the socket takes: it waits for the client.
    wire.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(wire.hears_within(server.deadline().left()));
    server.ctl(&["retire", &old.to_string()]).done();
    wait_until(server.deadline(), "another worker serves", || {
        server.workers().len() == 2
    });
    let new = server
        .workers()
        .into_iter()
        .find(|pid| *pid != old)
        .unwrap();
    wait_until(server.deadline(), "the old worker leaves", || {
        server.ctl(&["status"]).done().contains("leaving")
    });
    server.signal(Signal::SIGTERM);
    server.wait_gone(new);
    assert_eq!(wire.read_reply().body.len(), 10 * 1024 * 1024);
    assert_eq!(wire.get("/hello").status, 200);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_template_that_is_stopped_delays_a_stop_no_longer_than_its_limit() {
    let server = Server::app("cases:app")
        .args(["--graceful-timeout", "1"])
        .allow("did not exit in time")
        .start();
    server.wait_workers(1);
    for template in server.titled("rcorn: template") {
        kill(template, Signal::SIGSTOP).unwrap();
    }
    server.signal(Signal::SIGTERM);
    server.log().expect("or it is stopped): killing it.");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn drain_modes() {
    // Delay: all goes on for a while, then the stop.
    let server = Server::app("cases:app")
        .args(["--drain-delay", "3"])
        .start();
    server.wait_workers(1);
    server.signal(Signal::SIGTERM);
    server.log().expect("Stopping in 3 seconds (drain_delay)");
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(server.exit().code(), Some(0));
    // A second order does not wait.
    let server = Server::app("cases:app")
        .args(["--drain-mode", "delay", "--drain-delay", "600"])
        .start();
    server.wait_workers(1);
    server.signal(Signal::SIGTERM);
    server.log().expect("Stopping in 600 seconds");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit().code(), Some(0));
    // Immediate: what is in hand is finished, what is queued is not served.
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["--drain-mode", "immediate"])
        .gate(&gate)
        .start();
    server.wait_workers(1);
    let mut busy = server.connect();
    busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(server.deadline());
    let mut queued = server.connect();
    queued.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    server.signal(Signal::SIGTERM);
    server.log().expect("Handling signal: term");
    // When the arbiter answers this, it has passed the order on.
    server.ctl(&["status"]).done();
    gate.open();
    assert_eq!(busy.read_reply().status, 200);
    assert_eq!(server.exit().code(), Some(0));
    assert!(queued.try_read_reply(false).is_err());
}
