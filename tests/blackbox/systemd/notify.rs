//! `sd_notify(3)`: what systemd is told and when.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::{Deadline, Notify, Server};

#[test]
fn start_reload_and_stop_are_told() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .args(["--reload-watch", "0.1"])
        .notify(&notify)
        .start();
    let deadline = server.deadline();
    // Before the import, which may take longer than systemd waits.
    let extend = notify.expect("EXTEND_TIMEOUT_USEC=", deadline);
    assert_eq!(extend, "EXTEND_TIMEOUT_USEC=190000000");
    notify.expect("READY=1", deadline);
    server.wait_workers(1);
    let before = monotonic_microseconds();
    server.signal(Signal::SIGHUP);
    let reloading = notify.next(deadline);
    let mut lines = reloading.lines();
    assert_eq!(lines.next(), Some("RELOADING=1"), "{reloading}");
    let moment = lines
        .next()
        .unwrap()
        .strip_prefix("MONOTONIC_USEC=")
        .unwrap();
    let moment: u128 = moment.parse().unwrap();
    assert!(before <= moment && moment <= monotonic_microseconds());
    notify.expect("EXTEND_TIMEOUT_USEC=", deadline);
    let over = notify.next(deadline);
    assert_eq!(
        over.trim(),
        "READY=1\nSTATUS=Reloaded: generation 2 serves."
    );
    server.signal(Signal::SIGTERM);
    notify.expect("STOPPING=1", deadline);
    assert_eq!(
        notify.expect("EXTEND_TIMEOUT_USEC=", deadline),
        "EXTEND_TIMEOUT_USEC=40000000"
    );
    assert_eq!(server.exit().code(), Some(0));
}

fn monotonic_microseconds() -> u128 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(now).as_micros()
}

#[test]
fn a_failed_reload_is_told_too() {
    let notify = Notify::new();
    let app = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'old']
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .notify(&notify)
        .allow("Exception in worker process")
        .allow("Reload failed")
        .allow("broken on purpose")
        .start();
    notify.expect("READY=1", server.deadline());
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGHUP);
    notify.expect("RELOADING=1", server.deadline());
    notify.expect("READY=1", server.deadline());
    server.stop();
    assert_eq!(
        notify.next(Deadline::after(Duration::from_secs(5))).trim(),
        "STOPPING=1\nSTATUS=Stopping"
    );
}

#[test]
fn mainpid_moves_with_an_upgrade() {
    let notify = Notify::new();
    let mut server = Server::app("cases:app").notify(&notify).start();
    notify.expect("READY=1", server.deadline());
    server.wait_workers(1);
    server.signal(Signal::SIGUSR2);
    let line = notify.expect("MAINPID=", server.deadline());
    let successor: i32 = line.trim_start_matches("MAINPID=").parse().unwrap();
    assert_ne!(successor, server.pid().as_raw());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    let successor = nix::unistd::Pid::from_raw(successor);
    server.log().expect("Master has been promoted.");
    kill(successor, Signal::SIGTERM).unwrap();
    server.wait_gone(successor);
    server.finish();
}
