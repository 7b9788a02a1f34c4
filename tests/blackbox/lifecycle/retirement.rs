//! Workers that are replaced after a number of requests, at a size, at an age.

use std::collections::BTreeMap;

use crate::support::{Builder, Connections, Load, Server, Wire, wait_until};

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

/// What only one process at a time can have, and takes at import; or what makes the import fail.
const PORT: &str = "
import http.server, threading
server = http.server.HTTPServer(('127.0.0.1', int(os.environ['TEST_PORT'])), http.server.BaseHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
";
const LOCK: &str = "
import fcntl
lock = open('lock', 'w')
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
";
const PID_FILE: &str = "
import atexit
os.close(os.open('pid', os.O_CREAT | os.O_EXCL))
atexit.register(os.unlink, 'pid')
";
const BROKEN: &str = "
if os.path.exists('broken'):
    raise RuntimeError('broken')
";

/// An app that does this at import, and grows by 8 MiB for each request to `/grow`.
fn app_with(import: &str) -> Builder {
    let app = format!(
        "
import os
{import}
kept = []
def app(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        kept.append(os.urandom(1) * (8 << 20))
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"
    );
    // The import of each worker counts.
    Server::app("m:app")
        .args(["--no-preload"])
        .file("m.py", app)
        .allow("Exception in worker process")
}

/// A port that is free now.
fn free_port() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port().to_string()
}

const LEAVES: &str =
    "leaves before its replacement is ready: 3 could not start (retire_old_first).";

/// Sends requests until the worker that serves now, the only one, has been replaced. It must have
/// left first.
fn expect_old_first(server: &Server, target: &str) {
    let before = server.wait_workers(1)[0].to_string();
    wait_until(server.deadline(), "another worker", || {
        server.get(target).text() != before
    });
    server.log().expect("(3 so far)");
    server.log().expect(LEAVES);
}

#[test]
fn a_worker_whose_port_its_replacement_needs_leaves_first() {
    let server = app_with(PORT)
        .env("TEST_PORT", free_port())
        .args(["--max-requests", "5"])
        .start();
    server.wait_serving(1);
    expect_old_first(&server, "/");
    server.stop();
}

#[test]
fn a_worker_whose_lock_its_replacement_needs_leaves_first_when_it_is_old() {
    let server = app_with(LOCK).args(["--max-worker-age", "0.5"]).start();
    server.wait_serving(1);
    expect_old_first(&server, "/");
    server.stop();
}

#[test]
fn a_worker_whose_pid_file_its_replacement_needs_leaves_first_when_it_has_grown() {
    let server = app_with(PID_FILE)
        .args(["--max-worker-memory", "60MiB"])
        .start();
    server.wait_serving(1);
    expect_old_first(&server, "/grow");
    server.stop();
}

#[test]
fn of_several_workers_none_leaves_before_its_replacement() {
    let server = app_with(BROKEN)
        .args(["-w", "2", "--max-requests", "5"])
        .start();
    server.wait_serving(2);
    let before = server.wait_workers(2);
    server.write("broken", "");
    wait_until(server.deadline(), "a worker that is to be replaced", || {
        server.get("/");
        server.log().count("stays although it is to be replaced") > 0
    });
    server
        .log()
        .expect("its replacement could not start (4 so far).");
    assert!(before.iter().all(|pid| server.workers().contains(pid)));
    std::fs::remove_file(server.directory().join("broken")).unwrap();
    wait_until(server.deadline(), "the replacement", || {
        server.get("/").status == 200 && server.workers().iter().all(|pid| !before.contains(pid))
    });
    assert_eq!(server.log().count("leaves before its replacement"), 0);
    server.stop();
}

#[test]
fn a_replacement_that_fails_only_sometimes_is_ready_first() {
    let sometimes = "
count = int(open('count').read()) if os.path.exists('count') else 0
open('count', 'w').write(str(count + 1))
if count in (1, 2):
    raise RuntimeError('try again')
";
    let server = app_with(sometimes).args(["--max-requests", "5"]).start();
    server.wait_serving(1);
    let before = server.wait_workers(1)[0].to_string();
    wait_until(server.deadline(), "another worker", || {
        server.get("/").text() != before
    });
    server.log().expect("(2 so far)");
    assert_eq!(server.log().count("leaves before its replacement"), 0);
    server.stop();
}

#[test]
fn who_leaves_first_is_a_setting() {
    let server = app_with(LOCK)
        .args(["--max-requests", "5", "--retire-old-first", "always"])
        .start();
    server.wait_serving(1);
    let before = server.wait_workers(1)[0].to_string();
    wait_until(server.deadline(), "another worker", || {
        server.get("/").text() != before
    });
    assert_eq!(server.log().count("could not start"), 0);
    assert_eq!(server.log().count("Exception in worker process"), 0);
    server.stop();

    let server = app_with(LOCK)
        .args(["--max-requests", "5", "--retire-old-first", "never"])
        .start();
    server.wait_serving(1);
    let before = server.wait_workers(1)[0].to_string();
    for _ in 0..5 {
        assert_eq!(server.get("/").text(), before);
    }
    server.log().expect("(4 so far)");
    assert_eq!(server.get("/").text(), before);
    server.stop();
}

/// An app that writes down who serves, and whose import takes longer than the first one.
const COUNTED: &str = "
import os, time
if os.path.exists('imported'):
    time.sleep(float(os.environ['TEST_BOOT']))
open('imported', 'w').close()
def app(environ, start_response):
    environ['wsgi.errors'].write(f'served by {os.getpid()}\\n')
    if environ['PATH_INFO'] == '/waits':
        time.sleep(0.001)
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

/// How many requests each worker has begun, by its pid.
fn served_by(log: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (_, line) in log
        .match_indices("served by ")
        .map(|(at, word)| log.split_at(at + word.len()))
    {
        let pid = line.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        *counts.entry(pid).or_default() += 1;
    }
    counts
}

/// Sends requests on connections that are kept, one or several at a time, and expects no worker to
/// serve more than its number, and those that other threads have begun by then.
fn expect_exact(workers: usize, threads: usize, boot: &str, path: &str, most: usize) {
    const CONNECTIONS: usize = 24;
    let server = Server::app("m:app")
        .file("m.py", COUNTED)
        .env("TEST_BOOT", boot)
        .args([
            "-w",
            &workers.to_string(),
            "--threads",
            &threads.to_string(),
            "--no-preload",
        ])
        .args(["--max-requests", &most.to_string()])
        .start();
    server.wait_serving(workers);
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let at_once = |place: usize| 1 + place % 3;
    let rounds = if most == 1 { 1 } else { 6 };
    for _ in 0..rounds {
        for (place, wire) in wires.iter_mut().enumerate() {
            wire.send(request.repeat(at_once(place)));
        }
        for (place, wire) in wires.iter_mut().enumerate() {
            for _ in 0..at_once(place) {
                assert_eq!(wire.read_reply().text(), "ok");
            }
        }
    }
    let ended = server.stop();
    let counts = served_by(ended.text());
    let what = format!("{workers} workers, {threads} threads, {path}: {counts:?}");
    assert_eq!(
        counts.values().sum::<usize>(),
        CONNECTIONS * 2 * rounds,
        "{what}"
    );
    assert!(
        counts.values().all(|count| *count < most + threads),
        "{what}"
    );
    assert!(counts.len() > 2, "{what}");
}

#[test]
fn no_worker_serves_more_than_max_requests_but_for_what_its_threads_have_begun() {
    for threads in [1, 4] {
        expect_exact(1, threads, "0", "/", 40);
        expect_exact(2, threads, "0.2", "/waits", 40);
    }
    // Each request in a process of its own.
    expect_exact(2, 1, "0", "/", 1);
}

#[test]
fn a_worker_at_max_requests_serves_on_if_its_replacement_cannot_start() {
    let server = app_with(BROKEN)
        .args([
            "--threads",
            "2",
            "--max-requests",
            "4",
            "--retire-old-first",
            "never",
        ])
        .start();
    server.wait_serving(1);
    let pid = server.wait_workers(1)[0].to_string();
    server.write("broken", "");
    let mut wire = server.connect();
    // On one connection: nobody else takes it while the worker waits for its replacement.
    for _ in 0..20 {
        assert_eq!(wire.get("/").text(), pid);
    }
    server
        .log()
        .expect("its replacement could not start (1 so far).");
    std::fs::remove_file(server.directory().join("broken")).unwrap();
    wait_until(server.deadline(), "the replacement", || {
        server.get("/").text() != pid
    });
    let ended = server.stop();
    // It knew that, and did not wait for as long as it may.
    assert!(!ended.text().contains("serves more than max_requests"));
}
