//! Orders by signal, alone and under load: nothing that a client sent is lost.

use nix::sys::signal::{Signal, kill};

use crate::support::{Connections, Gate, Load, Server};

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let server = Server::app("cases:app").args(["-w", "1"]).start();
    server.wait_workers(1);
    assert!(
        server
            .get("/types")
            .text()
            .contains("wsgi.multiprocess=bool:False")
    );
    server.signal(Signal::SIGTTIN);
    server.log().expect("Handling signal: ttin");
    server.log().expect_count("Booting worker with pid", 2);
    server.wait_workers(2);
    assert!(
        server
            .get("/types")
            .text()
            .contains("wsgi.multiprocess=bool:True")
    );
    server.signal(Signal::SIGTTOU);
    server.log().expect("Worker exiting");
    server.wait_workers(1);
    // Never below one.
    server.signal(Signal::SIGTTOU);
    server.log().expect_count("Handling signal: ttou", 2);
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn term_finishes_what_is_in_hand() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "1"])
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
    crate::support::wait_until(server.deadline(), "the worker is told to leave", || {
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
            "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
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
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";
    let server = Server::app("m:app")
        .args(["-w", "2"])
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("broken on purpose")
        .allow("eload")
        .allow("In hand when worker")
        .allow("was sent SIGKILL")
        .start();
    let before = server.wait_workers(2);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGHUP);
    server.log().expect("RuntimeError: broken on purpose");
    assert_eq!(server.get("/").text(), "old");
    // The template of the old code lives: a killed worker comes back although the code on disk is broken.
    let killed = before[0];
    kill(killed, Signal::SIGKILL).unwrap();
    server.wait_gone(killed);
    server.wait_workers(2);
    assert_eq!(server.get("/").text(), "old");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn usr1_reopens_the_logs() {
    let server = Server::app("cases:app")
        .file("unused", "")
        .args(["-w", "1"]);
    let server = server
        .args(["--access-logfile", "access.log"])
        .args([
            "--pythonpath",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        ])
        .start();
    assert_eq!(server.get("/hello").status, 200);
    let log = server.directory().join("access.log");
    let moved = server.directory().join("access.log.1");
    crate::support::wait_until(server.deadline(), "a line in the access log", || {
        std::fs::read_to_string(&log)
            .is_ok_and(|text| text.contains("\"GET /hello HTTP/1.1\" 200 3 "))
    });
    std::fs::rename(&log, &moved).unwrap();
    server.signal(Signal::SIGUSR1);
    // The arbiter makes it, and then tells the worker.
    let worker = server.workers()[0];
    crate::support::wait_until(server.deadline(), "the worker's new access log", || {
        let mut open = std::fs::read_dir(format!("/proc/{worker}/fd"))
            .unwrap()
            .flatten();
        open.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == log))
    });
    assert_eq!(server.get("/pid").status, 200);
    crate::support::wait_until(server.deadline(), "a line in the new access log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("GET /pid"))
    });
    server.stop();
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
fn templates_and_workers_ignore_the_arbiters_orders() {
    let server = Server::app("cases:app").args(["-w", "1"]).start();
    let worker = server.wait_workers(1)[0];
    let template = server.titled("rcorn: template")[0];
    for signal in [
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGWINCH,
    ] {
        kill(template, signal).unwrap();
        kill(worker, signal).unwrap();
    }
    assert_eq!(server.titled("rcorn: template"), [template]);
    assert_eq!(server.get("/pid").text(), worker.to_string());
    server.stop();
}
