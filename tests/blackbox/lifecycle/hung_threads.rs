//! A worker with threads of which one takes too long: the others finish, nobody else notices.

use crate::support::{Builder, Gate, Server, Wire, get, wait_until};

fn builder(gate: &Gate) -> Builder {
    [
        "WORKER TIMEOUT",
        "is hung",
        "Worker (pid",
        "Request lost when worker",
        "Error handling request",
        "SystemExit",
        "Traceback",
    ]
    .into_iter()
    .fold(
        Server::app("hung_threads:app")
            .args(["-w", "1", "--threads", "4", "--timeout", "1"])
            .args(["--abort-timeout", "1"])
            .gate(gate),
        Builder::allow,
    )
}

fn ask(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(get(path));
    wire
}

#[test]
fn a_thread_that_sleeps_for_ever_costs_nobody_else_a_request() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    server.wait_serving(1);
    let old = server.wait_workers(1);
    let mut kept: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    for wire in &mut kept {
        assert_eq!(wire.get("/quick").text(), "quick");
    }
    // On a connection that has a place among those that wait.
    let mut sleeping = ask(&server, "/quick");
    assert_eq!(sleeping.read_reply().text(), "quick");
    sleeping.send(get("/sleeps"));
    server.log().expect("WORKER TIMEOUT");
    // By the old worker, which is asked for its stacks, or by the new one.
    let mut held = ask(&server, "/held");
    gate.expect(server.deadline());
    server
        .log()
        .expect("is hung: GET /sleeps HTTP/1.1 from 127.0.0.1");
    for wire in &mut kept {
        assert_eq!(wire.get("/quick").text(), "quick");
    }
    gate.open();
    assert_eq!(held.read_reply().text(), "held");
    server.wait_gone(old[0]);
    assert!(sleeping.try_read_reply(false).is_err());
    server.wait_serving(1);
    assert_ne!(server.wait_workers(1), old);
    server.stop();
}

#[test]
fn a_request_that_waits_for_its_client_is_neither_blamed_nor_ended() {
    let gate = Gate::new();
    let server = builder(&gate).args(["--request-buffer", "0"]).start();
    server.wait_serving(1);
    let old = server.wait_workers(1)[0];
    let mut waiting = server.connect();
    waiting.send("POST /uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(gate.expect(server.deadline()), old);
    gate.open();
    let mut sleeping = ask(&server, "/sleeps");
    server.log().expect("is hung: GET /sleeps HTTP/1.1 from");
    // The worker has got its ABRT when the other serves.
    server.wait_serving(1);
    waiting.send("hello");
    assert_eq!(waiting.read_reply().text(), old.to_string());
    server.wait_gone(old);
    assert!(sleeping.try_read_reply(false).is_err());
    let ended = "exited, though the request that timed out has not ended.";
    server.log().expect(ended);
    server.stop();
}

#[test]
fn a_thread_that_hangs_after_its_response_is_found() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    server.wait_serving(1);
    let old = server.wait_workers(1)[0];
    assert_eq!(server.get("/hangs_later").text(), "hangs_later");
    server
        .log()
        .expect("is hung: no request in hand, in thread ");
    server.wait_gone(old);
    server.wait_serving(1);
    assert_eq!(server.get("/quick").text(), "quick");
    server.stop();
}

#[test]
fn a_worker_of_which_all_threads_hang_leaves_as_others_do() {
    let gate = Gate::new();
    let server = builder(&gate)
        .args(["--threads", "2", "-c", "hooks.py"])
        .file(
            "hung_threads.py",
            include_str!("../../apps/hung_threads.py"),
        )
        .file("gate.py", include_str!("../../apps/gate.py"))
        .file(
            "hooks.py",
            "def worker_abort(worker): worker.log.info('hook of %s', worker.pid)",
        )
        .start();
    server.wait_serving(1);
    let old = server.wait_workers(1)[0];
    let mut kept = server.connect();
    assert_eq!(kept.get("/quick").text(), "quick");
    let mut sleeping: Vec<Wire> = (0..2).map(|_| ask(&server, "/sleeps")).collect();
    server.log().expect(&format!("hook of {old}"));
    server.wait_gone(old);
    for wire in &mut sleeping {
        assert!(wire.try_read_reply(false).is_err());
    }
    // Handed on to the worker in its place.
    assert_eq!(kept.get("/quick").text(), "quick");
    server.stop();
}

#[test]
fn a_worker_whose_thread_came_free_may_serve_on() {
    let gate = Gate::new();
    let server = builder(&gate).args(["--survive-timeout"]).start();
    server.wait_serving(1);
    let old = server.wait_workers(1);
    let id = server.serving_ids();
    for _ in 0..2 {
        let mut looping = ask(&server, "/loops");
        assert_eq!(looping.read_reply().status, 500);
        server.log().expect("made progress and keeps running.");
        // Its replacement is one too many.
        wait_until(server.deadline(), "one worker is left", || {
            server.workers().len() == 1
        });
        server.wait_serving(1);
    }
    // The one that took its place has left.
    assert_eq!((server.workers(), server.serving_ids()), (old, id));
    assert_eq!(server.get("/quick").text(), "quick");
    // One that sleeps is not freed.
    let mut sleeping = ask(&server, "/sleeps");
    let before = server.wait_workers(1)[0];
    server.log().expect("is hung: GET /sleeps");
    server.wait_gone(before);
    assert!(sleeping.try_read_reply(false).is_err());
    server.wait_serving(1);
    server.stop();
}

#[test]
fn status_and_stacks_tell_of_each_thread() {
    let gate = Gate::new();
    let server = builder(&gate).args(["--timeout", "0"]).start();
    server.wait_serving(1);
    let mut held: Vec<Wire> = (0..2).map(|_| ask(&server, "/held")).collect();
    for _ in &held {
        gate.expect(server.deadline());
    }
    let status = server.status();
    let threads = status["workers"][0]["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 4);
    let busy = threads
        .iter()
        .filter_map(|thread| thread["request"].as_str());
    let busy: Vec<&str> = busy.collect();
    assert_eq!(busy.len(), 2, "{status}");
    assert!(busy[0].starts_with("GET /held HTTP/1.1 from 127.0.0.1, for "));
    let text = server.ctl(&["status"]).done().to_owned();
    assert!(text.contains("2 of 4 threads busy"), "{text}");
    assert!(text.contains("\nWORKER  THREAD"), "{text}");
    let worker = server.wait_workers(1)[0].to_string();
    let stacks = server.ctl(&["stack", &worker]).done().to_owned();
    let named = stacks.lines().filter(|line| line.contains("thread "));
    let named = named.filter(|line| line.contains("GET /held HTTP/1.1"));
    assert_eq!(named.count(), 2, "{stacks}");
    for _ in &held {
        gate.open();
    }
    for wire in &mut held {
        assert_eq!(wire.read_reply().text(), "held");
    }
    // Which is counted a moment after the client has it.
    wait_until(server.deadline(), "both are counted", || {
        server.status()["counts"]["requests"] == 2
    });
    server.stop();
}
