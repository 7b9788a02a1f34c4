//! Workers that are replaced after a number of requests, at a size, at an age.

use crate::support::{Connections, Load, Server, wait_until};

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
fn workers_that_grow_or_age_are_replaced() {
    let app = "
import os
kept = []
def app(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        kept.append(os.urandom(1) * (8 << 20))
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let server = Server::app("m:app")
        .args(["--max-worker-memory", "60MiB"])
        .file("m.py", app)
        .start();
    let before = server.wait_workers(1)[0];
    assert_eq!(server.get("/").text(), before.to_string());
    // The size is checked once a second at most: requests are sent until it has been.
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
