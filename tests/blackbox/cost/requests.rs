//! What a request costs, counted and not timed: instructions in user space, and system calls.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use nix::unistd::Pid;

use crate::support::{Server, Strace, Wire, lacks, program, python};

const MINIMAL: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const REQUESTS: usize = 20;

/// `tests/bench/instructions.py` counts under callgrind, and knows the limits.
#[test]
fn a_request_keeps_to_its_budget_of_instructions() {
    if lacks(&[program("valgrind")]) {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench");
    let mut command = Command::new(python());
    command.arg(format!("{folder}/instructions.py")).args([
        "--rcorn",
        env!("CARGO_BIN_EXE_rcorn"),
        "minimal",
        "browser",
        "metered",
        "everything",
        "access-json",
    ]);
    // Only the release that is shipped has the numbers that are written down; others must count
    // well.
    let changed = option_env!("CARGO_PROFILE_RELEASE_LTO")
        .or(option_env!("CARGO_PROFILE_RELEASE_CODEGEN_UNITS"))
        .or(option_env!("CARGO_PROFILE_RELEASE_OPT_LEVEL"));
    if changed.is_none() && !cfg!(debug_assertions) {
        command.arg("--check");
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{complaint}");
    assert_eq!(
        text.matches("instructions per request").count(),
        5,
        "{text}"
    );
}

/// How often a worker has begun each system call, by its strace. The I/O thread's calls do not
/// count; waking it would be a call of the worker's own.
fn counts(trace: &str, worker: Pid) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in trace.lines() {
        // "pid name(arguments) = result"; the second half of an interrupted one, a signal, have no
        // name there.
        let (thread, call) = line.split_once(' ').unwrap();
        if thread != worker.to_string() {
            continue;
        }
        let call = call.trim_start();
        let name = call.split('(').next().unwrap();
        if !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            let count: &mut usize = calls.entry(name.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }
    calls
}

/// The system calls of one worker while `ask` is served. Waiting is one call for all that is ready,
/// so it is left out.
fn calls(ask: impl FnOnce(&Server, &mut Wire)) -> BTreeMap<String, usize> {
    let server = Server::app("hello:app").start();
    server.wait_serving(1);
    // The first request brings much that later ones do not.
    let mut wire = server.connect();
    assert_eq!(wire.get("/").status, 200);
    serve_last(&server);
    let [worker] = server.workers()[..] else {
        panic!("there is one worker");
    };
    let trace = Strace::attach(worker, &["-f"]);
    let begun = Instant::now();
    ask(&server, &mut wire);
    // The I/O thread sleeps after 50 ms without a request.
    let sleeps = usize::try_from(begun.elapsed().as_millis() / 50).unwrap();
    let mut calls = counts(&trace.detach(), worker);
    let waits = calls.remove("epoll_wait").unwrap_or(0);
    assert!(waits <= 2 * REQUESTS + 2, "{waits} waits, {calls:?}");
    calls.remove("restart_syscall");
    if cfg!(debug_assertions) {
        // The standard library then asks whether a descriptor is open before it closes it.
        calls.remove("fcntl");
    }
    // While other connections are parked the I/O thread is woken after it slept: once for many
    // requests.
    let bells = calls.remove("write").unwrap_or(0);
    assert!(
        bells <= sleeps.saturating_add(REQUESTS / 4),
        "{bells} bells, {calls:?}"
    );
    drop(wire);
    server.stop();
    calls
}

/// One request on a connection of its own; the worker has closed it in the end.
fn serve_last(server: &Server) {
    let mut wire = server.connect();
    wire.send(LAST);
    assert_eq!(wire.read_reply().status, 200);
    wire.expect_eof();
}

fn table(entries: &[(&str, usize)]) -> BTreeMap<String, usize> {
    entries
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[test]
fn a_request_on_an_open_connection_takes_two_system_calls() {
    if lacks(&[program("strace")]) {
        return;
    }
    let calls = calls(|_, wire| {
        for _ in 0..REQUESTS {
            wire.send(MINIMAL);
            assert_eq!(wire.read_reply().status, 200);
        }
    });
    assert_eq!(
        calls,
        table(&[("recvfrom", REQUESTS), ("sendto", REQUESTS)])
    );
}

#[test]
fn a_connection_of_one_request_takes_four_system_calls() {
    if lacks(&[program("strace")]) {
        return;
    }
    let mut calls = calls(|server, _| {
        for _ in 0..REQUESTS {
            serve_last(server);
        }
    });
    // A request that was not there yet when its connection was accepted is waited for. That is our
    // own slowness.
    let late = calls.remove("epoll_ctl").unwrap_or(0);
    assert!(late <= REQUESTS / 2, "{late} of {REQUESTS} came late");
    let expected = [
        ("accept4", REQUESTS),
        ("close", REQUESTS),
        ("recvfrom", REQUESTS + late),
        ("sendto", REQUESTS),
    ];
    assert_eq!(calls, table(&expected));
}

#[test]
fn requests_that_come_together_share_a_system_call() {
    if lacks(&[program("strace")]) {
        return;
    }
    let calls = calls(|_, wire| {
        wire.send(MINIMAL.repeat(REQUESTS));
        for _ in 0..REQUESTS {
            assert_eq!(wire.read_reply().status, 200);
        }
    });
    assert_eq!(calls, table(&[("recvfrom", 1), ("sendto", REQUESTS)]));
}
