//! No import is thrown away: the process that imports the app becomes the template, or it is the
//! first worker.

use std::fs;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::{APPS, Gate, Server, wait_until};

/// Answers whether it is shared with others: then it is frozen.
const APP: &str = "
import gc
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'shared' if gc.get_freeze_count() else b'own']
";

/// Not to be shared, because of a thread; held at the gate, and answers with its pid.
const APART: &str = "
import os, threading, gate
threading.Thread(target=threading.Event().wait, daemon=True).start()
gate.hold()
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

fn template(server: &Server) -> Vec<Pid> {
    server.titled("rcorn: template")
}

/// The template, when there is one alone.
fn the_template(server: &Server) -> Pid {
    wait_until(server.deadline(), "one template", || {
        template(server).len() == 1
    });
    template(server)[0]
}

#[test]
fn workers_are_forked_from_the_process_that_imported_the_app() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", "2"])
        .start();
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "shared");
    let first = the_template(&server);
    assert!(!server.workers().contains(&first));
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(server.get("/").text(), "shared");
    wait_until(server.deadline(), "the old template is gone", || {
        !template(&server).contains(&first)
    });
    let second = the_template(&server);
    // A worker that dies is forked from it, whatever is on the disk.
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    let before = server.wait_workers(2);
    kill(before[0], Signal::SIGTERM).unwrap();
    wait_until(server.deadline(), "another worker", || {
        let now = server.workers();
        now.len() == 2 && !now.contains(&before[0])
    });
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "shared");
    assert_eq!(the_template(&server), second);
    server.stop();
}

/// Waits until a process waits for a datagram.
fn wait_receiving(server: &Server, pid: Pid) {
    let call = format!("{} ", libc::SYS_recvfrom);
    wait_until(server.deadline(), "a process waits for orders", || {
        let now = fs::read_to_string(format!("/proc/{pid}/syscall"));
        now.is_ok_and(|now| now.starts_with(&call))
    });
}

#[test]
fn a_server_stops_though_the_fork_of_its_template_was_reported_after_its_promotion() {
    // The bare template is held before it reports the fork, and the import until the arbiter is
    // stopped, so that the arbiter finds both reports at once.
    let late = format!(
        "
import os, sys
sys.path.insert(0, {APPS:?})
import gate
bare = os.getpid()
os.register_at_fork(after_in_parent=lambda: os.getpid() == bare and gate.hold())
"
    );
    let scratch = tempfile::TempDir::new().unwrap();
    let begin = scratch.path().join("begin");
    mkfifo(&begin, Mode::S_IRWXU).unwrap();
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", format!("open({begin:?}).read(1)\n{APP}"))
        .file("late.py", late)
        .gate(&gate)
        .args(["-c", "late.py"])
        .start();
    let bare = gate.expect(server.deadline());
    kill(server.pid(), Signal::SIGSTOP).unwrap();
    let other = || template(&server).into_iter().find(|pid| *pid != bare);
    wait_until(server.deadline(), "the process that imports", || {
        other().is_some()
    });
    let promoted = other().unwrap();
    fs::write(&begin, "x").unwrap();
    wait_receiving(&server, promoted);
    gate.open();
    wait_receiving(&server, bare);
    kill(server.pid(), Signal::SIGCONT).unwrap();
    server.wait_serving(1);
    assert_eq!(the_template(&server), promoted);
    server.stop();
}

#[test]
fn a_template_that_dies_is_imported_again_while_the_workers_serve() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", "2"])
        .allow("Template (pid")
        .start();
    server.wait_serving(2);
    let workers = server.wait_workers(2);
    let first = the_template(&server);
    kill(first, Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "a template with the app", || {
        let now = template(&server);
        now.len() == 1 && now[0] != first && server.workers() == workers
    });
    kill(workers[0], Signal::SIGKILL).unwrap();
    server.log().expect("was sent SIGKILL");
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "shared");
    server.kill();
}

#[test]
fn an_import_that_must_not_be_shared_is_the_first_workers() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", APART)
        .gate(&gate)
        .args(["-w", "3", "--pythonpath", APPS])
        .start();
    let first = gate.expect(server.deadline());
    gate.open();
    // The others import while it serves.
    let mut all = vec![first];
    all.extend((1..3).map(|_| gate.expect(server.deadline())));
    assert_eq!(server.get("/").text(), first.to_string());
    gate.open();
    gate.open();
    server.wait_serving(3);
    all.sort_unstable();
    assert_eq!(server.workers(), all, "each import lives in a worker");
    // After a reload all of them import at once, because this is known.
    server.signal(Signal::SIGHUP);
    let mut again: Vec<Pid> = (0..3).map(|_| gate.expect(server.deadline())).collect();
    (0..3).for_each(|_| gate.open());
    server.log().expect("Reloaded: generation 2 serves.");
    wait_until(server.deadline(), "new workers alone", || {
        again.sort_unstable();
        server.workers() == again
    });
    server
        .log()
        .expect_count("Not preloading: m.py:3 starts a thread", 2);
    server.stop();
}

#[test]
fn what_an_import_registers_for_the_end_runs_once_for_each_worker() {
    let module = "
import atexit, os, tempfile, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
FOLDER = tempfile.TemporaryDirectory(dir='.', prefix='left-')
def end():
    with open('ends', 'a') as file:
        file.write('%d\\n' % os.getpid())
atexit.register(end)
";
    let server = Server::app("m:app")
        .file("m.py", format!("{module}{APP}"))
        .args(["-w", "2"])
        .start();
    server.wait_serving(2);
    let mut workers = server.wait_workers(2);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    workers.extend(server.wait_workers(2));
    let directory = server.directory().to_owned();
    let seen = move || {
        let text = fs::read_to_string(directory.join("ends")).unwrap_or_default();
        let mut ends: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
        ends.sort_unstable();
        let names = fs::read_dir(&directory).unwrap();
        let left = names
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("left-")
            })
            .count();
        (ends, left)
    };
    assert_eq!(seen().1, 2);
    let mut expected: Vec<i32> = workers.iter().map(|pid| pid.as_raw()).collect();
    expected.sort_unstable();
    let until = server.deadline();
    server.signal(Signal::SIGTERM);
    // The directory of the test goes with the server.
    wait_until(until, "every import has ended", || {
        seen() == (expected.clone(), 0)
    });
    server.exit();
}

#[test]
fn a_hook_that_runs_before_the_import_does_so_in_each_worker() {
    for hook in ["post_fork", "pre_fork"] {
        let hooks = format!(
            "
import os
def {hook}(server, worker):
    os.environ['FORKED'] = str(worker.age)
"
        );
        let module = "
import os
FORKED = os.environ.get('FORKED', 'none').encode()
def app(environ, start_response):
    start_response('200 OK', [])
    return [FORKED]
";
        let server = Server::app("m:app")
            .file("m.py", module)
            .file("gunicorn.conf.py", hooks)
            .start();
        server.log().expect(&format!(
            "Not preloading: the config file has {hook}, which runs before the import"
        ));
        assert_eq!(server.get("/").text(), "1", "{hook}");
        server.stop();
    }
}

#[test]
fn an_app_that_forks_at_import_is_served_once() {
    let module = "
import os
if os.fork() == 0:
    os.environ['CHILD'] = 'yes'
";
    let app = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [os.environ.get('CHILD', 'no').encode()]
";
    let server = Server::app("m:app")
        .file("m.py", format!("{module}{app}"))
        .start();
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), "no");
    }
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

/// What this process has open, without what differs from process to process.
fn descriptors(pid: Pid) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .map(|name| {
            name.to_string_lossy()
                .replace(|sign: char| sign.is_ascii_digit(), "")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_worker_has_the_same_descriptors_whatever_it_was_forked_from() {
    let serve = |way: &[&str], order: Option<(&[&str], &str)>| {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .args(["-w", "2", "--reload-watch", "0"])
            .args(way)
            .start();
        server.wait_serving(2);
        for turn in 1..=2 {
            if let Some((words, done)) = order {
                server.ctl(words).done();
                server.log().expect_count(done, turn);
            }
        }
        let seen: Vec<_> = server
            .wait_workers(2)
            .into_iter()
            .map(descriptors)
            .collect();
        server.stop();
        seen
    };
    let expected = serve(&["--no-preload"], None);
    assert_eq!(expected[0], expected[1]);
    let count = |name: &str| expected[0].iter().filter(|one| one.contains(name)).count();
    assert_eq!(count("rcorn-stack-dump"), 1, "{expected:?}");
    assert_eq!(count("rcorn-stacks"), 0, "{expected:?}");
    let refork: (&[&str], _) = (&["refork"], "Reforked: all workers are forks");
    let reload: (&[&str], _) = (&["reload"], " serves.");
    for (way, order) in [
        (&[][..], None),
        (&["--preload"], None),
        (&[], Some(reload)),
        (&["--preload"], Some(reload)),
        (&["--no-preload"], Some(reload)),
        (&[], Some(refork)),
        (&["--preload"], Some(refork)),
    ] {
        assert_eq!(serve(way, order), expected, "{way:?} {order:?}");
    }
}
