//! Tests of the harness against a stand-in for the server: a harness that cannot fail proves
//! nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::needs::{Verdict, judge};
use super::*;

fn stand_in() -> Builder {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/stand_in.py");
    Server::app("hello:app").program(["python3".into(), script.into_os_string()])
}

/// The message of a part of the harness that must fail.
fn failure<T>(part: impl FnOnce() -> T) -> String {
    let result = catch_unwind(AssertUnwindSafe(part));
    let panic = result.err().expect("the harness should have failed");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn a_server_is_started_asked_and_stopped() {
    let server = stand_in().start();
    assert_eq!(server.get("/").text(), "Hello, world!\n");
    let booted = server.log().expect("Booting worker with pid: ");
    let workers = server.wait_workers(1);
    assert!(booted.ends_with(&workers[0].to_string()), "{booted}");
    assert_eq!(children(server.pid()), workers);
    server.log().expect_count("GET /", 1);
    let ended = server.stop();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    assert!(
        ended.text().contains("Handling signal: term"),
        "{}",
        ended.text()
    );
}

#[test]
fn a_unix_socket_and_files_of_its_own_serve_too() {
    let server = stand_in().unix().file("pkg/app.py", "x = 1\n").start();
    server.write("pkg/app.py", "x = 2\n");
    assert_eq!(
        std::fs::read_to_string(server.directory().join("pkg/app.py")).unwrap(),
        "x = 2\n"
    );
    assert_eq!(server.get("/chunked").text(), "Hello, world!\n");
    server.stop();
}

#[test]
fn replies_are_read_by_their_framing() {
    let server = stand_in().start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/").field("content-length"), Some("14"));
    assert_eq!(wire.get("/chunked").text(), "Hello, world!\n");
    assert_eq!(wire.get("/none").status, 204);
    wire.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(wire.read_head().body.is_empty());
    assert!(!wire.read_reply().closes());
    assert!(!wire.hears_within(Duration::ZERO));
    let last = wire.get("/close");
    assert!(last.closes() && last.ended_by_close && last.reason == "OK");
    assert!(last.raw_head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    wire.expect_eof();

    let mut wire = server.connect();
    wire.half_close();
    assert_eq!(wire.read_to_eof(), b"");
    let mut wire = server.connect();
    wire.send("GET /reset HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(wire.expect_reset(), b"");
    server.stop();
}

#[test]
fn broken_replies_are_not_taken_for_whole_ones() {
    let server = stand_in().start();
    let ask = |target: &str| {
        let mut wire = server.connect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        wire.try_read_reply(false).unwrap_err()
    };
    assert!(matches!(ask("/cut"), Broken::Cut(bytes) if bytes == b"only this"));
    assert!(matches!(ask("/twice"), Broken::Malformed(..)));
    assert!(matches!(ask("/reset"), Broken::Reset));
    assert!(
        failure(|| expect_eof_of(&mut server.connect(), "/close")).contains("bytes before the end")
    );
    server.stop();
}

/// Sends a request and expects the end at once, which is wrong here.
fn expect_eof_of(wire: &mut Wire, target: &str) {
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    wire.expect_eof();
}

#[test]
fn an_app_is_held_at_the_gate() {
    let gate = Gate::new();
    let server = stand_in().gate(&gate).start();
    let mut wire = server.connect();
    wire.send("GET /gate HTTP/1.1\r\nHost: x\r\n\r\n");
    let held = gate.expect(server.deadline());
    assert_eq!(server.wait_workers(1), [held]);
    assert!(!wire.hears_within(Duration::ZERO));
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    assert!(failure(|| gate.expect(Deadline::after(Duration::ZERO))).contains("nobody came"));
    server.stop();
}

#[test]
fn notifications_come_in_order() {
    let notify = Notify::new();
    let server = stand_in().notify(&notify).start();
    let pid = notify.expect("MAINPID=", server.deadline());
    assert_eq!(pid, format!("MAINPID={}", server.pid()));
    server.stop();
    let soon = Deadline::after(Duration::from_millis(1));
    assert!(failure(|| notify.next(soon)).contains("notification"));
}

#[test]
fn complaints_fail_the_test_unless_they_are_expected() {
    let server = stand_in().start();
    server.get("/error");
    let said = failure(|| server.stop());
    assert!(
        said.contains("unexpected in the log") && said.contains("ValueError: boom"),
        "{said}"
    );

    let server = stand_in().allow("ValueError: boom").start();
    server.get("/error");
    server.log().expect_count("ValueError: boom", 1);
    assert_eq!(server.log().count("Traceback"), 1);
    server.stop();
}

#[test]
fn an_exit_by_itself_has_its_code() {
    let server = stand_in()
        .unbound()
        .args(["--exit", "3"])
        .python("/no/such")
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3));
}

#[test]
fn a_program_without_an_app_gets_only_its_arguments() {
    let program = Server::without_app().unbound().program(["echo"]);
    assert_eq!(
        program.args(["one", "two"]).start().exit().text(),
        "one two\n"
    );
}

#[test]
fn waiting_for_a_line_that_cannot_come_fails_at_once() {
    let server = stand_in().unbound().args(["--exit", "0"]).start();
    let said = failure(|| server.log().expect("never said"));
    assert_eq!(said, "the output ended without a line with \"never said\"");
    server.exit();

    let server = stand_in().patience(Duration::from_millis(50)).start();
    let said = failure(|| server.log().expect_count("never said", 2));
    assert_eq!(said, "waited too long without 2 lines with \"never said\"");
    server.kill();
}

#[test]
fn a_process_left_behind_fails_the_test() {
    let server = stand_in().args(["--leave"]).start();
    server.log().expect("Booting worker");
    let worker = server.wait_workers(1)[0];
    let pidfd = Pidfd::open(worker).unwrap();
    let said = failure(|| server.stop());
    assert!(
        said.contains("until all processes of the server are gone"),
        "{said}"
    );
    assert!(
        pidfd.wait(Deadline::after(Duration::from_secs(5))),
        "the guard has not killed it"
    );
    assert_eq!(title(worker), "");
}

#[test]
fn a_socket_file_left_behind_fails_the_test() {
    let server = stand_in()
        .unbound()
        .args(["--exit", "0", "--socket", "left.sock"])
        .start();
    assert!(failure(|| server.exit()).contains("left.sock"));
}

#[test]
fn a_server_that_no_one_ended_fails_the_test() {
    let server = stand_in().start();
    let said = failure(|| drop(server));
    assert!(said.contains("the test must end its server"), "{said}");
}

#[test]
fn the_arbiter_can_go_before_its_workers() {
    let mut server = stand_in().start();
    server.log().expect("Booting worker");
    let worker = server.wait_workers(1)[0];
    server.signal(Signal::SIGKILL);
    server.wait_exit();
    assert!(server.workers().is_empty());
    nix::sys::signal::kill(worker, Signal::SIGTERM).unwrap();
    server.wait_gone(worker);
    let ended = server.finish();
    assert_eq!((ended.code(), ended.signal()), (None, Some(9)));
}

#[test]
fn the_load_counts_what_became_of_each_request() {
    for connections in [Connections::Each, Connections::Kept] {
        let server = stand_in().start();
        let load = Load::start(server.place(), "/", 2, connections);
        load.wait_for(50, server.deadline());
        let tally = load.stop();
        assert!(tally.ok >= 50);
        tally.assert_clean();

        let load = Load::start(server.place(), "/reset", 1, connections);
        wait_until(server.deadline(), "a reset", || load.failed() > 0);
        let tally = load.stop();
        assert!(
            tally.failed[0].contains("on a new connection: reset"),
            "{:?}",
            tally.failed
        );
        assert!(failure(|| tally.assert_nothing_lost()).contains("failed"));

        let load = Load::start(server.place(), "/", 1, connections);
        load.wait_for(1, server.deadline());
        server.kill();
        load.wait_refused(Deadline::after(Duration::from_secs(10)));
        assert!(load.stop().refused > 0);
    }
}

#[test]
fn a_listener_that_is_kept_queues_connections_of_a_server_that_is_gone() {
    let server = stand_in().keep_listener().env("UNUSED", "1").start();
    server.log().expect("Booting worker");
    let place = server.place().clone();
    server.signal(Signal::SIGTERM);
    let mut server = server;
    server.wait_exit();
    assert!(Wire::try_connect(&place).is_ok());
    server.finish();
    assert!(Wire::try_connect(&place).is_err());
}

#[test]
fn a_test_whose_needs_are_not_met_is_reported_or_fails() {
    let needs = [program("unshare"), Need::Program("nowhere", "no-package")];
    let reason = "nowhere is not installed (Debian's package: no-package)";
    assert_eq!(judge("it", &needs[..1], true, ""), Verdict::Runs);
    let not_run = Verdict::NotRun(format!("not run: it: {reason}"));
    assert_eq!(judge("it", &needs, false, ""), not_run);
    assert_eq!(judge("it", &needs, true, "other nowhere"), not_run);
    let fails = Verdict::Fails(format!("it cannot run: {reason}"));
    assert_eq!(judge("it", &needs, true, "other"), fails);
}
