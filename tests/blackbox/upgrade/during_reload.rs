//! Orders that come while a reload is under way are done after it.

use nix::sys::signal::{Signal, kill};

use super::read_pid;
use crate::support::{Gate, Server};

/// A server whose reload is held at the gate.
fn reloading(gate: &Gate, words: &[&str]) -> Server {
    let server = Server::app("gated_import:app")
        .gate(gate)
        .args(["--reload-watch", "0.1", "--pid", "r.pid"])
        .args(words)
        .args(["--pythonpath", crate::support::APPS])
        .file("unused", "")
        .start();
    gate.expect(server.deadline());
    gate.open();
    server.wait_serving(1);
    server.signal(Signal::SIGHUP);
    gate.expect(server.deadline());
    server
}

#[test]
fn usr2_starts_another_arbiter_after_the_reload() {
    let gate = Gate::new();
    let server = reloading(&gate, &[]);
    server.signal(Signal::SIGUSR2);
    server
        .log()
        .expect("The upgrade begins after the reload under way.");
    assert_eq!(server.log().count("Started a new arbiter"), 0);
    gate.open();
    let successor = read_pid(&server, &server.directory().join("r.pid.2"));
    gate.expect(server.deadline());
    gate.open();
    kill(successor, Signal::SIGTERM).unwrap();
    server.log().expect("The new arbiter exited");
    server.stop();
}

#[test]
fn usr2_takes_over_in_place_after_the_reload() {
    let gate = Gate::new();
    let server = reloading(&gate, &["--upgrade", "in-place"]);
    assert_eq!(
        server.ctl(&["upgrade"]).done().trim(),
        "upgrade ordered, after the reload under way"
    );
    server
        .log()
        .expect("The upgrade begins after the reload under way.");
    gate.open();
    server.log().expect("Upgrading in place");
    gate.expect(server.deadline());
    gate.open();
    server.log().expect("Reloaded: generation 3 serves.");
    server.stop();
}

#[test]
fn a_reload_that_comes_while_a_new_build_is_checked_goes_first() {
    let gate = Gate::new();
    let server = Server::app("gated_import:app")
        .gate(&gate)
        .args(["--reload-watch", "0.1", "--upgrade", "in-place"])
        .start();
    gate.expect(server.deadline());
    gate.open();
    server.wait_serving(1);
    // Both are there before the arbiter looks.
    server.signal(Signal::SIGSTOP);
    server.signal(Signal::SIGUSR2);
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGCONT);
    for _ in 0..2 {
        gate.expect(server.deadline());
        gate.open();
    }
    server.log().expect("Upgrading in place");
    server.log().expect("Reloaded: generation 3 serves.");
    assert_eq!(server.log().count("Upgrade not started"), 0);
    server.stop();
}

#[test]
fn ttin_during_a_reload_is_not_forgotten_with_the_number_before() {
    let gate = Gate::new();
    let server = reloading(&gate, &["--no-preload", "-w", "1"]);
    server.signal(Signal::SIGTTIN);
    for _ in 0..3 {
        // The old generation's new worker, and the two of the new one.
        gate.open();
    }
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_serving(2);
    server.stop();
}
