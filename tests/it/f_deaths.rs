//! Workers and templates that die, hang or retire; an arbiter that is killed.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::support::{Connections, Deadline, Gate, Load, Pidfd, Server, wait_until};

#[test]
fn a_killed_worker_is_replaced_at_once_while_others_serve() {
    let server = Server::app("cases:app")
        .args(["-w", "4"])
        .allow("was sent SIGKILL")
        .allow("In hand when worker")
        .allow("does not get on")
        .start();
    server.wait_serving(4);
    let workers = server.workers();
    let mut slowest = Duration::ZERO;
    for victim in workers.iter().take(3) {
        let begun = Instant::now();
        kill(*victim, Signal::SIGKILL).unwrap();
        wait_until(server.deadline(), "a replacement", || {
            let now = server.workers();
            now.len() == 4 && !now.contains(victim)
        });
        slowest = slowest.max(begun.elapsed());
        assert_eq!(server.get("/hello").status, 200);
    }
    // 20 ms on a quiet machine (measured apart); the bound here allows for a loaded one.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    server.log().expect_count("was sent SIGKILL!", 3);
    server.stop();
}

#[test]
fn a_killed_template_is_replaced_and_workers_serve_on() {
    let server = Server::app("cases:app")
        .args(["-w", "2"])
        .allow("emplate")
        .allow("was sent SIGKILL")
        .allow("Cannot fork")
        .start();
    server.wait_workers(2);
    let template = server.titled("rcorn: template")[0];
    kill(template, Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "a new template", || {
        server
            .titled("rcorn: template")
            .first()
            .is_some_and(|new| *new != template)
    });
    let workers = server.wait_workers(2);
    kill(workers[0], Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "a new worker", || {
        let now = server.workers();
        now.len() == 2 && !now.contains(&workers[0])
    });
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

#[test]
fn a_request_that_takes_too_long_ends_its_worker() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "2", "-t", "1"])
        .gate(&gate)
        .allow("WORKER TIMEOUT")
        .allow("Worker (pid")
        .allow("In hand when worker")
        .allow("does not get on")
        .start();
    let mut wire = server.connect();
    wire.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    let victim = gate.expect(server.deadline());
    let line = server.log().expect("WORKER TIMEOUT (pid:");
    assert!(
        line.contains(&format!("(pid:{victim})")) && line.contains("[CRITICAL]"),
        "{line}"
    );
    server.wait_gone(victim);
    server.wait_workers(2);
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

/// The scoreboard is looked at once each timeout: whoever is busy at two looks is busy with two requests.
#[test]
fn workers_that_are_always_busy_are_not_taken_for_hung() {
    let server = Server::app("parking:app")
        .args(["-w", "4", "-t", "2"])
        .start();
    server.wait_serving(4);
    let workers = server.workers();
    let load = Load::start(server.place(), "/slow", 8, Connections::Kept);
    // Three timeouts: four workers answer 40 requests a second.
    load.wait_for(250, server.deadline());
    load.stop().assert_clean();
    assert_eq!(server.workers(), workers);
    // A line about a timeout fails the test here.
    server.stop();
}

#[test]
fn max_requests_replaces_workers_without_a_lost_request() {
    let server = Server::app("cases:app")
        .args([
            "-w",
            "2",
            "--max-requests",
            "50",
            "--max-requests-jitter",
            "10",
        ])
        .start();
    let load = Load::start(server.place(), "/hello", 4, Connections::Kept);
    server
        .log()
        .expect_count("Autorestarting worker after current request.", 6);
    load.stop().assert_clean();
    server.wait_workers(2);
    server.stop();
}

#[test]
fn a_killed_arbiter_takes_its_processes_along_and_frees_the_port() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    let workers = server.wait_workers(2);
    let template = server.titled("rcorn: template")[0];
    let ends: Vec<Pidfd> = workers
        .iter()
        .chain([&template])
        .map(|pid| Pidfd::open(*pid).unwrap())
        .collect();
    kill(server.pid(), Signal::SIGKILL).unwrap();
    for end in &ends {
        assert!(
            end.wait(Deadline::after(Duration::from_secs(5))),
            "a process outlives its arbiter"
        );
    }
    server.kill();
}

#[test]
fn an_import_that_hangs_meets_its_boot_timeout() {
    let module = "import gate\ngate.hold()\n";
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", module)
        .gate(&gate)
        .args([
            "--boot-timeout",
            "5",
            "--pythonpath",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        ])
        .allow("emplate")
        .allow("boot")
        .allow("Reason")
        .allow("Shutting down")
        .start();
    gate.expect(server.deadline());
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
    assert!(
        ended.text().contains("Worker failed to boot."),
        "{}",
        ended.text()
    );
}

#[test]
fn an_app_that_starts_threads_is_not_preloaded() {
    let module = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nIMPORTED = __import__('os').getpid()\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'own' if IMPORTED == __import__('os').getpid() else b'shared']\n";
    let server = Server::app("m:app").file("m.py", module).start();
    server
        .log()
        .expect("Not preloading: the app's import left 1 thread,");
    assert_eq!(server.get("/").text(), "own");
    server.stop();
    let server = Server::app("m:app")
        .file("m.py", module)
        .args(["--preload"])
        .start();
    server
        .log()
        .expect("Preloading as ordered, although the app's import left 1 thread");
    assert_eq!(server.get("/").text(), "shared");
    server.stop();
}
