//! What `/metrics` costs the arbiter, whose time is also that of supervision.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

use crate::support::{Deadline, Gate, Place, Server, Wire, get, wait_until};

const WORKERS: usize = 64;
const THREADS: usize = 4;
const SCRAPES_EACH: u32 = 8;
const ROUNDS: usize = 3;
/// What was made for one scrape is answered again for 100 ms.
const FRESH: Duration = Duration::from_millis(101);

/// The most CPU time of a scrape. A release takes 2.5 ms, and 2.9 ms with busy threads; a debug
/// build 5 ms and 17 ms, on a busy machine.
const MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 5 });

/// One wake-up for the time limits of the workers.
const NOTHING: Duration = Duration::from_millis(1);

/// CPU time of a process with one thread (the first number of `/proc/PID/schedstat`).
fn cpu_time(pid: Pid) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let number = text.split_whitespace().next().unwrap();
    Duration::from_nanos(number.parse().unwrap())
}

/// Lets time pass in which this test does nothing.
fn pause(time: Duration) {
    let until = Deadline::after(time);
    assert_eq!(nix::poll::poll(&mut [], until.poll_timeout()), Ok(0));
}

fn scrape(place: &Place) -> String {
    let mut wire = Wire::connect(place);
    wire.send(get("/metrics"));
    let text = wire.read_reply().text();
    wire.expect_eof();
    text
}

/// The CPU time of one scrape: that of the quietest round, since other processes share the caches.
fn cost(server: &Server, place: &Place) -> Duration {
    let round = |_round| {
        let before = cpu_time(server.pid());
        for _ in 0..SCRAPES_EACH {
            pause(FRESH);
            scrape(place);
        }
        cpu_time(server.pid()).saturating_sub(before) / SCRAPES_EACH
    };
    (0..ROUNDS).map(round).min().unwrap()
}

#[test]
fn a_scrape_of_many_workers_costs_little_and_no_scrape_nothing() {
    let gate = Gate::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status");
    let address = format!("unix:{}", path.display());
    let place = Place::Unix(path);
    let server = Server::app("hung_threads:app")
        .args(["-w", &WORKERS.to_string()])
        .args(["--threads", &THREADS.to_string(), "--timeout", "600"])
        .args(["--status-bind".to_owned(), address])
        .patience(Duration::from_mins(2))
        .gate(&gate)
        .start();
    server.wait_serving(WORKERS);
    let idle = cost(&server, &place);
    // Each thread has a request in hand.
    let mut held: Vec<Wire> = (0..WORKERS * THREADS).map(|_| server.connect()).collect();
    for wire in &mut held {
        wire.send(get("/held"));
    }
    for _ in &held {
        gate.expect(server.deadline());
    }
    let in_hand = format!("\nrcorn_requests_in_progress {}\n", WORKERS * THREADS);
    wait_until(server.deadline(), "all threads are busy", || {
        scrape(&place).contains(&in_hand)
    });
    let busy = cost(&server, &place);
    eprintln!("a scrape takes {idle:?} of CPU time, with busy threads {busy:?}");
    assert!(idle < MOST && busy < MOST, "{idle:?}, {busy:?}");
    for _ in &held {
        gate.open();
    }
    for wire in &mut held {
        assert_eq!(wire.read_reply().status, 200);
    }
    let before = cpu_time(server.pid());
    pause(Duration::from_secs(1));
    let used = cpu_time(server.pid()).saturating_sub(before);
    assert!(used < NOTHING, "nobody asked, and it took {used:?}");
    server.stop();
}
