//! Many of everything, under load: nothing is lost, nothing leaks. And chaos, as long as one likes:
//! `RCORN_CHAOS_SECONDS=3600 cargo test --release --test it chaos`; `RCORN_CHAOS_SEED` repeats a story.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and that is what a test should do"
)]

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Connections, Load, Server, holds_within, wait_until};

/// What must be the same after as before.
#[derive(Debug)]
struct Footprint {
    descriptors: Vec<String>,
    resident: u64,
}

impl Footprint {
    fn of(pid: Pid) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let resident = line.unwrap().trim().trim_end_matches(" kB");
        Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .map(|to| to.display().to_string())
                .collect(),
            resident: resident.trim().parse().unwrap(),
        }
    }

    /// Waits until the server is at rest again, and compares.
    fn assert_as_before(&self, server: &Server, workers: usize) {
        server.wait_serving(workers);
        let limit = server.deadline().or_after(Duration::from_mins(1));
        let at_rest = || {
            let now = Self::of(server.pid());
            // A worker has one descriptor here; a status query in passing one more.
            now.descriptors.len() <= self.descriptors.len() + 1
                && server.titled("rcorn: template").len() == 1
                && server.workers().len() == workers
        };
        let rests = holds_within(limit, at_rest);
        let now = Self::of(server.pid());
        assert!(rests, "{now:#?} after {self:#?}");
        assert!(
            now.resident <= self.resident + 1024,
            "{now:?} after {self:?}"
        );
    }
}

#[test]
fn a_hundred_reloads_lose_nothing_and_leak_nothing() {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--reload-watch", "0"])
        .patience(Duration::from_mins(5))
        .start();
    server.wait_serving(2);
    // The first reload warms up what stays.
    server.ctl(&["reload", "--wait"]).done();
    let before = Footprint::of(server.pid());
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    for generation in 3..103 {
        server.signal(Signal::SIGHUP);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    before.assert_as_before(&server, 2);
    server.stop();
}

#[test]
fn twenty_upgrades_in_place_lose_nothing_and_leak_nothing() {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--reload-watch", "0", "--upgrade", "in-place"])
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(2);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_serving(2);
    let before = Footprint::of(server.pid());
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    for generation in 3..23 {
        server.signal(Signal::SIGUSR2);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
        server.wait_serving(2);
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    before.assert_as_before(&server, 2);
    server.stop();
}

#[test]
fn twenty_upgrades_beside_lose_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let pid_file = folder.path().join("pid");
    let mut server = Server::app("cases:app")
        .args(["-w", "2", "--pid", pid_file.to_str().unwrap()])
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(2);
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    let read = |name: &str| -> Option<i32> {
        let text = fs::read_to_string(folder.path().join(name)).ok()?;
        text.trim().parse().ok()
    };
    let mut arbiter = server.pid();
    for turn in 0..20 {
        kill(arbiter, Signal::SIGUSR2).unwrap();
        let mut successor = None;
        wait_until(server.deadline(), "a successor that serves", || {
            successor = read("pid.2").map(Pid::from_raw);
            successor.is_some_and(|pid| crate::support::serves(pid, 2))
        });
        let successor = successor.unwrap();
        kill(arbiter, Signal::SIGTERM).unwrap();
        if turn == 0 {
            assert_eq!(server.wait_exit().code(), Some(0));
        } else {
            server.wait_gone(arbiter);
        }
        wait_until(server.deadline(), "its promotion", || {
            read("pid") == Some(successor.as_raw()) && read("pid.2").is_none()
        });
        arbiter = successor;
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    kill(arbiter, Signal::SIGTERM).unwrap();
    server.wait_gone(arbiter);
    server.finish();
}

#[test]
fn two_hundred_kills_lose_only_what_the_killed_held() {
    let server = Server::app("cases:app")
        .args(["-w", "4"])
        .allow("was sent SIGKILL")
        .allow("In hand when worker")
        .allow("Cannot fork")
        .patience(Duration::from_mins(5))
        .start();
    server.wait_serving(4);
    let before = Footprint::of(server.pid());
    let each = Load::start(server.place(), "/hello", 4, Connections::Each);
    let mut random = Random(0x5eed);
    for turn in 0..200_usize {
        let victims = if turn % 10 == 9 {
            server.titled("rcorn: template")
        } else {
            server.workers()
        };
        let Some(victim) = random.choose(&victims) else {
            continue;
        };
        // It may have ended since.
        kill(victim, Signal::SIGKILL).ok();
        server.wait_gone(victim);
        server.wait_workers(4);
    }
    let tally = each.stop();
    // One request in hand each, and what its kernel queue held of requests that it had accepted.
    assert!(
        tally.failed.len() <= 200,
        "{} of {}: {:?}",
        tally.failed.len(),
        tally.ok,
        tally.failed.first()
    );
    assert_eq!(tally.refused, 0);
    before.assert_as_before(&server, 4);
    server.stop();
}

/// Knuth's linear congruence: a story must be repeatable, not unpredictable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn choose(&mut self, among: &[Pid]) -> Option<Pid> {
        let count = u64::try_from(among.len()).unwrap();
        let index = self.next().checked_rem(count)?;
        among.get(usize::try_from(index).unwrap()).copied()
    }
}

/// One thing that happens on a bad night. Gives whether a worker ends of it, or may.
fn disturb(server: &Server, random: &mut Random, load: &Load) -> bool {
    let workers = server.workers();
    let turn = random.next() % 12;
    match turn {
        0..3 => {
            if let Some(victim) = random.choose(&workers) {
                kill(victim, Signal::SIGKILL).ok();
            }
        }
        3 => {
            if let Some(victim) = random.choose(&server.titled("rcorn: template")) {
                kill(victim, Signal::SIGKILL).ok();
            }
        }
        4 => {
            // Continued soon, or found silent and killed.
            if let Some(victim) = random.choose(&workers) {
                kill(victim, Signal::SIGSTOP).ok();
                if random.next().is_multiple_of(2) {
                    load.wait_for(50, server.deadline());
                    kill(victim, Signal::SIGCONT).ok();
                }
            }
        }
        5..8 => server.signal(Signal::SIGHUP),
        8 => server.signal(Signal::SIGUSR2),
        9 => server.signal(Signal::SIGTTIN),
        10 => server.signal(Signal::SIGTTOU),
        _ => server.signal(Signal::SIGUSR1),
    }
    matches!(turn, 0 | 1 | 2 | 4)
}

#[test]
fn chaos() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect(name))
    };
    let seconds = number("RCORN_CHAOS_SECONDS").unwrap_or(15);
    let seed = number("RCORN_CHAOS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::from(now.unwrap().subsec_nanos())
    });
    println!("RCORN_CHAOS_SEED={seed}");
    let server = Server::app("cases:app")
        .args(["-w", "3", "-t", "2", "--reload-watch", "0.2"])
        .args(["--upgrade", "in-place", "--graceful-timeout", "5"])
        .allow("Worker (pid")
        .allow("Template (pid")
        .allow("In hand when worker")
        .allow("WORKER TIMEOUT")
        .allow("end too soon")
        .allow("eload")
        .allow("Cannot fork")
        .allow("Upgrade not started")
        .patience(Duration::from_secs(seconds + 120))
        .start();
    server.wait_serving(3);
    let before = Footprint::of(server.pid());
    let each = Load::start(server.place(), "/hello", 3, Connections::Each);
    let kept = Load::start(server.place(), "/hello", 3, Connections::Kept);
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut ended_by_us = 0_usize;
    while Instant::now() < end {
        ended_by_us += usize::from(disturb(&server, &mut random, &each));
        // Whatever was done: requests go on being answered.
        each.wait_for(1 + random.next() % 400, server.deadline());
    }
    let (each, kept) = (each.stop(), kept.stop());
    let failed: Vec<&String> = each.failed.iter().chain(&kept.failed).collect();
    // A worker that is killed or found hung holds one request, and the keep-alive connections whose clients write in
    // that moment: three of each client's kind at most.
    assert!(
        failed.len() <= 4 * ended_by_us,
        "{} failures after {ended_by_us} ends: {:#?}",
        failed.len(),
        &failed[..failed.len().min(20)]
    );
    let strange: Vec<&&String> = failed
        .iter()
        .filter(|why| why.contains("50") || why.contains("40"))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!((each.refused, kept.refused), (0, 0));
    // Peace: as many as there shall be, and no more.
    server.ctl(&["scale", "3"]);
    server.ctl(&["reload", "--wait"]);
    before.assert_as_before(&server, 3);
    server.stop();
}
