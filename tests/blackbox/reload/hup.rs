//! HUP: new code and new settings, nothing lost, and the old workers when the new code is broken.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::conf::with;
use crate::support::resources::Footprint;
use crate::support::{Connections, Gate, Load, OLD, Server, Strace, lacks, program, thread_named};

#[test]
fn hup_under_load_loses_nothing_and_changes_every_worker() {
    for connections in [Connections::Each, Connections::Kept] {
        let server = Server::app("cases:app").args(["-w", "2"]).start();
        let before = server.wait_workers(2);
        let load = Load::start(server.place(), "/hello", 8, connections);
        for round in 1..=3 {
            load.wait_for(200, server.deadline());
            server.signal(Signal::SIGHUP);
            server.log().expect("Hang up: Master");
            server.log().expect_count("Worker exiting", 2 * round);
        }
        load.wait_for(200, server.deadline());
        let tally = load.stop();
        tally.assert_clean();
        let after = server.wait_workers(2);
        assert!(
            before.iter().all(|pid| !after.contains(pid)),
            "{before:?} {after:?}"
        );
        server.stop();
    }
}

#[test]
fn hup_loads_new_code() {
    let app = |text: &str| {
        format!(
            "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'{text}']
"
        )
    };
    let server = Server::app("m:app")
        .args(["-w", "2"])
        .file("m.py", app("old"))
        .start();
    server.wait_workers(2);
    assert_eq!(server.get("/").text(), "old");
    server.write("m.py", &app("new!"));
    server.signal(Signal::SIGHUP);
    server.log().expect_count("Worker exiting", 2);
    assert_eq!(server.get("/").text(), "new!");
    server.stop();
}

#[test]
fn hup_with_broken_code_keeps_the_old_workers() {
    let app = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'old']
";
    let server = Server::app("m:app")
        .args(["-w", "2"])
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("Reload failed")
        .allow("Request lost when worker")
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(2);
    let before = server.wait_workers(2);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGHUP);
    server.log().expect("RuntimeError: broken on purpose");
    assert_eq!(server.get("/").text(), "old");
    // The template of the old code lives: a killed worker comes back although the code on disk is
    // broken.
    let killed = before[0];
    kill(killed, Signal::SIGKILL).unwrap();
    server.wait_gone(killed);
    server.wait_workers(2);
    assert_eq!(server.get("/").text(), "old");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn three_reloads_under_load_do_not_stall_anybody() {
    let app = format!(
        "
import time
time.sleep(0.3)
{OLD}"
    );
    let server = Server::app("m:app")
        .args(["-w", "2", "--reload-watch", "0"])
        .file("m.py", app)
        .patience(Duration::from_mins(1))
        .start();
    server.wait_workers(2);
    let kept = Load::start(server.place(), "/", 10, Connections::Kept);
    let each = Load::start(server.place(), "/", 10, Connections::Each);
    for generation in 2..5 {
        server.signal(Signal::SIGHUP);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    server.stop();
}

#[test]
fn a_config_that_is_wrong_at_a_reload_changes_nothing() {
    let gate = Gate::new();
    let server = with("workers = 2\n")
        .file("gate.py", include_str!("../../apps/gate.py"))
        .gate(&gate)
        .allow("Failed to read config file")
        .allow("is not auto or a whole number")
        .allow("NameError")
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(2);
    server.write("gunicorn.conf.py", "workers = nobody\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("gunicorn.conf.py:1: NameError: name 'nobody' is not defined"),
        "{}",
        told.refused()
    );
    server.write("gunicorn.conf.py", "workers = 'two'\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("gunicorn.conf.py:1: workers: 'two' is not auto or a whole number"),
        "{}",
        told.refused()
    );
    // One that hangs hangs nobody: a worker that dies meanwhile is replaced.
    server.write(
        "gunicorn.conf.py",
        "
import os, gate
gate.hold()
workers = 3
pidfile = '/nowhere'
",
    );
    server.signal(Signal::SIGHUP);
    gate.expect(server.deadline());
    let worker = server.workers()[0];
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_gone(worker);
    server.wait_serving(2);
    assert_eq!(server.get("/").status, 200);
    gate.open();
    // The template executes it too.
    gate.expect(server.deadline());
    gate.open();
    server
        .log()
        .expect("These settings keep their values until a restart: pidfile");
    server.wait_serving(3);
    server.stop();
}

#[test]
fn a_hundred_reloads_lose_nothing_and_leak_nothing() {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--reload-watch", "0"])
        .patience(Duration::from_mins(5))
        .start();
    server.wait_serving(2);
    // The first reload warms up what stays.
    server.ctl(&["reload", "--wait"]).done();
    let before = Footprint::of(server.pid());
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    for generation in 3..103 {
        server.signal(Signal::SIGHUP);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    before.assert_as_before(&server, 2);
    server.stop();
}

/// The I/O thread is slow to hand on the last connection of a worker that leaves meanwhile: nobody
/// else would wake the worker.
#[test]
fn a_worker_leaves_though_its_last_connection_is_handed_on_after_its_last_look() {
    if lacks(&[program("strace")]) {
        return;
    }
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "1", "--threads", "1"])
        .args(["--graceful-timeout", "300", "--header-timeout", "300"])
        .gate(&gate)
        .start();
    let (mut held, mut kept) = (server.connect(), server.connect());
    for wire in [&mut held, &mut kept] {
        assert_eq!(wire.get("/hello").status, 200);
    }
    server.signal(Signal::SIGTTIN);
    server.wait_serving(2);
    held.send("GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let worker = gate.expect(server.deadline());
    let io = thread_named(worker, "rcorn io").unwrap();
    // It has handed the connection on, and still counts it.
    let trace = Strace::attach(io, &["-e", "inject=epoll_ctl:delay_exit=1s"]);
    kept.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    trace.expect(server.deadline(), "EPOLL_CTL_DEL");
    kill(worker, Signal::SIGTERM).unwrap();
    gate.open();
    assert_eq!(held.read_reply().text(), "held");
    held.expect_eof();
    assert_eq!(kept.read_reply().status, 200);
    server
        .log()
        .expect(&format!("Worker exiting (pid: {worker})"));
    trace.detach();
    server.stop();
}
