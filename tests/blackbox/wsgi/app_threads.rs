//! What the app's own threads, forked processes and odd objects do with an exchange: no lock of the
//! server's is held while code of the app runs, every reader comes to an end, and a child of the
//! app never speaks with its client.

use std::time::Duration;

use crate::support::Server;

use super::{post, text};

#[test]
fn start_response_may_be_called_by_what_it_is_given() {
    let server = Server::app("hostile_objects:app").args(["-w", "1"]).start();
    let mut wire = server.connect();
    for (target, expected) in [
        // What it is called by its class, or by CPython, which asks the class only with the GIL.
        ("/status-type", "the status is of type '"),
        ("/status", "bad status 'two hundred'"),
        ("/fields", "the headers are of type '"),
        ("/field", "bad header said"),
        ("/name", "bad header 'a b'"),
        ("/value", "bad header 'a'"),
        ("/good", "taken"),
        ("/good", "taken"),
        ("/status", "bad status 'two hundred'"),
    ] {
        let reply = wire.get(target);
        assert!(
            reply.text().contains(expected),
            "{target}: {}",
            reply.text()
        );
    }
    server.stop();
}

#[test]
fn two_threads_that_read_one_body_both_come_to_its_end() {
    let server = Server::app("shared_input:app").args(["-w", "1"]).start();
    let body = "a line of the body\n".repeat(500);
    let expected = format!("{} bytes, 2 ends", body.len());
    let mut wire = server.connect();
    for target in ["/read", "/all", "/line", "/lines", "/next"] {
        for chunked in [false, true] {
            let reply = post(&mut wire, target, &body, chunked);
            assert_eq!(reply, expected, "{target}, chunked: {chunked}");
        }
    }
    // The body comes while they read. It is larger than what is read before the app is called.
    let large = "a line of the body\n".repeat(60_000);
    let expected = format!("{} bytes, 2 ends", large.len());
    for target in ["/block", "/all"] {
        let mut wire = server.connect();
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            large.len()
        ));
        let (most, last) = large.as_bytes().split_at(large.len() - 4);
        wire.send(most);
        // Both wait for the last bytes, which are for one of them.
        assert!(!wire.hears_within(Duration::from_millis(300)));
        wire.send(last);
        assert_eq!(wire.read_reply().text(), expected, "{target}");
    }
    server.stop();
}

#[test]
fn a_child_of_the_app_does_not_write_to_its_client() {
    let server = Server::app("forked_child:app").args(["-w", "1"]).start();
    let mut wire = server.connect();
    for (target, expected) in [
        ("/hints", "child: 0"),
        ("/write", "child: 0"),
        ("/generator", "one child: 0"),
        ("/returned", "child: 0"),
        ("/hints", "child: 0"),
    ] {
        assert_eq!(text(&mut wire, target), expected, "{target}");
    }
    let held = text(&mut wire, "/held");
    assert_eq!(held, format!("{}child: 0", ".".repeat(200)));
    wire.send(
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let interim = wire.read_head();
    assert_eq!(interim.status, 100);
    wire.send("hello");
    assert_eq!(wire.read_reply().text(), "child: 5 hello");
    server.stop();
}

#[test]
fn a_signal_handler_of_the_app_runs_while_it_waits_for_its_client() {
    let app = "
import signal
def rings(number, frame):
    raise TimeoutError('rang')
def app(environ, start_response):
    signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        body = environ['wsgi.input'].read()
    except TimeoutError as error:
        body = str(error).encode()
    start_response('200 OK', [])
    return [body]
";
    let server = Server::app("m:app")
        .file("m.py", app)
        // Python lets only the main thread install a handler, and runs it there.
        .args(["-w", "1", "--threads", "1", "--request-buffer", "0"])
        .start();
    let mut wire = server.connect();
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell");
    // The last byte does not come.
    assert_eq!(wire.read_reply().text(), "rang");
    server.stop();
}
