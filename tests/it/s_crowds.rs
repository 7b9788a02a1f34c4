//! Crowds of connections, slow clients and large bodies: what they cost, and that nobody else notices them.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and that is what a test should do"
)]

use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::support::{Server, Wire, wait_until};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(target: &str, length: u64) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

/// A line of `/proc/PID/FILE` in KiB.
fn kib(pid: Pid, file: &str, names: &[&str]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let number = |line: &str| -> u64 {
        let digits = line.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    text.lines().filter(wanted).map(number).sum()
}

fn private_kib(pids: &[Pid]) -> u64 {
    let own = |pid: &Pid| kib(*pid, "smaps_rollup", &["Private_"]);
    pids.iter().map(own).sum()
}

fn peak_kib(pid: Pid) -> u64 {
    kib(pid, "status", &["VmHWM:"])
}

/// The longest of these, and the one that 99 of 100 do not exceed.
fn worst(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() - 1], times[times.len() * 99 / 100])
}

#[test]
fn gigabytes_pass_in_bounded_memory() {
    const GIB: u64 = 1 << 30;
    let server = Server::app("parking:app")
        .patience(Duration::from_mins(2))
        .start();
    let worker = server.wait_workers(1)[0];
    assert_eq!(server.get("/").status, 200);
    let before = peak_kib(worker);
    for target in ["/download", "/sparse?1024"] {
        let begun = Instant::now();
        let mut wire = server.connect();
        wire.send(get(target));
        assert_eq!(wire.read_head().status, 200);
        wire.skip(GIB);
        eprintln!(
            "{target}: {:?}, peak {} KiB",
            begun.elapsed(),
            peak_kib(worker)
        );
    }
    // An app that reads it, and one that does not.
    let mib = vec![0xa5; 1 << 20];
    let begun = Instant::now();
    let mut wire = server.connect();
    wire.send(post("/upload", GIB));
    for _ in 0..GIB >> 20 {
        wire.send(&mib);
    }
    assert_eq!(wire.read_reply().text(), GIB.to_string());
    eprintln!(
        "upload: {:?}, peak {} KiB",
        begun.elapsed(),
        peak_kib(worker)
    );
    let mut wire = server.connect();
    wire.send(post("/", GIB));
    // What comes after the reply is thrown away for a while; then the connection is closed.
    let taken = (0..GIB >> 20).take_while(|_| wire.try_send(&mib).is_ok());
    eprintln!(
        "of a body that nobody reads {} MiB were taken",
        taken.count()
    );
    let grown = peak_kib(worker) - before;
    eprintln!("grown by {grown} KiB");
    assert!(grown < 24 << 10, "the worker grew by {grown} KiB");
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

/// The times of quick requests in the presence of slow ones: 64 clients, each of which asks again as soon as it has its
/// answer; a tenth of what they ask for takes 100 ms.
fn quick_times(server: &Server, kept: bool) -> Vec<Duration> {
    let client = |number: usize| {
        let place = server.place().clone();
        move || {
            let mut times = Vec::new();
            let mut wire = kept.then(|| Wire::connect(&place));
            for turn in 0..24 {
                let slow = (number * 7 + turn * 3).is_multiple_of(10);
                let begun = Instant::now();
                let mut used = wire.take().unwrap_or_else(|| Wire::connect(&place));
                let end = if kept { "" } else { "Connection: close\r\n" };
                let target = if slow { "/slow" } else { "/" };
                used.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{end}\r\n"));
                assert_eq!(used.read_reply().status, 200);
                // The first turns are a stampede.
                if !slow && turn >= 4 {
                    times.push(begun.elapsed());
                }
                wire = kept.then_some(used);
            }
            times
        }
    };
    let clients: Vec<_> = (0..64)
        .map(|number| std::thread::spawn(client(number)))
        .collect();
    let times = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap());
    times.collect()
}

#[test]
fn kept_connections_wait_no_longer_than_new_ones() {
    let server = Server::app("parking:app")
        .args(["-w", "4"])
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(4);
    let mut ratios: Vec<f64> = (0..5)
        .map(|_| {
            let [each, kept] = [false, true].map(|kept| worst(&mut quick_times(&server, kept)).1);
            eprintln!("p99 of quick requests: kept {kept:?}, a connection each {each:?}");
            kept.as_secs_f64() / each.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    // 1.3 on a machine that does nothing else.
    assert!(ratios[2] < 2.0, "{ratios:?}");
    server.stop();
}

#[test]
fn slow_clients_hurt_nobody_and_are_cut() {
    let server = Server::app("parking:app")
        .args(["-w", "4", "--header-timeout", "4", "--body-timeout", "4"])
        .args(["--write-timeout", "4", "--keep-alive", "4"])
        .patience(Duration::from_mins(1))
        .start();
    server.wait_serving(4);
    let several = |count: usize, request: &str| -> Vec<Wire> {
        let connect = |_| {
            let mut wire = server.connect();
            wire.send(request);
            wire
        };
        (0..count).map(connect).collect()
    };
    let mut slowloris = several(200, "GET / HTTP/1.1\r\nHost: x\r\nX-");
    // They have been served once: silent ones the kernel keeps to itself for a while.
    let mut idle = several(1000, &get("/"));
    for wire in &mut idle {
        assert_eq!(wire.read_reply().status, 200);
    }
    let half_body = post("/upload", 500_000) + "half";
    let chunks = "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf";
    let mut uploads = several(10, &half_body);
    uploads.extend(several(5, chunks));
    uploads.extend(several(5, &post("/upload", 1 << 30)));
    let mut downloads = several(10, &get("/sparse?64"));
    downloads.extend(several(10, &get("/list_of_bytes?900000")));
    // They stall from here on; making the replies was the app's time.
    for wire in &mut downloads {
        assert_eq!(wire.read_head().status, 200);
    }
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(server.get("/").status, 200);
            begun.elapsed()
        })
        .collect();
    let (longest, _) = worst(&mut times);
    eprintln!("a good client: median {:?}, longest {longest:?}", times[50]);
    // Some hundred us on a machine that does nothing else; a client that holds a worker holds it for 4 s.
    assert!(times[50] < Duration::from_millis(50), "{times:?}");
    for wire in slowloris.iter_mut().chain(&mut uploads) {
        assert_eq!(wire.read_reply().status, 408);
    }
    for wire in &mut idle {
        wire.expect_eof();
    }
    // The shorter ones are in the kernel's hands.
    server
        .log()
        .expect_count("Client took its reply too slowly", 10);
    for wire in downloads.iter_mut().take(10) {
        wire.expect_reset();
    }
    server.stop();
}
