//! Workers with threads: several requests at a time in one process.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Builder, Gate, Server, Wire, get, supported_pythons};

fn builder(gate: &Gate) -> Builder {
    Server::app("threads:app")
        .args(["-w", "1", "--threads", "4"])
        .gate(gate)
}

fn open_all(gate: &Gate, wires: &mut [Wire]) {
    for _ in &*wires {
        gate.open();
    }
    for wire in wires {
        assert_eq!(wire.read_reply().text(), "held");
    }
}

#[test]
fn one_process_serves_as_many_requests_at_a_time_as_it_has_threads() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    for _ in 0..3 {
        // Each is let in while those before it are in the app.
        let mut wires: Vec<Wire> = (0..4).map(|_| gate.hold(&server)).collect();
        let mut waiting = server.connect();
        waiting.send(get("/?late"));
        open_all(&gate, &mut wires);
        assert_eq!(waiting.read_reply().text(), "late");
    }
    server.stop();
}

#[test]
fn no_client_waits_while_a_thread_is_free() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    // Kept connections, of which a thread has had each before.
    let mut others: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
    for (turn, wire) in others.iter_mut().enumerate() {
        assert_eq!(wire.get(&format!("/?{turn}")).text(), turn.to_string());
    }
    let mut wires: Vec<Wire> = (0..3).map(|_| gate.hold(&server)).collect();
    for round in 0..20 {
        for wire in &mut others {
            wire.send(get(&format!("/?{round}")));
        }
        for wire in &mut others {
            assert_eq!(wire.read_reply().text(), round.to_string());
        }
    }
    open_all(&gate, &mut wires);
    server.stop();
}

#[test]
fn what_a_client_sends_during_its_request_is_served_after_it() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    let mut early = server.connect();
    assert_eq!(early.get("/?1").text(), "1");
    early.send(get("/held"));
    gate.expect(server.deadline());
    early.send(get("/?2"));
    // Its bytes are there while other threads serve, and are nobody's event.
    let mut other = server.connect();
    for turn in 0..100 {
        assert_eq!(other.get(&format!("/?{turn}")).text(), turn.to_string());
    }
    gate.open();
    assert_eq!(early.read_reply().text(), "held");
    assert_eq!(early.read_reply().text(), "2");
    assert_eq!(early.get("/?3").text(), "3");
    server.stop();
}

#[test]
fn threads_have_names_and_locals_and_each_request_a_context() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut look = |wire: &mut Wire| {
        let seen: Value = serde_json::from_str(&wire.get("/info").text()).unwrap();
        assert_eq!(seen["context"], "empty");
        assert_eq!(seen["multithread"], true);
        assert_eq!(
            (&seen["is_main"], &seen["starts_daemons"]),
            (&false.into(), &false.into())
        );
        let name = seen["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("ThreadPoolExecutor-0_"), "{name}");
        let count = counts.entry(name).or_default();
        *count += 1;
        assert_eq!(seen["count"], *count, "a thread has lost its locals");
    };
    let mut wire = server.connect();
    for _ in 0..10 {
        look(&mut wire);
    }
    // The threads that were used so far are busy: others take their turn.
    for _ in 0..3 {
        let mut busy = vec![gate.hold(&server)];
        look(&mut wire);
        open_all(&gate, &mut busy);
    }
    let mut parts = server.connect();
    parts.send(get("/held_parts"));
    gate.expect(server.deadline());
    look(&mut wire);
    gate.open();
    assert_eq!(parts.read_reply().text(), "before own");
    server.stop();
}

#[test]
fn a_stop_waits_for_the_requests_of_all_threads() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    let mut wires: Vec<Wire> = (0..4).map(|_| gate.hold(&server)).collect();
    server.signal(Signal::SIGTERM);
    server.log().expect("Handling signal: term");
    for _ in &wires {
        gate.open();
    }
    for wire in &mut wires {
        let reply = wire.read_reply();
        assert_eq!(reply.text(), "held");
        wire.expect_eof();
    }
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_quick_stop_drops_them() {
    let gate = Gate::new();
    let server = builder(&gate).allow("Dropped request").start();
    let mut wires: Vec<Wire> = (0..3).map(|_| gate.hold(&server)).collect();
    server.signal(Signal::SIGINT);
    server.log().expect_count("Dropped request GET /held", 3);
    assert_eq!(server.exit().code(), Some(0));
    for wire in &mut wires {
        assert!(wire.try_read_reply(false).is_err());
    }
}

#[test]
fn a_reload_loses_no_request_of_any_thread() {
    let gate = Gate::new();
    let server = builder(&gate).start();
    let mut wires: Vec<Wire> = (0..4).map(|_| gate.hold(&server)).collect();
    let old = server.wait_workers(1);
    server.signal(Signal::SIGHUP);
    // A new worker serves while the old one has four requests in hand.
    let mut other = server.connect();
    assert_eq!(other.get("/?new").text(), "new");
    open_all(&gate, &mut wires);
    server.wait_serving(1);
    assert_ne!(server.wait_workers(1), old);
    server.stop();
}

#[test]
fn a_thread_that_loops_is_ended_and_the_others_finish() {
    let gate = Gate::new();
    let server = [
        "WORKER TIMEOUT",
        "is hung",
        "Worker (pid",
        "Error handling request",
        "SystemExit",
        "Traceback",
    ]
    .into_iter()
    .fold(builder(&gate).args(["--timeout", "1"]), Builder::allow)
    .start();
    let mut looping = server.connect();
    looping.send(get("/loops"));
    assert_eq!(looping.read_reply().status, 500);
    server.log().expect("Error handling request GET /loops");
    server.log().expect("Worker exiting (pid: ");
    server.wait_serving(1);
    assert_eq!(server.get("/?new").text(), "new");
    server.stop();
}

#[test]
fn a_thread_that_panics_ends_the_worker_after_the_requests_of_the_others() {
    let gate = Gate::new();
    let server = [
        "Traceback",
        "Error handling request",
        "it panicked",
        "exited with code 1",
    ]
    .into_iter()
    .fold(builder(&gate), Builder::allow)
    .start();
    let old = server.wait_workers(1)[0];
    assert_eq!(server.get("/fails").status, 500);
    let mut wires: Vec<Wire> = (0..3).map(|_| gate.hold(&server)).collect();
    let mut lost = server.connect();
    lost.send(get("/panics"));
    server
        .log()
        .expect("cannot go on: it panicked in request GET /panics HTTP/1.1");
    let mut next = server.connect();
    next.send(get("/?next"));
    open_all(&gate, &mut wires);
    server.wait_gone(old);
    assert!(lost.try_read_reply(false).is_err());
    assert_eq!(next.read_reply().text(), "next");
    server.stop();
}

#[test]
fn the_switch_interval_is_how_long_a_request_waits_beside_one_that_computes() {
    let gate = Gate::new();
    for (settings, interval) in [(&[][..], 0.005), (&["--switch-interval", "1"], 1.0)] {
        let server = builder(&gate).args(settings).start();
        let told = server.get("/interval").text();
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["switch_interval"], interval);
        let waited = || {
            let counts = server.status()["counts"].clone();
            counts["gil_wait_microseconds"].as_f64().unwrap() / 1e6
        };
        // The next thread wants the GIL as soon as the app runs.
        let (before, begun) = (waited(), Instant::now());
        let mut computing = server.connect();
        computing.send(get("/computes"));
        computing.expect_text("computes ");
        assert_eq!(server.get("/ends").text(), "ended");
        // It gets the GIL no earlier, and without one it need not wait.
        if told["has_gil"] == true {
            assert!(begun.elapsed().as_secs_f64() >= interval);
            assert!(waited() - before >= interval);
        }
        server.stop();
    }
}

#[test]
fn the_main_thread_is_none_of_those_whoever_imports_threading_first() {
    let app = "
def app(environ, start_response):
    import threading
    start_response('200 OK', [])
    main, this = threading.main_thread(), threading.current_thread()
    return [f'{this is main} {main.name} {type(main).__name__}'.encode()]
";
    for (python, version) in
        supported_pythons("the_main_thread_is_none_of_those_whoever_imports_threading_first")
    {
        let server = Server::app("m:app")
            .file("m.py", app)
            .python(&python)
            .args(["--threads", "2"])
            .start();
        assert_eq!(
            server.get("/").text(),
            "False MainThread _MainThread",
            "{version:?}"
        );
        server.stop();
    }
}
