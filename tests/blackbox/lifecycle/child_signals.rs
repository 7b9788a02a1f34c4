//! An app may do at import what it likes about its children: workers are forked all the same, and
//! find it as the app left it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, killpg};

use crate::support::Server;

/// Tells what this process does about its children, and whether it imported the app itself.
const APP: &str = r#"
import ctypes, os, signal
IMPORTED = os.getpid()
CALLED_IN = set()
LIBC = ctypes.CDLL(None)

def sigchld():
    with open("/proc/self/status") as status:
        masks = dict(line.split(":\t") for line in status)
    bit = 1 << (signal.SIGCHLD - 1)
    return [word for word in ("SigIgn", "SigCgt") if int(masks[word], 16) & bit]

def app(environ, start_response):
    subreaper = ctypes.c_int()
    LIBC.prctl(37, ctypes.byref(subreaper), 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    try:
        ended = os.waitpid(pid, 0)[1]
    except ChildProcessError:
        ended = "gone"
    strangers = CALLED_IN - {os.getpid()}
    start_response("200 OK", [])
    text = "%s %s subreaper=%d waited=%s strangers=%d" % (
        "own" if IMPORTED == os.getpid() else "shared", sigchld(), subreaper.value, ended, len(strangers))
    return [text.encode()]
"#;

/// What an import does, and what a worker must find then.
const IMPORTS: [(&str, &str); 5] = [
    (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n",
        "['SigIgn'] subreaper=0 waited=gone strangers=0",
    ),
    (
        "signal.signal(signal.SIGCHLD, lambda *_: CALLED_IN.add(os.getpid()))\n",
        "['SigCgt'] subreaper=0 waited=1792 strangers=0",
    ),
    (
        "
def reap(*_):
    CALLED_IN.add(os.getpid())
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
signal.signal(signal.SIGCHLD, reap)
",
        "['SigCgt'] subreaper=0 waited=",
    ),
    (
        "
class SigAction(ctypes.Structure):
    _fields_ = [('handler', ctypes.c_void_p), ('mask', ctypes.c_ulong * 16),
                ('flags', ctypes.c_int), ('restorer', ctypes.c_void_p)]
SA_NOCLDWAIT = 2
assert LIBC.sigaction(signal.SIGCHLD, ctypes.byref(SigAction(flags=SA_NOCLDWAIT)), None) == 0
",
        "[] subreaper=0 waited=gone strangers=0",
    ),
    (
        "
PR_SET_CHILD_SUBREAPER = 36
assert LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
",
        "[] subreaper=1 waited=1792 strangers=0",
    ),
];

#[test]
fn whatever_an_app_does_about_children_it_is_served() {
    for ((import, found), (whose, preload)) in IMPORTS
        .into_iter()
        .flat_map(|case| [("own", "auto"), ("shared", "on")].map(|way| (case, way)))
    {
        let found = &format!("{whose} {found}");
        let server = Server::app("m:app")
            .file("m.py", format!("{APP}{import}"))
            .file("gunicorn.conf.py", format!("preload_app = '{preload}'"))
            .args(["-w", "2"])
            .allow("Preloading as ordered, although m.py:")
            .start();
        for _ in 0..4 {
            let text = server.get("/").text();
            assert!(text.starts_with(found), "{import}: {text}");
        }
        server.signal(Signal::SIGHUP);
        server.log().expect("Reloaded");
        let text = server.get("/").text();
        assert!(text.starts_with(found), "{import}, reloaded: {text}");
        server.stop();
    }
}

#[test]
fn a_thread_of_the_app_may_reap_every_child() {
    let import = "
import threading, time
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0005)
threading.Thread(target=reap, daemon=True).start()
";
    let server = Server::app("m:app")
        .file("m.py", format!("{APP}{import}"))
        .args(["-w", "8", "--preload"])
        .allow("Preloading as ordered, although m.py:")
        .start();
    let text = server.get("/").text();
    assert!(text.starts_with("shared [] subreaper=0 waited="), "{text}");
    server.stop();
}

#[test]
fn signals_to_all_processes_do_not_disturb_a_fork() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", "1"])
        .start();
    server.wait_workers(1);
    let ended = Arc::new(AtomicBool::new(false));
    let (group, stop) = (server.pid(), Arc::clone(&ended));
    // As `pkill -WINCH -f rcorn` does, all the time while workers are forked. The arbiter takes no
    // notice of this one.
    let sender = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            killpg(group, Signal::SIGWINCH).unwrap();
        }
    });
    for workers in 2..12 {
        server.signal(Signal::SIGTTIN);
        server.wait_workers(workers);
    }
    ended.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

#[test]
fn a_thread_that_a_hook_has_started_is_told_before_the_fork() {
    let hook = "
import threading
def when_ready(server):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
";
    let app = "
import gc
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'shared' if gc.get_freeze_count() else b'own']
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .file("gunicorn.conf.py", hook)
        .args(["-w", "2"])
        .allow("Forking workers while 1 other thread of the template runs")
        .start();
    // Who promotes a worker leaves, and the thread with it.
    server
        .log()
        .expect("Not preloading: a hook of the config file has started a thread");
    assert!(server.get("/").text().starts_with("own"));
    let ended = server.stop();
    let warnings = ended.text().matches("Forking workers while").count();
    assert_eq!(warnings, 1, "{}", ended.text());
}
