//! A request that exceeds `timeout` ends by an exception in the app, so that its `finally` blocks
//! run; only what does not end is killed. With one thread, where the exception also ends calls that
//! block; see `hung_threads.rs` for others.

use crate::support::{Builder, Server, Wire, wait_until};

fn builder() -> Builder {
    // From a file of its own: the app writes to the current directory.
    let app = include_str!("../../apps/aborted.py");
    [
        "WORKER TIMEOUT",
        "is hung",
        "Worker (pid",
        "Request lost when worker",
        "was killed because",
        "Error handling request",
        "SystemExit",
        "Traceback",
        "RuntimeError",
        "Error in close()",
    ]
    .into_iter()
    .fold(
        Server::app("m:app").file("m.py", app).args([
            "-w",
            "2",
            "--timeout",
            "1",
            "--abort-timeout",
            "5",
            "--threads",
            "1",
        ]),
        Builder::allow,
    )
}

fn notes(server: &Server) -> Vec<String> {
    let notes = std::fs::read_to_string(server.directory().join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

fn wait_for_note(server: &Server, note: &str) {
    wait_until(server.deadline(), note, || {
        notes(server).iter().any(|line| line == note)
    });
}

fn ask(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    ));
    wire
}

#[test]
fn the_app_sees_an_exception_and_the_client_a_500() {
    let server = builder().start();
    server.wait_serving(2);
    for name in ["call", "loop", "joins", "lock", "reads", "generates"] {
        let mut wire = ask(&server, &format!("/{name}"));
        assert_eq!(wire.read_reply().status, 500, "{name}");
        wait_for_note(&server, &format!("{name}: SystemExit 1"));
        server
            .log()
            .expect(&format!("Error handling request POST /{name}"));
        server.log().expect("Worker exiting (pid: ");
        server.wait_serving(2);
    }
    // What wraps the app sees it, too; a generator hangs when it has left.
    let seen = notes(&server);
    let trackers = seen.iter().filter(|line| *line == "tracker: SystemExit 1");
    assert_eq!(trackers.count(), 5, "{seen:?}");
    assert_eq!(server.get("/").text(), "hello");
    server.stop();
}

#[test]
fn what_was_sent_is_torn_and_what_was_complete_stays() {
    let server = builder().start();
    server.wait_serving(2);
    let mut wire = ask(&server, "/streams");
    assert!(wire.expect_reset().ends_with(b"12345"));
    wait_for_note(&server, "streams: SystemExit 1");
    let mut wire = ask(&server, "/closes");
    assert_eq!(wire.read_reply().text(), "whole");
    wait_for_note(&server, "closes: SystemExit 1");
    server
        .log()
        .expect("Error in close() after request POST /closes");
    server.stop();
}

#[test]
fn what_worker_abort_raises_reaches_the_app() {
    let conf = "
def worker_abort(worker):
    worker.log.info('aborted: %s', worker.aborted)
    raise RuntimeError('raised by the hook')
def worker_exit(server, worker):
    worker.log.info('left: %s', worker.alive)
";
    let server = builder().file("gunicorn.conf.py", conf).start();
    server.wait_serving(2);
    let mut wire = ask(&server, "/answers");
    let reply = wire.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (503, "too slow"));
    assert!(reply.closes());
    wait_for_note(&server, "answers: raised by the hook");
    server.log().expect("aborted: True");
    server.log().expect("left: False");
    let mut wire = ask(&server, "/call");
    assert_eq!(wire.read_reply().status, 500);
    wait_for_note(&server, "call: RuntimeError raised by the hook");
    server.stop();
}

/// The others that the worker holds go to its siblings.
#[test]
fn an_app_that_does_not_end_is_killed_and_nobody_else_is_harmed() {
    let server = builder().args(["--abort-timeout", "1"]).start();
    server.wait_serving(2);
    let mut others: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
    for other in &mut others {
        assert_eq!(other.get("/").text(), "hello");
    }
    let workers = server.workers();
    let mut wire = ask(&server, "/swallows");
    server.log().expect("WORKER TIMEOUT (pid:");
    wait_for_note(&server, "swallows: SystemExit");
    for other in &mut others {
        assert_eq!(other.get("/").text(), "hello");
    }
    // No answer: the connection ends with the worker.
    assert!(wire.try_read_reply(false).is_err());
    wait_until(server.deadline(), "the worker is gone", || {
        server
            .workers()
            .iter()
            .filter(|pid| workers.contains(pid))
            .count()
            == 1
    });
    server.stop();
}
