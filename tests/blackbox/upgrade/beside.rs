//! USR2 as gunicorn has it: a second arbiter beside the first.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::read_pid;
use crate::support::{Connections, Load, Server, children, ctl, serves, title, wait_until};

fn workers_of(arbiter: Pid) -> Vec<Pid> {
    let mut pids = children(arbiter);
    pids.retain(|pid| title(*pid).starts_with("rcorn: worker"));
    pids
}

/// A server with a successor that serves: the server, its pid file, the successor's pid.
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
    // Going back: the old workers start again, then the new arbiter stops.
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
    let app = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'old']
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("Reason: Worker failed to boot")
        .allow("Shutting down")
        .start();
    server.wait_serving(1);
    let before = server.wait_workers(1);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGUSR2);
    server.log().expect("The new arbiter exited with code 3.");
    assert_eq!(server.get("/").text(), "old");
    assert_eq!(server.wait_workers(1), before);
    server.stop();
}

#[test]
fn beside_the_control_socket_goes_to_the_one_that_stays() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (path("ctl"), path("ctl.2"));
    let mut server = Server::app("cases:app")
        .args(["--pid", &path("pid"), "--control-socket", &first])
        .start();
    server.wait_workers(1);
    let serves = |socket: &str| {
        let told = ctl(&["--socket", socket, "status"]);
        told.code == 0 && told.out.contains("1 of 1 serving")
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

#[test]
fn twenty_upgrades_beside_lose_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let pid_file = folder.path().join("pid");
    let mut server = Server::app("cases:app")
        .args(["-w", "2", "--pid", pid_file.to_str().unwrap()])
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(2);
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    let read = |name: &str| -> Option<i32> {
        let text = fs::read_to_string(folder.path().join(name)).ok()?;
        text.trim().parse().ok()
    };
    let mut arbiter = server.pid();
    for turn in 0..20 {
        kill(arbiter, Signal::SIGUSR2).unwrap();
        let mut successor = None;
        wait_until(server.deadline(), "a successor that serves", || {
            successor = read("pid.2").map(Pid::from_raw);
            successor.is_some_and(|pid| serves(pid, 2))
        });
        let successor = successor.unwrap();
        kill(arbiter, Signal::SIGTERM).unwrap();
        if turn == 0 {
            assert_eq!(server.wait_exit().code(), Some(0));
        } else {
            server.wait_gone(arbiter);
        }
        wait_until(server.deadline(), "its promotion", || {
            read("pid") == Some(successor.as_raw()) && read("pid.2").is_none()
        });
        arbiter = successor;
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    kill(arbiter, Signal::SIGTERM).unwrap();
    server.wait_gone(arbiter);
    server.finish();
}
