//! Signal handlers that an app installs while it is imported: they are called in workers, as under
//! gunicorn.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Server, wait_until};

/// Writes the names of the signals that it hears into a file. `fork`: not to be shared, so that
/// the handlers are certainly this worker's.
const APP: &str = "
import os, signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
def note(number, frame):
    with open('heard', 'a') as file:
        file.write('%d %s\\n' % (os.getpid(), signal.Signals(number).name))
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
";

fn listening(signals: &[&str], more: &str) -> Server {
    let list = signals.join(", signal.");
    let import = format!("for one in (signal.{list},): signal.signal(one, note)\n");
    let server = Server::app("m:app")
        .file("m.py", format!("{APP}{import}{more}"))
        .start();
    assert_eq!(server.get("/").text(), "served");
    server
}

fn expect_heard(server: &Server, pid: Pid, name: &str) {
    let heard = || std::fs::read_to_string(server.directory().join("heard")).unwrap_or_default();
    let line = format!("{pid} {name}\n");
    wait_until(server.deadline(), name, || heard().contains(&line));
}

#[test]
fn handlers_of_signals_that_mean_nothing_to_a_worker_are_called() {
    let signals = [
        (Signal::SIGHUP, "SIGHUP"),
        (Signal::SIGUSR1, "SIGUSR1"),
        (Signal::SIGUSR2, "SIGUSR2"),
        (Signal::SIGWINCH, "SIGWINCH"),
        (Signal::SIGCHLD, "SIGCHLD"),
        (Signal::SIGTTIN, "SIGTTIN"),
    ];
    let server = listening(&signals.map(|(_, name)| name), "");
    let worker = server.wait_workers(1)[0];
    for (signal, name) in signals {
        // It waits for connections: nothing else wakes it.
        kill(worker, signal).unwrap();
        expect_heard(&server, worker, name);
    }
    assert_eq!(server.get("/").text(), "served");
    assert_eq!(server.workers(), [worker]);
    server.stop();
}

#[test]
fn handlers_of_orders_to_leave_are_called_and_the_worker_leaves() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGQUIT, "SIGQUIT")] {
        let server = listening(&[name], "");
        let worker = server.wait_workers(1)[0];
        kill(worker, signal).unwrap();
        expect_heard(&server, worker, name);
        server.wait_gone(worker);
        server.kill();
    }
}

#[test]
fn a_handler_that_raises_system_exit_ends_the_worker() {
    let server = listening(
        &["SIGUSR2"],
        "
import sys
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(0))
",
    );
    let worker = server.wait_workers(1)[0];
    kill(worker, Signal::SIGUSR2).unwrap();
    server.wait_gone(worker);
    assert_eq!(server.get("/").text(), "served");
    server.stop();
}

#[test]
fn a_handler_that_fails_is_told_and_the_worker_stays() {
    let server = Server::app("m:app")
        .file(
            "m.py",
            format!("{APP}\nsignal.signal(signal.SIGUSR2, lambda *_: 1 / 0)\n"),
        )
        .allow("ZeroDivisionError")
        .allow("Exception in a signal handler of the app")
        .start();
    assert_eq!(server.get("/").text(), "served");
    let worker = server.wait_workers(1)[0];
    kill(worker, Signal::SIGUSR2).unwrap();
    server.log().expect("ZeroDivisionError");
    assert_eq!(server.workers(), [worker]);
    server.stop();
}

#[test]
fn a_timer_that_the_import_sets_goes_off() {
    let server = listening(
        &["SIGALRM"],
        "signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\n",
    );
    let worker = server.wait_workers(1)[0];
    expect_heard(&server, worker, "SIGALRM");
    server.stop();
}

#[test]
fn a_handler_in_c_is_called_too() {
    let server = listening(
        &["SIGHUP"],
        "
import faulthandler
STACKS = open('stacks', 'w')
faulthandler.register(signal.SIGUSR2, file=STACKS)
",
    );
    let worker = server.wait_workers(1)[0];
    kill(worker, Signal::SIGUSR2).unwrap();
    let stacks = || std::fs::read_to_string(server.directory().join("stacks")).unwrap_or_default();
    wait_until(server.deadline(), "stacks", || stacks().contains("Thread"));
    server.stop();
}

#[test]
fn a_signal_that_the_import_ignores_stays_ignored() {
    let server = listening(
        &["SIGUSR2"],
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n",
    );
    let worker = server.wait_workers(1)[0];
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    assert_eq!(mask & 1, 1, "{mask:x}");
    server.stop();
}

#[test]
fn signals_that_an_import_blocks_stay_blocked() {
    let app = "
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
def app(environ, start_response):
    start_response('200 OK', [])
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return [str(sorted(int(number) for number in blocked)).encode()]
";
    for preload in ["--preload", "--no-preload"] {
        let server = Server::app("m:app")
            .file("m.py", app)
            .args([preload])
            .allow("Preloading as ordered, although m.py:")
            .start();
        assert_eq!(server.get("/").text(), "[12]", "{preload}");
        server.stop();
    }
}
