//! Slow and hostile clients of the status address: supervision is as quick as without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::{ask, status_place};
use crate::support::{Place, Server, Wire, wait_until};

const SLOW: usize = 150;
const HOSTILE: usize = 50;

/// How many workers are killed.
const KILLS: usize = 5;
/// What the clients' own use of the CPUs may add to a time.
const SLACK: Duration = Duration::from_millis(400);

/// How quick supervision is.
#[derive(Debug)]
struct Times {
    /// From the death of a worker until its successor serves: the median.
    replacement: Duration,
    /// From TERM until the server's end.
    stop: Duration,
}

impl Times {
    /// Measures a server that serves, and stops it.
    fn of(server: Server) -> Self {
        let mut replacements: Vec<Duration> = (0..KILLS)
            .map(|_kill| time_of_replacement(&server))
            .collect();
        replacements.sort();
        server.signal(Signal::SIGTERM);
        let begun = Instant::now();
        let ended = server.exit();
        let stop = begun.elapsed();
        assert_eq!(ended.code(), Some(0));
        Self {
            replacement: replacements[KILLS / 2],
            stop,
        }
    }
}

/// From the death of a worker until its successor serves.
fn time_of_replacement(server: &Server) -> Duration {
    let victim = server.wait_workers(2)[0];
    let before = server.serving_ids();
    let begun = Instant::now();
    kill(victim, Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "it is replaced", || {
        let now = server.serving_ids();
        now.len() == 2 && now != before
    });
    begun.elapsed()
}

/// Sends what is no request, again and again, and does not read.
fn harass(place: &Place, number: usize, end: &AtomicBool) {
    let big = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    let long = vec![b'x'; 20_000];
    let kinds: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        big.as_bytes(),
        b"GET /status.json HTTP/1.1\r\nHost: a\r\n\r\n",
        &long,
    ];
    while !end.load(Ordering::Relaxed) {
        if let Ok(mut wire) = Wire::try_connect(place) {
            wire.try_send(kinds[number % kinds.len()]).ok();
        }
    }
}

fn server() -> Server {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--status-bind", "127.0.0.1:0"])
        .args(["--graceful-timeout", "20"])
        .allow("was sent SIGKILL")
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(2);
    server
}

#[test]
fn two_hundred_clients_do_not_slow_supervision_down() {
    let alone = Times::of(server());
    let server = server();
    let place = status_place(&server);
    let slow: Vec<Wire> = (0..SLOW)
        .map(|number| {
            let mut wire = Wire::connect(&place);
            // Half a request, or nothing at all.
            if number % 2 == 0 {
                wire.send("GET /metrics HTT");
            }
            wire
        })
        .collect();
    let end = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = (0..HOSTILE)
        .map(|number| {
            let (place, end) = (place.clone(), Arc::clone(&end));
            thread::spawn(move || harass(&place, number, &end))
        })
        .collect();
    // A scraper is served all the same, sooner or later.
    wait_until(server.deadline(), "a scraper is served", || {
        Wire::try_connect(&place).is_ok_and(|mut wire| {
            wire.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            wire.try_read_reply(false)
                .is_ok_and(|reply| reply.status == 200)
        })
    });
    let besieged = Times::of(server);
    end.store(true, Ordering::Relaxed);
    drop(slow);
    for one in hostile {
        one.join().unwrap();
    }
    eprintln!("{besieged:?}, without clients {alone:?}");
    for (besieged, alone) in [
        (besieged.replacement, alone.replacement),
        (besieged.stop, alone.stop),
    ] {
        let limit = alone.saturating_mul(3) + SLACK;
        assert!(besieged < limit, "{besieged:?} instead of {alone:?}");
    }
}

#[test]
fn a_client_that_sends_its_request_byte_by_byte_is_served_or_dropped_in_time() {
    let server = Server::app("cases:app")
        .args(["--status-bind", "127.0.0.1:0"])
        .start();
    server.wait_serving(1);
    let place = status_place(&server);
    let mut wire = Wire::connect(&place);
    for piece in ["GET /hea", "lthz HTTP/1.1\r\nHo", "st: a\r\n", "\r\n"] {
        wire.send(piece);
    }
    assert_eq!(wire.read_reply().text(), "ok\n");
    let mut silent = Wire::connect(&place);
    silent.expect_eof();
    assert_eq!(ask(&place, "/healthz").status, 200);
    server.stop();
}
