//! Everything that can happen on a bad night, at random, as long as one likes:
//! `RCORN_CHAOS_SECONDS=3600 cargo test --release --test blackbox chaos`; `RCORN_CHAOS_SEED`
//! repeats a run.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};

use crate::support::resources::Footprint;
use crate::support::{Connections, Load, Random, Server};

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
        .allow("Request lost when worker")
        .allow("WORKER TIMEOUT")
        .allow("end too soon")
        .allow("Reload failed")
        .allow("Reload rolled back")
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
    // A worker that is killed or found hung holds one request, and the keep-alive connections whose
    // clients write in that moment: three of each client's kind at most.
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
