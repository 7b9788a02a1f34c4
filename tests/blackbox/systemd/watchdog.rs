//! systemd's watchdog.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Gate, Notify, Server};

#[test]
fn the_watchdog_gets_a_sign_of_life_from_the_loop_that_serves() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .notify(&notify)
        .env("WATCHDOG_USEC", "200000")
        .start();
    for _ in 0..5 {
        notify.expect("WATCHDOG=1", server.deadline());
    }
    // A loop that does not turn sends none.
    server.signal(Signal::SIGSTOP);
    while notify.hears_within(Duration::from_millis(500)) {}
    server.signal(Signal::SIGCONT);
    notify.expect("WATCHDOG=1", server.deadline());
    server.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .notify(&notify)
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    notify.expect("READY=1", server.deadline());
    assert!(!notify.hears_within(Duration::from_millis(500)));
    server.stop();
}

#[test]
fn a_long_import_does_not_stop_the_loop() {
    let gate = Gate::new();
    let notify = Notify::new();
    let server = Server::app("gated_import:app")
        .gate(&gate)
        .notify(&notify)
        .env("WATCHDOG_USEC", "200000")
        .start();
    gate.expect(server.deadline());
    notify.expect("WATCHDOG=1", server.deadline());
    notify.expect("WATCHDOG=1", server.deadline());
    gate.open();
    notify.expect("READY=1", server.deadline());
    server.stop();
}
