//! Lines of the access log of requests that are ready at once: they are written together, and none
//! is lost if the worker dies before.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{APPS, Gate, Server, Strace, Wire, wait_until};

/// Its requests: a gate and a death, in the call and in `close()`, and a child that goes on as if
/// it were the worker.
const APP: &str = "
import os, signal, time
import gate

class Closes:
    def __init__(self, close):
        self.close = close
    def __iter__(self):
        return iter([b'ok'])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/die':
        die()
    if path == '/fork':
        child = os.fork()
        if child:
            os.waitpid(child, 0)
    if path == '/hold':
        gate.hold()
    if path == '/work':
        until = time.monotonic() + 0.0015
        while time.monotonic() < until: pass
    start_response('200 OK', [('Content-Length', '2')])
    if path == '/hold-in-close':
        return Closes(gate.hold)
    if path == '/die-in-close':
        return Closes(die)
    return [b'ok']
";

/// A server with one worker, and connections to it on which a request was answered. The worker is
/// stopped until [`Stopped::go_on`].
struct Stopped {
    server: Server,
    worker: Pid,
    wires: Vec<Wire>,
}

impl Stopped {
    fn new(gate: &Gate, connections: usize) -> Self {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .gate(gate)
            .args(["--pythonpath", APPS, "-w", "1", "--threads", "1"])
            .args(["--access-logfile", "access.log"])
            .args(["--access-logformat", "%(U)s %(s)s"])
            .allow("was sent SIGKILL")
            .allow("Request lost")
            .start();
        server.wait_serving(1);
        let worker = server.workers()[0];
        let mut wires: Vec<Wire> = (0..connections).map(|_| server.connect()).collect();
        for wire in &mut wires {
            assert_eq!(wire.get("/warm").status, 200);
        }
        let mut this = Self {
            server,
            worker,
            wires,
        };
        this.expect_lines(&vec!["/warm 200"; connections]);
        this
    }

    /// Stops the worker, sends these requests, one on each connection, and lets it go on.
    fn send_at_once(&mut self, targets: &[&str]) {
        kill(self.worker, Signal::SIGSTOP).unwrap();
        let stat = format!("/proc/{}/stat", self.worker);
        wait_until(self.server.deadline(), "the worker is stopped", || {
            // Under strace it is "t".
            let stat = fs::read_to_string(&stat).unwrap();
            stat.contains(") T ") || stat.contains(") t ")
        });
        for (wire, target) in self.wires.iter_mut().zip(targets) {
            wire.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        kill(self.worker, Signal::SIGCONT).unwrap();
    }

    /// Waits until the log has these lines, and no others.
    #[track_caller]
    fn expect_lines(&mut self, lines: &[&str]) {
        let log = self.server.directory().join("access.log");
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until(self.server.deadline(), "the log has all lines", || {
            read().lines().count() >= lines.len()
        });
        assert_eq!(read().lines().collect::<Vec<_>>(), lines);
    }
}

#[test]
fn lines_of_requests_that_are_ready_at_once_are_written_by_one_call() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 4);
    let strace = Strace::attach(stopped.worker, &["-e", "trace=write", "-s", "200"]);
    stopped.send_at_once(&["/a", "/b", "/c", "/d"]);
    for wire in &mut stopped.wires {
        assert_eq!(wire.read_reply().status, 200);
    }
    let warm = ["/warm 200"; 4];
    stopped.expect_lines(&[&warm[..], &["/a 200", "/b 200", "/c 200", "/d 200"]].concat());
    let calls = strace.detach();
    let together = r#""/a 200\n/b 200\n/c 200\n/d 200\n""#;
    assert!(calls.contains(together), "{calls}");
    // One by one, as they are when they come so.
    assert_eq!(stopped.wires[0].get("/e").status, 200);
    stopped.server.stop();
}

#[test]
fn lines_of_a_worker_that_dies_are_not_lost() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 4);
    stopped.send_at_once(&["/a", "/b", "/die", "/never"]);
    assert_eq!(stopped.wires[0].read_reply().status, 200);
    assert_eq!(stopped.wires[1].read_reply().status, 200);
    stopped.server.log().expect("was sent SIGKILL");
    let warm = ["/warm 200"; 4];
    let others = ["/a 200", "/b 200", "/die 500"];
    stopped.expect_lines(&[&warm[..], &others].concat());
    stopped.server.wait_serving(1);
    assert_eq!(stopped.server.get("/after").status, 200);
    stopped.expect_lines(&[&warm[..], &others, &["/after 200"]].concat());
    stopped.server.stop();
}

#[test]
fn lines_do_not_wait_for_a_request_that_takes_long() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 3);
    stopped.send_at_once(&["/a", "/b", "/hold"]);
    gate.expect(stopped.server.deadline());
    stopped.expect_lines(&["/warm 200", "/warm 200", "/warm 200", "/a 200", "/b 200"]);
    gate.open();
    assert_eq!(stopped.wires[2].read_reply().status, 200);
    stopped.server.stop();
}

/// Its response is complete, so its own line is held before `close()`, with those of others.
#[test]
fn lines_do_not_wait_for_a_close_that_takes_long() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 3);
    stopped.send_at_once(&["/a", "/hold-in-close", "/b"]);
    gate.expect(stopped.server.deadline());
    let warm = ["/warm 200"; 3];
    let others = ["/a 200", "/hold-in-close 200"];
    stopped.expect_lines(&[&warm[..], &others].concat());
    gate.open();
    assert_eq!(stopped.wires[2].read_reply().status, 200);
    stopped.expect_lines(&[&warm[..], &others, &["/b 200"]].concat());
    stopped.server.stop();
}

#[test]
fn lines_of_a_worker_that_dies_in_close_are_not_lost() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 3);
    stopped.send_at_once(&["/a", "/die-in-close", "/never"]);
    assert_eq!(stopped.wires[1].read_reply().status, 200);
    stopped.server.log().expect("was sent SIGKILL");
    let others = ["/a 200", "/die-in-close 200"];
    stopped.expect_lines(&[&["/warm 200"; 3][..], &others].concat());
    stopped.server.wait_serving(1);
    assert_eq!(stopped.server.get("/after").status, 200);
    let after = ["/warm 200", "/warm 200", "/warm 200", "/a 200"];
    stopped.expect_lines(&[&after[..], &["/die-in-close 200", "/after 200"]].concat());
    stopped.server.stop();
}

#[test]
fn lines_do_not_wait_for_all_of_many_requests() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 4);
    let strace = Strace::attach(stopped.worker, &["-e", "trace=write", "-s", "200"]);
    stopped.send_at_once(&["/a", "/work", "/b", "/c"]);
    for wire in &mut stopped.wires {
        assert_eq!(wire.read_reply().status, 200);
    }
    let lines = ["/a 200", "/work 200", "/b 200", "/c 200"];
    stopped.expect_lines(&[&["/warm 200"; 4][..], &lines].concat());
    let calls = strace.detach();
    assert!(!calls.contains(r"/work 200\n/b 200"), "{calls}");
    stopped.server.stop();
}

#[test]
fn a_forked_child_does_not_write_the_lines_of_its_parent() {
    let gate = Gate::new();
    let mut stopped = Stopped::new(&gate, 3);
    stopped.send_at_once(&["/a", "/fork", "/b"]);
    assert_eq!(stopped.wires[2].read_reply().status, 200);
    let server = stopped.server;
    let log = server.directory().join("access.log");
    wait_until(server.deadline(), "the log has the last line", || {
        fs::read_to_string(&log).unwrap().contains("/b 200\n")
    });
    let lines = fs::read_to_string(&log).unwrap();
    assert_eq!(lines.matches("/a 200\n").count(), 1, "{lines}");
    server.stop();
}
