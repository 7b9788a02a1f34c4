//! Refork: a worker that has served becomes the template, and the others are replaced by forks of
//! it.

use std::fs;
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    APPS, Builder, Connections, Gate, Load, Server, Told, Wire, ctl, get, wait_until,
};

/// What requests have loaded is in `CACHE`; the answer tells the pid that did it. `/KIND` does what
/// must not be shared.
const APP: &str = "
import atexit, os
CACHE = []
KEPT = []

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/warm':
        CACHE.append(os.getpid())
    elif path != '/':
        KEPT.append(globals()[path[1:]]())
    start_response('200 OK', [])
    return [b'%d %d' % (CACHE[0] if CACHE else 0, os.getpid())]

def thread():
    import threading
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def socket():
    import socket
    return socket.socketpair()

def file():
    return open('kept', 'w')

def child():
    import subprocess
    return subprocess.Popen(['cat'], stdin=subprocess.PIPE)

def timer():
    import signal
    signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1000)

def alarm():
    import signal
    signal.signal(signal.SIGALRM, lambda *_: None)

def hangup():
    import signal
    signal.signal(signal.SIGHUP, lambda *_: None)

def memory():
    import mmap
    return mmap.mmap(-1, 4096)

def lock():
    import multiprocessing
    return multiprocessing.get_context('fork').Lock()

def orphans():
    import ctypes
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)

def end():
    atexit.register(print, 'the end of', os.getpid())
";

fn app(workers: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", workers])
        .allow("Not reforking: ")
}

/// The pid that has warmed the cache of the worker that answers, and that worker's own.
fn ask(server: &Server, target: &str) -> (i32, i32) {
    let reply = server.get(target);
    let text = reply.text();
    let (cache, own) = text.split_once(' ').unwrap();
    (cache.parse().unwrap(), own.parse().unwrap())
}

fn ask_often(server: &Server, target: &str, times: usize) {
    for _ in 0..times {
        ask(server, target);
    }
}

/// The template, when there is one alone.
pub(super) fn the_template(server: &Server) -> Pid {
    let templates = || server.titled("rcorn: template");
    wait_until(server.deadline(), "one template", || templates().len() == 1);
    templates()[0]
}

const DONE: &str = "Reforked: all workers are forks of the new template.";

/// Orders a refork, and waits until it is done. Gives the new template.
fn refork(server: &Server) -> Pid {
    let done = server.log().count(DONE);
    let told = server.ctl(&["refork"]);
    assert!(told.done().contains("is the template now"), "{told:?}");
    server.log().expect_count(DONE, done + 1);
    the_template(server)
}

#[test]
fn a_warm_worker_becomes_the_template_and_no_request_is_lost() {
    let server = app("3").start();
    server.wait_serving(3);
    let (mut before, mut old) = (server.wait_workers(3), the_template(&server));
    let kept = Load::start(server.place(), "/warm", 4, Connections::Kept);
    let each = Load::start(server.place(), "/warm", 2, Connections::Each);
    kept.wait_for(100, server.deadline());
    // Twice: the second template was forked from the first.
    for _ in 0..2 {
        let template = refork(&server);
        assert!(before.contains(&template) && template != old);
        server.wait_gone(old);
        server.wait_serving(3);
        let after = server.wait_workers(3);
        assert!(after.iter().all(|pid| !before.contains(pid)), "{after:?}");
        (before, old) = (after, template);
        kept.wait_for(100, server.deadline());
    }
    kept.stop().assert_clean();
    each.stop().assert_clean();
    // Each list begins with what the first template had.
    let (first, own) = ask(&server, "/");
    assert!(first != own && first != old.as_raw());
    let status = server.status();
    assert_eq!(status["refork"], DONE, "{status}");
    assert_eq!(status["generation"], 1);
    // What is counted is counted once.
    let counted = &status["counts"]["requests"];
    assert!(counted.as_u64().unwrap() > 300, "{counted}");
    server.stop();
}

#[test]
fn a_worker_with_threads_becomes_the_template_after_all_of_their_requests() {
    let gate = Gate::new();
    let server = Server::app("threads:app")
        .args(["-w", "1", "--threads", "4"])
        .gate(&gate)
        .start();
    let worker = server.wait_workers(1)[0];
    let mut held: Vec<Wire> = (0..4).map(|_| gate.hold(&server)).collect();
    let refork = thread::scope(|scope| {
        let refork = scope.spawn(|| server.ctl(&["refork"]));
        // Its replacement serves, and it still has four requests.
        let mut other = server.connect();
        other.send(get("/?early"));
        assert_eq!(other.read_reply().text(), "early");
        assert!(server.workers().contains(&worker));
        for _ in &held {
            gate.open();
        }
        for wire in &mut held {
            assert_eq!(wire.read_reply().text(), "held");
        }
        refork.join().unwrap()
    });
    assert!(refork.done().contains("is the template now"), "{refork:?}");
    server.log().expect(DONE);
    assert_eq!(the_template(&server), worker);
    // Those that it had as a worker are gone, and its forks have their own.
    let tasks = fs::read_dir(format!("/proc/{worker}/task")).unwrap();
    assert_eq!(tasks.count(), 1);
    server.wait_serving(1);
    let mut held: Vec<Wire> = (0..4).map(|_| gate.hold(&server)).collect();
    for _ in &held {
        gate.open();
    }
    for wire in &mut held {
        assert_eq!(wire.read_reply().text(), "held");
    }
    server.stop();
}

/// A client whose request stands at the gate.
#[test]
fn what_serving_has_left_keeps_a_worker_from_becoming_the_template() {
    let cases = [
        ("thread", "left 1 thread"),
        ("socket", "left a socket (descriptor"),
        ("file", "left kept open (descriptor"),
        ("child", "left 1 child process"),
        ("timer", "left a timer"),
        ("alarm", "changed what SIGALRM does"),
        ("hangup", "changed what SIGHUP does"),
        ("memory", "left shared memory"),
        ("lock", "left shared memory"),
        ("orphans", "changed who adopts orphans"),
        ("end", "left a function for the exit"),
    ];
    for (what, reason) in cases {
        // Python lets only the main thread install a handler.
        let is_of_main_thread = ["timer", "alarm", "hangup"].contains(&what);
        let threads = if is_of_main_thread {
            &["--threads", "1"][..]
        } else {
            &[]
        };
        let server = app("1").args(threads).start();
        let (_, worker) = ask(&server, &format!("/{what}"));
        let template = the_template(&server);
        let told = server.ctl(&["refork"]);
        let status = server.status()["refork"].to_string();
        for said in [told.refused(), &status] {
            assert!(said.contains("Not reforking: serving "), "{what}: {said}");
            assert!(said.contains(reason), "{what}: {said}");
        }
        // Its replacement serves, and what belongs to it ends with it.
        server.wait_gone(Pid::from_raw(worker));
        assert_ne!(ask(&server, "/").1, worker);
        assert_eq!(the_template(&server), template);
        if what == "end" {
            server.log().expect(&format!("the end of {worker}"));
        }
        server.stop();
    }
}

#[test]
fn an_app_that_is_not_shared_is_not_reforked() {
    let server = app("1").args(["--no-preload"]).start();
    server.wait_serving(1);
    let told = server.ctl(&["refork"]);
    assert!(told.refused().contains("preload_app is off"), "{told:?}");
    server.stop();
    let apart = format!("import threading; threading.Thread(target=print).start()\n{APP}");
    let server = app("1").file("m.py", apart).args(["--refork", "3"]).start();
    server.wait_serving(1);
    let told = server.ctl(&["refork"]);
    let reason = "the app's import is not shared";
    assert!(told.refused().contains(reason), "{told:?}");
    ask_often(&server, "/", 5);
    server.log().expect(&format!("Not reforking: {reason}"));
    server.stop();
}

#[test]
fn a_number_of_requests_leads_to_one_refork_after_each_import() {
    let server = app("1").args(["--refork", "10"]).start();
    server.wait_serving(1);
    let first = server.wait_workers(1)[0];
    ask_often(&server, "/warm", 10);
    server.log().expect(DONE);
    assert_eq!(the_template(&server), first);
    let (warm, second) = ask(&server, "/");
    assert_eq!(warm, first.as_raw());
    (0..30).for_each(|_| assert_eq!(ask(&server, "/").1, second));
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    ask_often(&server, "/warm", 10);
    server.log().expect_count(DONE, 2);
    server.stop();
}

#[test]
fn workers_of_the_new_template_are_workers_like_others() {
    let module = format!(
        "{APP}
def hang():
    import time
    while True: time.sleep(0.01)

def fork():
    pid = os.fork()
    if not pid:
        open('born', 'w').close()
        hang()
    with open('child', 'w') as file:
        file.write(str(pid))
"
    );
    let server = app("2")
        .file("m.py", module)
        .args(["--timeout", "1"])
        .allow("was sent SIGKILL")
        .allow("Request lost")
        .allow("WORKER TIMEOUT")
        .allow("is hung")
        .allow("Error handling request GET /hang")
        .start();
    server.wait_serving(2);
    let load = Load::start(server.place(), "/warm", 2, Connections::Kept);
    load.wait_for(20, server.deadline());
    let template = refork(&server);
    load.stop().assert_clean();
    // One that dies is forked from it.
    let dead = server.wait_workers(2)[0];
    kill(dead, Signal::SIGKILL).unwrap();
    server.log().expect("was sent SIGKILL");
    server.wait_serving(2);
    assert_eq!(the_template(&server), template);
    // TERM reaches them, and ABRT ends a request.
    let one = server.wait_workers(2)[0];
    kill(one, Signal::SIGTERM).unwrap();
    server.wait_gone(one);
    server.wait_serving(2);
    assert_eq!(server.get("/hang").status, 500);
    server.log().expect("ended the request that timed out");
    server.wait_serving(2);
    // What they fork has nothing of the server's.
    ask(&server, "/fork");
    let child = fs::read_to_string(server.directory().join("child")).unwrap();
    let child = Pid::from_raw(child.parse().unwrap());
    wait_until(server.deadline(), "code of the child runs", || {
        server.directory().join("born").exists()
    });
    // The child may close the file that it has just made.
    let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    for target in open.filter_map(|one| fs::read_link(one.unwrap().path()).ok()) {
        let target = target.to_string_lossy();
        assert!(!target.starts_with("socket:"), "{target}");
    }
    kill(child, Signal::SIGKILL).unwrap();
    // A reload replaces all.
    let load = Load::start(server.place(), "/", 2, Connections::Kept);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    load.wait_for(20, server.deadline());
    load.stop().assert_clean();
    server.wait_gone(template);
    assert_eq!(ask(&server, "/").0, 0, "the new code has no cache yet");
    server.stop();
}

/// A server whose only worker is to become the template, and is held in a request: with the worker,
/// the connection of that request, and what `rcorn ctl refork` will say.
fn held(gate: &Gate) -> (Server, Pid, Wire, JoinHandle<Told>) {
    let server = Server::app("gate:app")
        .args(["--pythonpath", APPS])
        .gate(gate)
        .allow("Not reforking: ")
        .allow("was sent SIGKILL")
        .allow("Request lost")
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET /call HTTP/1.1\r\nHost: x\r\n\r\n");
    let worker = gate.expect(server.deadline());
    let arbiter = server.pid().to_string();
    let told = thread::spawn(move || ctl(&["--pid", &arbiter, "refork"]));
    // Its replacement serves: it is asked to leave.
    server.log().expect("is to become the template.");
    wait_until(server.deadline(), "the candidate leaves", || {
        let status = server.status();
        let workers = status["workers"].as_array().unwrap();
        workers.iter().any(|one| one["stage"] == "leaving")
    });
    (server, worker, wire, told)
}

#[test]
fn a_request_in_hand_is_finished_before_the_worker_becomes_the_template() {
    let gate = Gate::new();
    let (server, worker, mut wire, told) = held(&gate);
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    assert!(told.join().unwrap().done().contains("is the template now"));
    server.log().expect(DONE);
    assert_eq!(the_template(&server), worker);
    server.stop();
}

#[test]
fn a_reload_a_stop_or_a_death_ends_a_refork_under_way() {
    let gate = Gate::new();
    let (server, worker, mut wire, told) = held(&gate);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    let reason = "a reload replaces all workers";
    assert!(told.join().unwrap().refused().contains(reason));
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    server.wait_gone(worker);
    server.stop();

    let gate = Gate::new();
    let (server, _, mut wire, told) = held(&gate);
    server.signal(Signal::SIGTERM);
    assert!(told.join().unwrap().refused().contains("rcorn is stopping"));
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    assert_eq!(server.exit().code(), Some(0));

    let gate = Gate::new();
    let (server, worker, _wire, told) = held(&gate);
    kill(worker, Signal::SIGKILL).unwrap();
    let reason = "the worker ended before it was the template";
    assert!(told.join().unwrap().refused().contains(reason));
    server.wait_serving(1);
    server.stop();
}

#[test]
fn an_upgrade_in_place_takes_a_template_over_that_has_served() {
    let server = app("2")
        .args(["--upgrade", "in-place", "--reload-watch", "0.1"])
        .start();
    server.wait_serving(2);
    let load = Load::start(server.place(), "/warm", 2, Connections::Kept);
    load.wait_for(20, server.deadline());
    let template = refork(&server);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_gone(template);
    load.wait_for(20, server.deadline());
    refork(&server);
    load.stop().assert_clean();
    server.stop();
}

/// What `post_fork` opens and `worker_exit` closes is no obstacle.
const CONF: &str = "
preload_app = True
kept = []
def post_fork(server, worker):
    kept.append(open('opened', 'a'))
    print('post_fork', worker.pid, flush=True)
def worker_exit(server, worker):
    kept.pop().close()
    print('worker_exit', worker.pid, flush=True)
def child_exit(server, worker):
    print('child_exit', worker.pid, flush=True)
";

#[test]
fn hooks_know_a_worker_that_becomes_the_template() {
    let server = app("1")
        .file("conf.py", CONF)
        .args(["-c", "conf.py"])
        .start();
    server.wait_serving(1);
    let first = server.wait_workers(1)[0];
    ask(&server, "/warm");
    assert_eq!(refork(&server), first);
    // The one that stood in for it has left.
    server.wait_workers(1);
    let (warm, second) = ask(&server, "/");
    assert_eq!(warm, first.as_raw());
    server.log().expect(&format!("worker_exit {first}"));
    server.log().expect(&format!("post_fork {second}"));
    assert_eq!(server.log().count(&format!("child_exit {first}")), 0);
    // The next one takes its place, and it ends.
    refork(&server);
    server.log().expect(&format!("child_exit {first}"));
    assert_eq!(server.log().count(&format!("child_exit {second}")), 0);
    server.stop();
}

#[test]
fn a_template_that_has_served_and_dies_is_imported_again() {
    let server = app("2").allow("Template (pid").start();
    server.wait_serving(2);
    let load = Load::start(server.place(), "/warm", 2, Connections::Kept);
    load.wait_for(20, server.deadline());
    let template = refork(&server);
    kill(template, Signal::SIGKILL).unwrap();
    server.log().expect("Template (pid");
    wait_until(server.deadline(), "another template", || {
        let now = server.titled("rcorn: template");
        now.len() == 1 && now[0] != template
    });
    wait_until(server.deadline(), "a template with the app", || {
        server.status()["templates"][0]["stage"] == "ready"
    });
    load.wait_for(20, server.deadline());
    refork(&server);
    load.stop().assert_clean();
    server.stop();
}
