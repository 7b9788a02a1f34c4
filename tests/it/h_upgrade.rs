//! USR2: a second arbiter beside the first, as gunicorn has it, and the new build in the place of the old.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Connections, Load, Server, children, ctl, title, wait_until};

fn workers_of(arbiter: Pid) -> Vec<Pid> {
    let mut pids = children(arbiter);
    pids.retain(|pid| title(*pid).starts_with("rcorn: worker"));
    pids
}

fn read_pid(server: &Server, path: &Path) -> Pid {
    let mut pid = None;
    wait_until(server.deadline(), "a pid file", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        pid = text.trim().parse().ok();
        pid.is_some()
    });
    Pid::from_raw(pid.unwrap())
}

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
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";
    let server = Server::app("m:app")
        .args(["-w", "2", "--upgrade", "in-place"])
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("eload")
        .allow("broken on purpose")
        .allow("was sent SIGKILL")
        .start();
    let before = server.wait_workers(2);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reload failed, generation 1 serves on");
    assert_eq!(server.wait_workers(2), before);
    // The old build's template is still there for the new arbiter.
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
    // Written by processes of their own: what this one forks meanwhile for another test would keep the file open for
    // writing, and it could not be run (ETXTBSY, execve(2)).
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

/// A server whose successor beside it is up: the server, its pid file, the successor.
fn with_successor(folder: &Path) -> (Server, PathBuf, Pid) {
    let pid_file = folder.join("pid");
    let server = Server::app("cases:app")
        .args(["-w", "2", "--reload-watch", "0.1"])
        .args(["--pid", pid_file.to_str().unwrap()])
        .start();
    server.wait_workers(2);
    server.signal(Signal::SIGUSR2);
    let successor = read_pid(&server, &folder.join("pid.2"));
    wait_until(server.deadline(), "the successor's workers", || {
        workers_of(successor).len() == 2
    });
    wait_until(server.deadline(), "both can be asked", || {
        ctl(&["--pid", &successor.to_string(), "status"]).code == 0
    });
    (server, pid_file, successor)
}

#[test]
fn beside_the_old_arbiter_goes_and_the_new_one_is_promoted() {
    let folder = tempfile::TempDir::new().unwrap();
    let (mut server, pid_file, successor) = with_successor(folder.path());
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    kept.wait_for(100, server.deadline());
    // A second USR2 does no harm, on either of them.
    server.signal(Signal::SIGUSR2);
    server.log().expect("USR2 signal ignored. Child exists.");
    assert_eq!(read_pid(&server, &pid_file), server.pid());
    server.signal(Signal::SIGWINCH);
    server.wait_workers(0);
    kept.wait_for(100, server.deadline());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    server.log().expect("Master has been promoted.");
    wait_until(server.deadline(), "the pid file of the new one", || {
        read_pid(&server, &pid_file) == successor && !folder.path().join("pid.2").exists()
    });
    kept.wait_for(100, server.deadline());
    kept.stop().assert_clean();
    each.stop().assert_clean();
    kill(successor, Signal::SIGTERM).unwrap();
    server.wait_gone(successor);
    server.finish();
    assert!(!pid_file.exists());
}

#[test]
fn beside_the_new_arbiter_can_be_sent_away_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let (server, pid_file, successor) = with_successor(folder.path());
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    server.signal(Signal::SIGWINCH);
    server.wait_workers(0);
    kept.wait_for(100, server.deadline());
    // Back: the old code's workers first, then the new arbiter goes.
    server.signal(Signal::SIGHUP);
    server.wait_workers(2);
    kill(successor, Signal::SIGTERM).unwrap();
    server.log().expect("The new arbiter exited with code 0.");
    kept.wait_for(100, server.deadline());
    kept.stop().assert_clean();
    each.stop().assert_clean();
    assert_eq!(read_pid(&server, &pid_file), server.pid());
    assert!(!folder.path().join("pid.2").exists());
    server.stop();
}

#[test]
fn beside_a_successor_that_cannot_start_changes_nothing() {
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";
    let server = Server::app("m:app")
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("broken on purpose")
        .allow("Reason: Worker failed to boot")
        .allow("Shutting down")
        .start();
    let before = server.wait_workers(1);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGUSR2);
    server.log().expect("The new arbiter exited with code 3.");
    assert_eq!(server.get("/").text(), "old");
    assert_eq!(server.wait_workers(1), before);
    server.stop();
}

#[test]
fn beside_the_control_socket_goes_to_whom_stays() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (path("ctl"), path("ctl.2"));
    let mut server = Server::app("cases:app")
        .args(["--pid", &path("pid"), "--control-socket", &first])
        .start();
    server.wait_workers(1);
    let serves = |socket: &str| {
        let told = ctl(&["--socket", socket, "status"]);
        told.code == 0 && told.out.contains("1 of 1 serve")
    };
    wait_until(server.deadline(), "the first serves", || serves(&first));
    server.signal(Signal::SIGUSR2);
    wait_until(server.deadline(), "the second serves", || serves(&second));
    let successor = read_pid(&server, Path::new(&path("pid.2")));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    wait_until(server.deadline(), "the socket of the second", || {
        serves(&first) && !Path::new(&second).exists()
    });
    kill(successor, Signal::SIGTERM).unwrap();
    server.wait_gone(successor);
    server.finish();
    assert!(!Path::new(&first).exists());
}
