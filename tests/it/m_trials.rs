//! What hurts people with gunicorn (each row was measured against it), as trials of rcorn.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::support::{Connections, Gate, Load, Server, wait_until};

const OLD: &str =
    "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";

#[test]
fn three_reloads_under_load_do_not_stall_anybody() {
    let app = format!("import time\ntime.sleep(0.3)\n{OLD}");
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
fn a_worker_killed_while_the_code_is_broken_and_not_preloaded_is_retried() {
    let server = Server::app("m:app")
        .args(["-w", "4", "--no-preload"])
        .file("m.py", OLD)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("broken on purpose")
        .allow("end too soon")
        .allow("was sent SIGKILL")
        .allow("exited with code 3")
        .start();
    server.wait_serving(4);
    let before = server.wait_workers(4);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    kill(before[0], Signal::SIGKILL).unwrap();
    // Without preloading each new worker imports what is on the disk: back-off, while three serve.
    server
        .log()
        .expect_count("RuntimeError: broken on purpose", 3);
    server
        .log()
        .expect("Workers end too soon after their start");
    assert_eq!(server.get("/").text(), "old");
    for survivor in &before[1..] {
        assert!(server.workers().contains(survivor));
    }
    server.write("m.py", OLD);
    server.wait_serving(4);
    server.stop();
}

#[test]
fn two_boot_failures_at_once_have_one_exit_code() {
    let server = Server::app("m:app")
        .args(["-w", "4", "--no-preload"])
        .file("m.py", "raise RuntimeError('broken on purpose')\n")
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("broken on purpose")
        .allow("Reason: Worker failed to boot")
        .allow("Shutting down")
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
}

#[test]
fn an_app_that_exits_at_its_import_is_no_respawn_storm() {
    let module =
        "import os, sys\nopen('count', 'a').write('x')\nif os.path.exists('bad'): sys.exit(7)\n";
    let server = Server::app("m:app")
        .args(["-w", "2", "--no-preload"])
        .file("m.py", format!("{module}{OLD}"))
        .allow("was sent SIGKILL")
        .allow("Exception in worker process")
        .allow("SystemExit")
        .allow("Traceback")
        .allow("end too soon")
        .start();
    server.wait_serving(2);
    let before = server.wait_workers(2);
    server.write("bad", "");
    kill(before[0], Signal::SIGKILL).unwrap();
    server
        .log()
        .expect_count("Workers end too soon after their start", 3);
    let count = || {
        std::fs::read_to_string(server.directory().join("count"))
            .unwrap()
            .len()
    };
    // 0.1, 0.2, 0.4 s and so on: a handful of imports, while the other worker serves.
    assert!(count() < 10, "{} imports", count());
    assert_eq!(server.get("/").text(), "old");
    server.stop();
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
fn idle_connections_do_not_keep_workers_from_others() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    server.wait_serving(2);
    let idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let begun = Instant::now();
    assert_eq!(server.get("/hello").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(idle);
    server.stop();
}

/// C code that holds the GIL and never comes back.
const DEADLOCK: &str = "import ctypes\nlibc = ctypes.PyDLL(None)\nmutex = ctypes.create_string_buffer(64)\ndef deep():\n    libc.pthread_mutex_lock(mutex)\n    libc.pthread_mutex_lock(mutex)\ndef app(environ, start_response):\n    if environ['PATH_INFO'] == '/hang':\n        deep()\n    start_response('200 OK', [])\n    return [b'old']\n";

#[test]
fn a_deadlock_in_c_leaves_a_stack_and_its_request_in_the_log() {
    let folder = tempfile::TempDir::new().unwrap();
    let access = folder.path().join("access");
    let server = Server::app("m:app")
        .args(["-w", "2", "-t", "2"])
        .args(["--access-logfile", access.to_str().unwrap()])
        .file("m.py", DEADLOCK)
        .allow("WORKER TIMEOUT")
        .allow("does not get on")
        .allow("In hand when worker")
        .allow("was killed because")
        .start();
    server.wait_workers(2);
    let mut wire = server.connect();
    wire.send("GET /hang?who=me HTTP/1.1\r\nHost: x\r\n\r\n");
    let begun = Instant::now();
    server.log().expect("WORKER TIMEOUT (pid:");
    let line = server.log().expect("does not get on: ");
    let took = begun.elapsed();
    assert!(
        line.contains("GET /hang?who=me HTTP/1.1 from 127.0.0.1, for 2.")
            && line.contains("state S"),
        "{line}"
    );
    server.log().expect("in deep");
    // 0.2 s after the timeout on a quiet machine (measured apart).
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.log().expect("In hand when worker (pid:");
    server
        .log()
        .expect("was killed because it did not get on within its timeout.");
    assert_eq!(server.get("/").text(), "old");
    server.stop();
    let access = std::fs::read_to_string(access).unwrap();
    let killed: Vec<&str> = access
        .lines()
        .filter(|line| line.contains("\"GET /hang?who=me HTTP/1.1\" 500 "))
        .collect();
    assert_eq!(killed.len(), 1, "{access}");
}

#[test]
fn a_hanging_import_says_where_it_hangs() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", "import gate\ngate.hold()\n")
        .gate(&gate)
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        )
        .args(["--boot-timeout", "5"])
        .allow("emplate")
        .allow("boot")
        .allow("Reason")
        .allow("Shutting down")
        .start();
    gate.expect(server.deadline());
    server.log().expect("was here:");
    server.log().expect("in hold");
    assert_eq!(server.exit().code(), Some(3));
}

#[test]
fn an_arbiter_killed_during_a_request_frees_the_port_for_the_next() {
    let gate = Gate::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let start = |gate: &Gate| {
        Server::app("cases:app")
            .unbound()
            .args(["--bind", &address.to_string()])
            .gate(gate)
            .start()
    };
    let first = start(&gate);
    let worker = first.wait_workers(1)[0];
    let place = crate::support::Place::Tcp(address);
    let mut wire = crate::support::Wire::connect(&place);
    wire.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(first.deadline());
    let end = crate::support::Pidfd::open(worker).unwrap();
    kill(first.pid(), Signal::SIGKILL).unwrap();
    // The request in hand is not finished; the port is free for the next arbiter at once all the same.
    wait_until(first.deadline(), "the port is free", || {
        std::net::TcpListener::bind(address).is_ok()
    });
    let second = start(&gate);
    second.wait_workers(1);
    second.log().expect("Listening at: http://");
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    assert!(end.wait(second.deadline()));
    assert_eq!(
        crate::support::Wire::connect(&place).get("/hello").status,
        200
    );
    assert_eq!(second.log().count("Connection in use"), 0);
    second.stop();
    first.kill();
}

#[test]
fn a_pid_file_of_a_living_process_refuses_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("pid");
    std::fs::write(&path, format!("{}\n", std::process::id())).unwrap();
    let server = Server::app("cases:app")
        .args(["--pid", path.to_str().unwrap()])
        .allow("Already running")
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(ended.text().contains("Already running on PID"));
}

#[test]
fn a_process_that_the_app_forks_never_serves() {
    let app = "import os, sys\ndef app(environ, start_response):\n    path = environ['PATH_INFO']\n    if path == '/exits' and os.fork() == 0:\n        sys.exit(3)\n    if path == '/raises' and os.fork() == 0:\n        raise RuntimeError('in the child')\n    if path == '/returns' and os.fork() == 0:\n        start_response('200 OK', [])\n        return [b'from the child']\n    if path != '/':\n        assert os.wait()[1] >= 0\n    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";
    let server = Server::app("m:app")
        .file("m.py", app)
        .allow("Exception in a process that the app forked")
        .allow("Traceback")
        .allow("RuntimeError")
        .start();
    let worker = server.wait_workers(1)[0].to_string();
    let mut wire = server.connect();
    for target in ["/exits", "/raises", "/returns", "/"] {
        assert_eq!(wire.get(target).text(), worker, "{target}");
    }
    server.log().expect("RuntimeError: in the child");
    server.stop();
}

#[test]
fn a_stopped_idle_worker_is_replaced() {
    let server = Server::app("cases:app")
        .args(["-t", "1"])
        .allow("WORKER TIMEOUT")
        .allow("does not get on")
        .allow("was killed because")
        .start();
    server.wait_serving(1);
    let worker = server.workers()[0];
    kill(worker, Signal::SIGSTOP).unwrap();
    assert_eq!(server.get("/hello").status, 200);
    server.wait_gone(worker);
    server.stop();
}

#[test]
fn time_spent_on_a_slow_client_does_not_count() {
    // Without a buffer it is the app that waits for the client.
    let server = Server::app("cases:app")
        .args(["-t", "1", "--request-buffer", "0"])
        .start();
    let mut wire = server.connect();
    wire.send("POST /read_all HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        // The client's own pace: this is the thing tested, not a wait for something to happen.
        assert!(!wire.hears_within(Duration::from_millis(300)));
        wire.send("1\r\na\r\n");
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    server.stop();
}

#[test]
fn workers_that_grow_or_age_are_replaced() {
    let app = "import os\nkept = []\ndef app(environ, start_response):\n    if environ['PATH_INFO'] == '/grow':\n        kept.append(os.urandom(1) * (8 << 20))\n    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";
    let server = Server::app("m:app")
        .args(["--max-worker-memory", "60MiB"])
        .file("m.py", app)
        .start();
    let before = server.wait_workers(1)[0];
    assert_eq!(server.get("/").text(), before.to_string());
    // Looked at once a second at most: asked until it was.
    wait_until(server.deadline(), "the grown worker's wish", || {
        server.get("/grow");
        server
            .log()
            .count("Autorestarting worker after current request: it has")
            > 0
    });
    server.wait_gone(before);
    assert_ne!(server.get("/").text(), before.to_string());
    server.stop();

    let server = Server::app("cases:app")
        .args(["-w", "2", "--max-worker-age", "0.5"])
        .start();
    let before = server.wait_workers(2);
    let load = Load::start(server.place(), "/hello", 4, Connections::Kept);
    for worker in before {
        server.wait_gone(worker);
    }
    load.stop().assert_clean();
    server.wait_workers(2);
    server.stop();
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
    // Whoever answers this has passed the order on.
    server.ctl(&["status"]).done();
    gate.open();
    assert_eq!(busy.read_reply().status, 200);
    assert_eq!(server.exit().code(), Some(0));
    assert!(queued.try_read_reply(false).is_err());
}
