//! A request is recorded when its response is complete, before the app's `close()` and the hook
//! `post_request`: neither delays its line in the access log, counts in its duration, or takes the
//! line along when it does not return.

use std::fs;

use crate::support::{APPS, Builder, Gate, Server, Wire, wait_until};

/// `close()` does what the path says; `/list` returns what has none.
const APP: &str = "
import os, signal
import gate

class Body:
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        yield b'one'
        yield b'two'

    def close(self):
        if self.path == '/hold':
            gate.hold()
        if self.path == '/die':
            os.kill(os.getpid(), signal.SIGKILL)
        if self.path == '/hang':
            while True:
                signal.pause()
        if self.path == '/raise':
            raise RuntimeError('close on purpose')

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/short':
        start_response('200 OK', [('Content-Length', '7')])
        return Body('/die')
    start_response('202 Accepted', [('Content-Type', 'text/plain'), ('X-Word', 'w')])
    return [b'onetwo'] if path == '/list' else Body(path)
";

fn server(gate: &Gate) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .gate(gate)
        .args(["--pythonpath", APPS, "-w", "1"])
        .args(["--access-logfile", "access.log"])
        .args(["--access-logformat", "%(U)s %(s)s %(B)s %({x-word}o)s"])
}

fn ask(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (202, "onetwo"));
    wire
}

/// Waits until the access log has so many lines, and returns them.
fn lines(server: &Server, count: usize) -> Vec<String> {
    let path = server.directory().join("access.log");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    wait_until(server.deadline(), "the access log has the lines", || {
        read().lines().count() >= count
    });
    read().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_does_not_wait_for_close() {
    for threads in ["1", "4"] {
        let gate = Gate::new();
        let server = server(&gate).args(["--threads", threads]).start();
        server.wait_serving(1);
        let mut wire = ask(&server, "/hold");
        gate.expect(server.deadline());
        assert_eq!(lines(&server, 1), ["/hold 202 6 w"], "{threads}");
        // The worker is busy all the same.
        assert_eq!(server.status()["workers"][0]["requests"], 0);
        gate.open();
        assert_eq!(wire.get("/list").status, 202);
        assert_eq!(
            lines(&server, 2),
            ["/hold 202 6 w", "/list 202 6 w"],
            "{threads}"
        );
        server.stop();
    }
}

#[test]
fn a_worker_that_dies_in_close_leaves_the_line_of_the_response() {
    for threads in ["1", "4"] {
        let gate = Gate::new();
        let server = server(&gate)
            .args(["--threads", threads])
            .allow("was sent SIGKILL")
            .start();
        server.wait_serving(1);
        ask(&server, "/die");
        server.log().expect("was sent SIGKILL");
        server.wait_serving(1);
        ask(&server, "/list");
        let expected = ["/die 202 6 w", "/list 202 6 w"];
        assert_eq!(lines(&server, 2), expected, "{threads}");
        let ended = server.stop();
        assert!(!ended.text().contains("Request lost"), "{}", ended.text());
    }
}

#[test]
fn a_close_that_hangs_is_ended_and_its_request_has_one_line() {
    for threads in ["1", "4"] {
        let gate = Gate::new();
        let server = server(&gate)
            .args(["--threads", threads, "--timeout", "1"])
            .args(["--abort-timeout", "1", "--graceful-timeout", "1"])
            .allow("WORKER TIMEOUT")
            .allow("is hung")
            .allow("Error in close()")
            .allow("was killed because")
            .allow("SystemExit")
            .allow("Worker (pid")
            .start();
        server.wait_serving(1);
        let worker = server.workers()[0];
        ask(&server, "/hang");
        server.log().expect("WORKER TIMEOUT");
        server.wait_gone(worker);
        server.wait_serving(1);
        ask(&server, "/list");
        let expected = ["/hang 202 6 w", "/list 202 6 w"];
        assert_eq!(lines(&server, 2), expected, "{threads}");
        server.stop();
    }
}

#[test]
fn a_close_that_fails_is_told_of_and_its_request_has_one_line() {
    let gate = Gate::new();
    let server = server(&gate)
        .allow("Error in close() after request")
        .start();
    server.wait_serving(1);
    let mut wire = ask(&server, "/raise");
    server
        .log()
        .expect("Error in close() after request GET /raise");
    assert_eq!(wire.get("/list").status, 202);
    assert_eq!(lines(&server, 2), ["/raise 202 6 w", "/list 202 6 w"]);
    server.stop();
}

/// It is not complete: the client sees that its connection ends too early.
#[test]
fn a_response_without_its_end_is_not_recorded_before_close() {
    let gate = Gate::new();
    let server = server(&gate)
        .allow("was sent SIGKILL")
        .allow("ended while it sent the end of a response")
        .allow("Request lost when worker")
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.try_read_reply(false).is_err());
    server.log().expect("was sent SIGKILL");
    server.wait_serving(1);
    ask(&server, "/list");
    let lines = lines(&server, 1);
    assert!(!lines.iter().any(|line| line.contains("200")), "{lines:?}");
    server.stop();
}

#[test]
fn a_line_does_not_wait_for_post_request() {
    let conf = "
def post_request(worker, req, environ, resp):
    import gate
    if req.path != '/last':
        gate.hold()
";
    for path in ["/list", "/generator"] {
        let gate = Gate::new();
        let server = server(&gate).file("gunicorn.conf.py", conf).start();
        server.wait_serving(1);
        let mut wire = ask(&server, path);
        gate.expect(server.deadline());
        let line = format!("{path} 202 6 w");
        assert_eq!(lines(&server, 1), [line.as_str()]);
        gate.open();
        assert_eq!(wire.get("/last").status, 202);
        assert_eq!(lines(&server, 2), [line.as_str(), "/last 202 6 w"]);
        server.stop();
    }
}
