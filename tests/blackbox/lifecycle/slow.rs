//! Requests that take longer than `slow_request`: their stacks are logged while they run.

use crate::support::{Builder, Server, get};

/// Takes its time, holds the GIL, or answers at once.
const APP: &str = "
import time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/held':
        held(environ)
    if environ['PATH_INFO'] == '/greedy':
        sum(range(10 ** 12))
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
def held(environ):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        time.sleep(0.01)
";

fn server() -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .args(["--slow-request", "0.3"])
        .allow("Slow request")
        .allow("File \"")
}

#[test]
fn a_slow_request_is_logged_once_with_its_stack_while_it_runs() {
    for threads in ["1", "3"] {
        let server = server().args(["--threads", threads]).start();
        assert_eq!(server.get("/quick").status, 200);
        assert!(server.ctl(&["slow"]).done().contains("no request was slow"));
        let mut wire = server.connect();
        wire.send(get("/held?x"));
        server
            .log()
            .expect("Slow request: GET /held?x HTTP/1.1 from 127.0.0.1, for 0.");
        server.log().expect("in held");
        assert_eq!(wire.read_reply().status, 200);
        assert_eq!(server.get("/quick").status, 200);
        let last = server.ctl(&["slow"]);
        let last = last.done();
        assert_eq!(last.matches("Slow request").count(), 1, "{last}");
        assert!(
            last.contains("in held") && last.contains("in app"),
            "{last}"
        );
        assert_eq!(last.matches("most recent call first").count(), 1, "{last}");
        assert_eq!(last.contains(", thread "), threads != "1", "{last}");
        assert_eq!(server.log().count("Slow request"), 1);
        server.stop();
    }
}

#[test]
fn the_gil_is_not_needed() {
    let server = server().start();
    let mut wire = server.connect();
    wire.send(get("/greedy"));
    server.log().expect("Slow request: GET /greedy HTTP/1.1");
    server.log().expect("in app");
    server.kill();
}

#[test]
fn nothing_is_slow_unless_it_is_set() {
    let server = Server::app("m:app").file("m.py", APP).start();
    assert_eq!(server.get("/").status, 200);
    let told = server.ctl(&["slow"]);
    assert!(told.done().contains("set slow_request"));
    server.stop();
}
