//! What the app's import leaves behind: what keeps it from being preloaded, what does not, and what
//! becomes of it.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use crate::support::{Deadline, Pidfd, Server, wait_until};

#[test]
fn an_app_that_starts_threads_is_not_preloaded() {
    let module = "
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
IMPORTED = __import__('os').getpid()
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'own' if IMPORTED == __import__('os').getpid() else b'shared']
";
    let server = Server::app("m:app").file("m.py", module).start();
    server
        .log()
        .expect("Not preloading: the app's import left 1 thread,");
    assert_eq!(server.get("/").text(), "own");
    server.stop();
    let server = Server::app("m:app")
        .file("m.py", module)
        .args(["--preload"])
        .start();
    server
        .log()
        .expect("Preloading as ordered, although the app's import left 1 thread");
    assert_eq!(server.get("/").text(), "shared");
    server.stop();
}

/// Answers whether the process that imported it is the one that serves.
const APP: &str = "
import os
IMPORTED = os.getpid()
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'own' if IMPORTED == os.getpid() else b'shared']
";

#[test]
fn what_forked_workers_cannot_share_is_found() {
    for (import, found) in [
        (
            "
import tempfile
T = tempfile.TemporaryDirectory()
",
            "files that are removed at exit (by TemporaryDirectory._cleanup)",
        ),
        (
            "
import atexit, shutil, tempfile
atexit.register(shutil.rmtree, tempfile.mkdtemp())
",
            "files that are removed at exit (by ",
        ),
        ("F = open(__file__, 'rb')\n", "m.py open for reading"),
        (
            "F = open('data', 'w+')\n",
            "data open for reading and writing",
        ),
        (
            "
import random
R = random.Random(1)
",
            "a random.Random (its numbers would repeat in every worker)",
        ),
        (
            "
import socket
S = socket.socket()
",
            "a socket (descriptor ",
        ),
    ] {
        let server = Server::app("m:app")
            .file("m.py", format!("{import}{APP}"))
            .start();
        let line = server
            .log()
            .expect("Not preloading: the app's import left ");
        assert!(line.contains(found), "{import}: {line}");
        assert_eq!(server.get("/").text(), "own", "{import}");
        server.stop();
    }
}

#[test]
fn what_does_no_harm_does_not_count() {
    let import = "
import atexit, logging, os, random, tempfile, weakref
random.seed(1)
random.random()
S = random.SystemRandom()
N = tempfile.mkstemp()
os.close(N[0])
os.unlink(N[1])
L = logging.FileHandler('log')
O = open('out', 'w')
D = os.open('.', os.O_RDONLY)
class Signal: pass
SIGNAL = Signal()
weakref.finalize(SIGNAL, print, 'as Django has for its signals')
atexit.register(print, 'bye')
";
    let server = Server::app("m:app")
        .file("m.py", format!("{import}{APP}"))
        .start();
    assert_eq!(server.get("/").text(), "shared");
    let ended = server.stop();
    assert!(!ended.text().contains("Not preloading"), "{}", ended.text());
}

/// Starts two processes, one of which hears no TERM, and notes who they are.
const CHILDREN: &str = "
import subprocess
LOUD = subprocess.Popen(['sleep', '1000'])
DEAF = subprocess.Popen(['sh', '-c', \"trap '' TERM; echo >>deaf; exec sleep 1000\"])
while not os.path.exists('deaf'):
    pass
with open('children', 'a') as file:
    print(LOUD.pid, DEAF.pid, file=file)
";

fn noted(server: &std::path::Path) -> Vec<Vec<Pid>> {
    let text = fs::read_to_string(server.join("children")).unwrap_or_default();
    let pids = |line: &str| {
        let pids = line.split(' ').map(|pid| pid.parse().unwrap());
        pids.map(Pid::from_raw).collect()
    };
    text.lines().map(pids).collect()
}

#[test]
fn processes_of_an_import_that_is_not_used_end() {
    let server = Server::app("m:app")
        .file("m.py", format!("{APP}{CHILDREN}"))
        .start();
    server
        .log()
        .expect("Not preloading: the app's import left 2 child processes");
    assert_eq!(server.get("/").text(), "own");
    let noted = noted(server.directory());
    assert_eq!(noted.len(), 2, "the template's and the worker's: {noted:?}");
    for pid in &noted[0] {
        server.wait_gone(*pid);
    }
    for pid in &noted[1] {
        assert!(Pidfd::open(*pid).is_ok(), "the worker's own are its own");
    }
    server.kill();
}

#[test]
fn processes_of_a_check_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.py"), format!("{APP}{CHILDREN}")).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .args(["--check-config", "m:app"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(checked.success(), "{checked}");
    let noted = noted(folder.path());
    assert_eq!(noted.len(), 1);
    let soon = Deadline::after(std::time::Duration::from_secs(10));
    for pid in &noted[0] {
        wait_until(soon, "the child is gone", || Pidfd::open(*pid).is_err());
    }
}
