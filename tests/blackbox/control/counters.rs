//! What workers count (`rcorn ctl --json status`): the sums over all workers, those that have ended
//! too.

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::support::{Server, wait_until};

/// What the clients of a server have seen so far.
#[derive(Debug, Default)]
struct Seen {
    requests: u64,
}

impl Seen {
    /// Sends requests, each on a connection of its own, and waits until all that were sent so far
    /// are counted: a worker counts a request a moment after its client has the reply.
    fn serve(&mut self, server: &Server, requests: u64) {
        for _ in 0..requests {
            assert_eq!(server.get("/hello").status, 200);
        }
        self.requests += requests;
        self.expect(server);
    }

    fn expect(&self, server: &Server) {
        wait_until(server.deadline(), "all requests are counted", || {
            count(server, "requests") >= self.requests
        });
        for name in ["requests", "responses_2xx", "accepted_connections"] {
            assert_eq!(count(server, name), self.requests, "{name}");
        }
        // "OK\n" each.
        assert_eq!(count(server, "sent_body_bytes"), 3 * self.requests);
    }
}

fn count(server: &Server, name: &str) -> u64 {
    server.status()["counts"][name].as_u64().unwrap()
}

#[test]
fn counts_outlive_workers_reloads_and_upgrades() {
    let server = Server::app("cases:app")
        .args(["-w", "3", "--max-requests", "40"])
        .args(["--upgrade", "in-place", "--reload-watch", "0.1"])
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(3);
    let mut seen = Seen::default();
    seen.serve(&server, 20);
    // Killed: nobody had a request in hand. All requests until then are fewer than `max_requests`,
    // so that no worker leaves of itself, whoever gets how many.
    for victim in server.wait_workers(3) {
        kill(victim, Signal::SIGKILL).unwrap();
        server.wait_gone(victim);
        seen.serve(&server, 5);
    }
    server.wait_serving(3);
    seen.expect(&server);
    // Replaced, some of them more than once.
    seen.serve(&server, 160);
    server.log().expect("Autorestarting worker");
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    seen.serve(&server, 20);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 3 serves.");
    seen.serve(&server, 20);
    let status = server.status();
    let of_workers: u64 = status["workers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|worker| worker["counts"]["requests"].as_u64())
        .sum();
    assert!(of_workers < seen.requests, "most of them have ended");
    server.stop();
}

#[test]
fn each_end_of_a_request_has_a_count() {
    let server = Server::app("m:app")
        .file(
            "m.py",
            "
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/reads':
        environ['wsgi.input'].read()
    if path == '/raises':
        raise ValueError('on purpose')
    start_response({'/moved': '302 Found', '/missing': '404 Not Found'}.get(path, '200 OK'), [])
    return [b'body']
",
        )
        .allow("on purpose")
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    for (target, status) in [
        ("/", 200),
        ("/moved", 302),
        ("/missing", 404),
        ("/raises", 500),
    ] {
        assert_eq!(wire.get(target).status, status);
    }
    let mut wire = server.connect();
    wire.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(wire.read_reply().status, 400);
    // The app is called for this one, and reads a chunk that is none.
    let mut wire = server.connect();
    wire.send("POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(wire.read_reply().status, 400);
    // Whether the client came by https cannot be told.
    let mut wire = server.connect();
    wire.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-SSL: off\r\n\r\n",
    );
    assert_eq!(wire.read_reply().status, 400);
    wait_until(server.deadline(), "all are counted", || {
        count(&server, "refused_requests") == 3 && count(&server, "requests") == 6
    });
    let counts: Value = server.status()["counts"].clone();
    let expected = [
        ("requests", 6),
        ("responses_2xx", 1),
        ("responses_3xx", 1),
        ("responses_4xx", 4),
        ("responses_5xx", 1),
        ("app_errors", 1),
        ("refused_requests", 3),
        ("accepted_connections", 4),
        ("client_disconnects", 0),
    ];
    for (name, count) in expected {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
    assert!(counts["received_bytes"].as_u64().unwrap() > 100);
    server.stop();
}
