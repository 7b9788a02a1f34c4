//! USR2 with `--upgrade in-place`: the new build takes the place of the old, under the same pid.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::read_pid;
use crate::support::resources::Footprint;
use crate::support::{Connections, Load, Server};

#[test]
fn in_place_the_pid_stays_and_nothing_is_lost() {
    let folder = tempfile::TempDir::new().unwrap();
    let pid_file = folder.path().join("pid");
    let server = Server::app("cases:app")
        .args(["-w", "2", "--upgrade", "in-place", "--reload-watch", "0.1"])
        .args(["--pid", pid_file.to_str().unwrap()])
        .start();
    let mut before = server.wait_workers(2);
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    for generation in 2..5 {
        server.signal(Signal::SIGUSR2);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
        let now = server.wait_workers(2);
        assert!(before.iter().all(|worker| !now.contains(worker)));
        before = now;
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    assert_eq!(read_pid(&server, &pid_file), server.pid());
    assert_eq!(
        server
            .ctl(&["status"])
            .done()
            .matches("generation  4")
            .count(),
        1
    );
    server.stop();
}

#[test]
fn in_place_with_broken_code_the_old_workers_serve_on() {
    let app = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'old']
";
    let server = Server::app("m:app")
        .args(["-w", "2", "--upgrade", "in-place"])
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("Reload failed")
        .allow("broken on purpose")
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(2);
    let before = server.wait_workers(2);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGUSR2);
    server
        .log()
        .expect("Reload failed, generation 1 keeps serving");
    assert_eq!(server.wait_workers(2), before);
    // The new arbiter still uses the old build's template.
    kill(before[0], Signal::SIGKILL).unwrap();
    server.wait_gone(before[0]);
    server.wait_workers(2);
    assert_eq!(server.get("/").text(), "old");
    server.stop();
}

#[test]
fn a_build_that_cannot_take_over_is_not_started_in_place() {
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("rcorn");
    // Written by processes of their own: what this one forks meanwhile for another test would keep
    // the file open for writing, and it could not be run (ETXTBSY, execve(2)).
    let run = |program: &str, args: &[&OsStr]| {
        let status = Command::new(program).args(args).status().unwrap();
        assert!(status.success(), "{program} {args:?}");
    };
    let build = OsStr::new(env!("CARGO_BIN_EXE_rcorn"));
    run("cp", &[build, program.as_os_str()]);
    let put = |text: &str| {
        let draft = folder.path().join("draft");
        let script = "printf \"$1\" >\"$2\" && chmod 755 \"$2\" && mv \"$2\" \"$3\"";
        let args = ["-c", script, "sh", text].map(OsStr::new);
        run(
            "sh",
            &[&args[..], &[draft.as_os_str(), program.as_os_str()]].concat(),
        );
    };
    let server = Server::app("cases:app")
        .program([&program])
        .args(["--upgrade", "in-place"])
        .allow("Upgrade not started")
        .start();
    let before = server.wait_workers(1);
    put("#!/bin/sh\\necho 999\\n");
    server.signal(Signal::SIGUSR2);
    server.log().expect("Upgrade not started: ");
    assert_eq!(server.get("/hello").status, 200);
    // Nor one that hangs.
    put("#!/bin/sh\\nexec sleep 1000\\n");
    server.signal(Signal::SIGUSR2);
    server.log().expect("it does not answer");
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(server.wait_workers(1), before);
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
fn workers_that_are_replaced_all_the_time_do_not_keep_a_new_build_from_taking_over() {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--reload-watch", "0", "--upgrade", "in-place"])
        .args(["--max-requests", "10"])
        .start();
    server.wait_serving(2);
    let load = Load::start(server.place(), "/hello", 4, Connections::Kept);
    for generation in 2..7 {
        let replaced = server.log().count("Autorestarting");
        server.log().expect_count("Autorestarting", replaced + 1);
        server.signal(Signal::SIGUSR2);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
    }
    load.stop().assert_clean();
    server.stop();
}
