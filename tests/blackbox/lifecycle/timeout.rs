//! Requests that exceed `timeout`: the worker's end, its stack in the log, and what does not count.

use std::time::{Duration, Instant};

use crate::support::{Connections, Gate, Load, Server};

#[test]
fn a_request_that_takes_too_long_ends_its_worker() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "2", "-t", "1"])
        .gate(&gate)
        .allow("WORKER TIMEOUT")
        .allow("Worker (pid")
        .allow("Request lost when worker")
        .allow("is hung")
        .allow("Error handling request GET /held")
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

/// The scoreboard is checked once each timeout: a worker that is busy at two checks is busy with
/// two requests.
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

/// C code that holds the GIL and never comes back.
const DEADLOCK: &str = "
import ctypes
libc = ctypes.PyDLL(None)
mutex = ctypes.create_string_buffer(64)
def deep():
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
def app(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        deep()
    start_response('200 OK', [])
    return [b'old']
";

#[test]
fn a_deadlock_in_c_leaves_a_stack_and_its_request_in_the_log() {
    let folder = tempfile::TempDir::new().unwrap();
    let access = folder.path().join("access");
    let server = Server::app("m:app")
        // With several, it is killed after `graceful_timeout`.
        .args(["-w", "2", "-t", "2", "--threads", "1"])
        .args(["--access-logfile", access.to_str().unwrap()])
        .file("m.py", DEADLOCK)
        .allow("WORKER TIMEOUT")
        .allow("is hung")
        .allow("Request lost when worker")
        .allow("was killed because")
        .start();
    server.wait_workers(2);
    let mut wire = server.connect();
    wire.send("GET /hang?who=me HTTP/1.1\r\nHost: x\r\n\r\n");
    server.log().expect("WORKER TIMEOUT (pid:");
    let line = server.log().expect("is hung: ");
    // "for 2." seconds: the arbiter acted at the deadline, and not at some later tick.
    assert!(
        line.contains("GET /hang?who=me HTTP/1.1 from 127.0.0.1, for 2.")
            && line.contains("state S"),
        "{line}"
    );
    server.log().expect("in deep");
    server.log().expect("Request lost when worker (pid:");
    server
        .log()
        .expect("was killed because its request took longer than timeout.");
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
