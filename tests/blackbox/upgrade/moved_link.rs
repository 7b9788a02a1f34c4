//! Deployments by a moved symbolic link: what is started next is what the link leads to now, code,
//! Python and executable alike.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Builder, Server, children, title, wait_until};

/// Answers with the releases that the code, the Python and the working directory are of.
const APP: &str = "
import os, sys
def release(path):
    parts = os.path.realpath(path).split(os.sep)
    return parts[parts.index('releases') + 1]
RELEASES = ' '.join(map(release, (__file__, sys.prefix, os.getcwd())))
def app(environ, start_response):
    start_response('200 OK', [])
    return [RELEASES.encode()]
";

/// Makes two releases with virtual environments of their own, in which rcorn is installed, a link
/// to the first, and starts rcorn in a directory below the link.
fn started(start: &str, arguments: &[&str]) -> Builder {
    let script = format!(
        "set -e; for release in 1 2; do
           python3 -m venv --without-pip releases/$release/venv
           ln \"$RCORN\" releases/$release/venv/bin/rcorn 2>/dev/null || cp \"$RCORN\" releases/$release/venv/bin/rcorn
         done
         ln -s releases/1 current
         {start} \"$@\""
    );
    Server::without_app()
        .program(["sh", "-c", &script, "sh"])
        .env("RCORN", env!("CARGO_BIN_EXE_rcorn"))
        .file("releases/1/m.py", APP)
        .file("releases/2/m.py", APP)
        .args(["-w", "1", "--reload-watch", "0.1"])
        .args(arguments.iter().copied())
        .args(["m:app"])
}

/// As deploy scripts do it: in one step.
fn move_link(server: &Server) {
    let new = server.directory().join("new");
    symlink("releases/2", &new).unwrap();
    fs::rename(new, server.directory().join("current")).unwrap();
}

fn remove_release_1(server: &Server) {
    fs::remove_dir_all(server.directory().join("releases/1")).unwrap();
}

/// The executable of a process, without the temporary directory.
fn executable(server: &Server, pid: Pid) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let path = path.strip_prefix(server.directory().canonicalize().unwrap());
    path.unwrap_or(Path::new("elsewhere")).display().to_string()
}

/// Ways to start it below the link.
const STARTS: [(&str, &[&str]); 5] = [
    ("cd current; exec ./venv/bin/rcorn", &[]),
    ("cd current; exec \"$PWD/venv/bin/rcorn\"", &[]),
    (
        "cd current; export PATH=\"$PWD/venv/bin:$PATH\" VIRTUAL_ENV=\"$PWD/venv\"; exec rcorn",
        &[],
    ),
    ("exec current/venv/bin/rcorn", &["--chdir", "current"]),
    ("cd current/venv; exec bin/rcorn", &["--chdir", ".."]),
];

#[test]
fn a_reload_starts_what_the_link_leads_to() {
    for (start, arguments) in STARTS {
        let server = started(start, arguments).start();
        server.wait_serving(1);
        assert_eq!(server.get("/").text(), "1 1 1", "{start}");
        move_link(&server);
        remove_release_1(&server);
        server.signal(Signal::SIGHUP);
        server.log().expect("Reloaded: generation 2 serves.");
        assert_eq!(server.get("/").text(), "2 2 2", "{start}");
        server.stop();
    }
}

#[test]
fn an_upgrade_in_place_starts_what_the_link_leads_to() {
    for (start, arguments) in [STARTS[0], STARTS[3]] {
        let arguments = [arguments, &["--upgrade", "in-place"]].concat();
        let server = started(start, &arguments).start();
        server.wait_serving(1);
        move_link(&server);
        remove_release_1(&server);
        server.signal(Signal::SIGUSR2);
        server.log().expect("Reloaded: generation 2 serves.");
        assert_eq!(server.get("/").text(), "2 2 2", "{start}");
        let program = executable(&server, server.pid());
        assert_eq!(program, "releases/2/venv/bin/rcorn", "{start}");
        server.stop();
    }
}

#[test]
fn a_second_arbiter_is_what_the_link_leads_to() {
    for (start, arguments) in [STARTS[0], STARTS[3]] {
        let mut server = started(start, arguments).start();
        server.wait_serving(1);
        move_link(&server);
        remove_release_1(&server);
        server.signal(Signal::SIGUSR2);
        let mut successor = None;
        wait_until(server.deadline(), "the successor has a worker", || {
            let arbiters = children(server.pid());
            successor = arbiters.into_iter().find(|pid| {
                let workers = children(*pid);
                workers
                    .iter()
                    .any(|pid| title(*pid).starts_with("rcorn: worker"))
            });
            successor.is_some()
        });
        let successor = successor.unwrap();
        let program = executable(&server, successor);
        assert_eq!(program, "releases/2/venv/bin/rcorn", "{start}");
        server.signal(Signal::SIGTERM);
        server.wait_exit();
        server.log().expect("Master has been promoted.");
        assert_eq!(server.get("/").text(), "2 2 2", "{start}");
        kill(successor, Signal::SIGTERM).unwrap();
        server.wait_gone(successor);
        server.finish();
    }
}

/// The link is above the directory.
#[test]
fn the_link_of_a_parent_directory_is_followed() {
    let server = Server::without_app()
        .program([
            "sh",
            "-c",
            "ln -s blue live; cd live/shop; exec \"$RCORN\" \"$@\"",
            "sh",
        ])
        .env("RCORN", env!("CARGO_BIN_EXE_rcorn"))
        .file(
            "blue/shop/m.py",
            "def app(environ, start):\n    start('200 OK', [])\n    return [b'blue']\n",
        )
        .file(
            "green/shop/m.py",
            "def app(environ, start):\n    start('200 OK', [])\n    return [b'green']\n",
        )
        .file("green/shop/rcorn.yaml", "workers: 2\n")
        .args(["--reload-watch", "0.1", "m:app"])
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/").text(), "blue");
    let new = server.directory().join("new");
    symlink("green", &new).unwrap();
    fs::rename(new, server.directory().join("live")).unwrap();
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "green");
    server.stop();
}
