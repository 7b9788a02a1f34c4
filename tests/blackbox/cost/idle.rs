//! What an idle server and idle connections cost.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

use crate::support::resources::{kib, private_kib};
use crate::support::{Deadline, Server, Wire, wait_until};

#[test]
fn an_idle_server_does_nothing_and_is_small() {
    let server = Server::app("cases:app").args(["-w", "4"]).start();
    let mut everyone = server.wait_workers(4);
    server.log().expect_count("Booting worker", 4);
    assert_eq!(server.get("/hello").status, 200);
    everyone.push(server.pid());
    let switches = || -> u64 {
        everyone
            .iter()
            .map(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary_ctxt_switches"))
                    .unwrap();
                line.split_whitespace()
                    .nth(1)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    };
    // Until the workers have settled in their waits after the boot.
    let mut before = switches();
    wait_until(server.deadline(), "quiet", || {
        let pause = Deadline::after(Duration::from_millis(300));
        let waited = nix::poll::poll(&mut [], pause.poll_timeout()).unwrap();
        let now = switches();
        waited == 0 && std::mem::replace(&mut before, now) == now
    });
    let quiet = Deadline::after(Duration::from_secs(2));
    let idle = nix::poll::poll(&mut [], quiet.poll_timeout()).unwrap();
    // The arbiter looks once a `timeout` (30 s); nobody else wakes.
    let woken = switches() - before;
    assert!(
        idle == 0 && woken <= 1,
        "an idle server woke up {woken} times"
    );
    // A debug build is larger, and not what is shipped.
    let most = if cfg!(debug_assertions) { 16384 } else { 4096 };
    let resident = kib(server.pid(), "status", &["VmRSS:"]);
    assert!(resident < most, "the arbiter has {resident} KiB");
    server.stop();
}

#[test]
fn idle_connections_cost_less_than_a_kib() {
    // Over a unix socket: over TCP the kernel would keep silent ones to itself for a while.
    const IDLE: usize = 1000;
    let server = Server::app("parking:app")
        .args(["-w", "2", "--worker-connections", "5000"])
        .unix()
        .start();
    server.wait_serving(2);
    let workers = server.workers();
    let open = || -> usize {
        let count = |pid: &Pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        workers.iter().map(count).sum()
    };
    // What each worker has open in any case.
    let base = 10 * workers.len();
    for _ in 0..50 {
        assert_eq!(server.get("/").status, 200);
    }
    let before = private_kib(&workers);
    let mut idle: Vec<Wire> = (0..IDLE).map(|_| server.connect()).collect();
    wait_until(server.deadline(), "all are accepted", || {
        open() >= IDLE + base
    });
    let grown = private_kib(&workers).saturating_sub(before);
    eprintln!("{IDLE} idle connections cost {grown} KiB");
    assert!(grown < 1000, "{grown} KiB for {IDLE} connections");
    assert_eq!(idle[IDLE / 2].get("/").status, 200);
    server.stop();
}
