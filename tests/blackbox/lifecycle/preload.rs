//! What the app's import leaves behind: what keeps it from being preloaded, what does not, and what
//! becomes of it.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use crate::support::{Deadline, Need, Pidfd, Server, lacks, wait_until};

/// Answers whether its import is shared: what is shared is frozen.
const APP: &str = "
import gc
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'shared' if gc.get_freeze_count() else b'own']
";

#[test]
fn an_app_that_starts_threads_is_not_preloaded() {
    let import = "
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
";
    let start = |arguments: &[&str]| {
        Server::app("m:app")
            .file("m.py", format!("{import}{APP}"))
            .args(arguments)
            .start()
    };
    let server = start(&[]);
    server
        .log()
        .expect("Not preloading: m.py:3 starts a thread at import");
    assert_eq!(server.get("/").text(), "own");
    server.stop();
    let server = start(&["--preload"]);
    server
        .log()
        .expect("Preloading as ordered, although m.py:3 starts a thread at import");
    assert_eq!(server.get("/").text(), "shared");
    server.stop();
}

#[test]
fn each_worker_draws_its_own_numbers() {
    let import = "
import secrets
MACHINE = secrets.randbelow(1 << 60)
";
    let server = Server::app("m:app")
        .file("m.py", format!("{import}{APP}"))
        .start();
    let line = server.log().expect("Not preloading: ");
    assert!(
        line.ends_with("m.py:3 draws random bytes at import"),
        "{line}"
    );
    assert_eq!(server.get("/").text(), "own");
    server.stop();
}

#[test]
fn a_boring_import_is_shared() {
    let import = "
import logging, random, weakref
S = random.SystemRandom()
R = random.Random(1)
class Signal: pass
SIGNAL = Signal()
logging.getLogger('app').warning('imported')
";
    let server = Server::app("m:app")
        .file("m.py", format!("{import}{APP}"))
        .start();
    assert_eq!(server.get("/").text(), "shared");
    let ended = server.stop();
    assert!(!ended.text().contains("Not preloading"), "{}", ended.text());
}

/// Defines `hide`, after which this process cannot see its threads and their children.
const HIDE: &str = "
import ctypes, os
LIBC = ctypes.CDLL(None, use_errno=True)
def check(status):
    if status:
        raise OSError(ctypes.get_errno(), 'cannot hide it')
def hide():
    check(LIBC.unshare(0x20000))  # CLONE_NEWNS
    check(LIBC.mount(None, b'/', None, 0x4000 | 0x40000, None))  # MS_REC, MS_PRIVATE
    check(LIBC.mount(b'none', b'/proc/self/task', b'tmpfs', 0, None))
";

#[test]
fn an_import_that_cannot_be_watched_is_not_shared() {
    if lacks(&[Need::Root, Need::UserNamespaces]) {
        return;
    }
    for (hook, said) in [
        (
            "def on_starting(server): os.register_at_fork(after_in_child=hide)",
            "Not preloading: the app's import cannot be watched: no /proc/self/task/*/children",
        ),
        (
            "def on_starting(server): hide()",
            "Not preloading: the template's children cannot be seen: no /proc/self/task/*/children",
        ),
    ] {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .file("gunicorn.conf.py", format!("{HIDE}{hook}\n"))
            .start();
        server.log().expect(said);
        assert_eq!(server.get("/").text(), "own", "{hook}");
        server.kill();
    }
}

/// Starts two processes, one of which hears no TERM, and notes who they are.
const CHILDREN: &str = "
import os, subprocess
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
fn processes_of_an_import_belong_to_the_worker_that_it_was_for() {
    let server = Server::app("m:app")
        .file("m.py", format!("{APP}{CHILDREN}"))
        .args(["-w", "2"])
        .start();
    server.log().expect("starts a process (sleep) at import");
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "own");
    let noted = noted(server.directory());
    assert_eq!(noted.len(), 2, "one import for each worker: {noted:?}");
    for pid in noted.iter().flatten() {
        assert!(Pidfd::open(*pid).is_ok());
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

#[test]
fn a_newborn_worker_that_cannot_go_on_is_not_called_a_template() {
    // The socket of the reports; the arbiter must not hear from it.
    let module = "
import os, socket
for number in os.listdir('/proc/self/fd'):
    try:
        with socket.socket(fileno=os.dup(int(number))) as one:
            if one.type & 0xf in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                null = os.open('/dev/null', os.O_RDWR)
                os.dup2(null, int(number))
    except OSError:
        pass
";
    let server = Server::app("m:app")
        .file("m.py", format!("{module}{APP}"))
        .allow("the new worker cannot start")
        .allow("Worker (pid")
        .allow("Shutting down: Master")
        .allow("Reason: Worker failed to boot.")
        .start();
    server.log().expect("the new worker cannot start: ");
    server.kill();
}
