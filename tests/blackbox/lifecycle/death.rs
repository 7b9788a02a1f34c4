//! Workers, templates and arbiters that are killed or stopped, and processes that the app forks.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::resources::Footprint;
use crate::support::{
    Connections, Deadline, Gate, Load, Need, Pidfd, Place, Random, Server, Wire, lacks_for,
    wait_until,
};

#[test]
fn a_killed_worker_is_replaced_at_once_while_others_serve() {
    let server = Server::app("cases:app")
        .args(["-w", "4"])
        .allow("was sent SIGKILL")
        .allow("Request lost when worker")
        .allow("is hung")
        .start();
    server.wait_serving(4);
    let workers = server.workers();
    for victim in workers.iter().take(3) {
        kill(*victim, Signal::SIGKILL).unwrap();
        wait_until(server.deadline(), "a replacement", || {
            let now = server.workers();
            now.len() == 4 && !now.contains(victim)
        });
        assert_eq!(server.get("/hello").status, 200);
    }
    server.log().expect_count("was sent SIGKILL!", 3);
    // At once: no back-off came in between.
    assert_eq!(server.log().count("Workers exit too soon"), 0);
    server.stop();
}

#[test]
fn a_killed_template_is_replaced_and_workers_serve_on() {
    let server = Server::app("cases:app")
        .args(["-w", "2"])
        .allow("was sent SIGKILL")
        .allow("Cannot fork")
        .start();
    // Before one serves, the end of a template ends the server.
    server.wait_serving(2);
    let template = server.titled("rcorn: template")[0];
    kill(template, Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "a new template", || {
        server
            .titled("rcorn: template")
            .first()
            .is_some_and(|new| *new != template)
    });
    let workers = server.wait_workers(2);
    kill(workers[0], Signal::SIGKILL).unwrap();
    wait_until(server.deadline(), "a new worker", || {
        let now = server.workers();
        now.len() == 2 && !now.contains(&workers[0])
    });
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

#[test]
fn a_killed_arbiter_takes_its_processes_along_and_frees_the_port() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    let workers = server.wait_workers(2);
    let template = server.titled("rcorn: template")[0];
    let ends: Vec<Pidfd> = workers
        .iter()
        .chain([&template])
        .map(|pid| Pidfd::open(*pid).unwrap())
        .collect();
    kill(server.pid(), Signal::SIGKILL).unwrap();
    for end in &ends {
        assert!(
            end.wait(Deadline::after(Duration::from_secs(5))),
            "a process outlives its arbiter"
        );
    }
    server.kill();
}

/// What takes back the wish for a signal at the parent's death: the app, or a change of the user.
#[test]
fn a_killed_arbiter_takes_along_workers_whatever_their_import_has_done() {
    let mut imports = vec![
        "import ctypes; ctypes.CDLL(None).prctl(1, 0)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        "import signal; signal.signal(signal.SIGTERM, lambda *arguments: None)",
    ];
    if !lacks_for("a change of the user at import", &[Need::Root]) {
        imports.push("import os; os.setgid(65534); os.setuid(65534)");
    }
    for import in imports {
        let app = format!("{import}\ndef app(environ, start_response): pass\n");
        let server = Server::app("m:app")
            .file("m.py", app)
            .args(["-w", "2"])
            .start();
        server.wait_serving(2);
        let workers = server.wait_workers(2);
        kill(server.pid(), Signal::SIGKILL).unwrap();
        for worker in workers {
            server.wait_gone(worker);
        }
        server.kill();
    }
}

#[test]
fn an_arbiter_killed_during_a_request_frees_the_port_for_the_next() {
    let gate = Gate::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let start = |gate: &Gate| {
        Server::app("cases:app")
            .unbound()
            .args(["--bind", &address.to_string()])
            .gate(gate)
            .start()
    };
    let first = start(&gate);
    let worker = first.wait_workers(1)[0];
    let place = Place::Tcp(address);
    let mut wire = Wire::connect(&place);
    wire.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(first.deadline());
    let end = Pidfd::open(worker).unwrap();
    kill(first.pid(), Signal::SIGKILL).unwrap();
    // The request in hand is not finished; the port is free for the next arbiter at once all the
    // same.
    wait_until(first.deadline(), "the port is free", || {
        std::net::TcpListener::bind(address).is_ok()
    });
    let second = start(&gate);
    second.wait_workers(1);
    second.log().expect("Listening at: http://");
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    assert!(end.wait(second.deadline()));
    assert_eq!(Wire::connect(&place).get("/hello").status, 200);
    assert_eq!(second.log().count("Connection in use"), 0);
    second.stop();
    first.kill();
}

/// An arbiter that is gone ends nobody: the worker ends by itself what it cannot finish.
#[test]
fn an_arbiter_killed_during_a_request_that_hangs_leaves_no_process() {
    let hang = "
import itertools, time
def app(environ, start_response):
    environ['wsgi.errors'].write('begun\\n')
    try:
        if environ['PATH_INFO'] == '/c':
            sum(itertools.repeat(0))
        while True:
            time.sleep(0.01)
    finally:
        print('unwound', file=environ['wsgi.errors'], flush=True)
";
    for (path, threads, unwinds) in [("/", "1", 1), ("/c", "1", 0), ("/", "4", 1), ("/c", "4", 0)] {
        let server = Server::app("m:app")
            .file("m.py", hang)
            .args(["--threads", threads])
            .args(["--graceful-timeout", "1", "--abort-timeout", "1"])
            .start();
        let worker = server.wait_workers(1)[0];
        let mut wire = server.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        server.log().expect("begun");
        let end = Pidfd::open(worker).unwrap();
        kill(server.pid(), Signal::SIGKILL).unwrap();
        assert!(end.wait(server.deadline()), "{path}, {threads} threads");
        server.log().expect_end();
        let unwound = server.log().count("unwound");
        assert_eq!(unwound, unwinds, "{path}, {threads} threads");
        server.kill();
    }
}

#[test]
fn a_process_that_the_app_forks_never_serves() {
    let app = "
import os, sys
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/exits' and os.fork() == 0:
        sys.exit(3)
    if path == '/raises' and os.fork() == 0:
        raise RuntimeError('in the child')
    if path == '/returns' and os.fork() == 0:
        start_response('200 OK', [])
        return [b'from the child']
    if path != '/':
        assert os.wait()[1] >= 0
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .allow("Exception in a process that the app forked")
        .start();
    let worker = server.wait_workers(1)[0].to_string();
    let mut wire = server.connect();
    for target in ["/exits", "/raises", "/returns", "/"] {
        assert_eq!(wire.get(target).text(), worker, "{target}");
    }
    server.log().expect("RuntimeError: in the child");
    server.stop();
}

#[test]
fn a_stopped_idle_worker_is_replaced() {
    let server = Server::app("cases:app")
        .args(["-t", "1"])
        .allow("WORKER TIMEOUT")
        .allow("is hung")
        .allow("was killed because")
        .start();
    server.wait_serving(1);
    let worker = server.workers()[0];
    kill(worker, Signal::SIGSTOP).unwrap();
    assert_eq!(server.get("/hello").status, 200);
    server.wait_gone(worker);
    server.stop();
}

#[test]
fn two_hundred_kills_lose_only_what_the_killed_held() {
    let server = Server::app("cases:app")
        .args(["-w", "4"])
        .allow("was sent SIGKILL")
        .allow("Request lost when worker")
        .allow("Cannot fork")
        .patience(Duration::from_mins(5))
        .start();
    server.wait_serving(4);
    let before = Footprint::of(server.pid());
    let each = Load::start(server.place(), "/hello", 4, Connections::Each);
    let mut random = Random(0x5eed);
    for turn in 0..200_usize {
        let victims = if turn % 10 == 9 {
            server.titled("rcorn: template")
        } else {
            server.workers()
        };
        let Some(victim) = random.choose(&victims) else {
            continue;
        };
        // It may have ended since.
        kill(victim, Signal::SIGKILL).ok();
        server.wait_gone(victim);
        server.wait_workers(4);
    }
    let tally = each.stop();
    // One request in hand each, and what its kernel queue held of requests that it had accepted.
    assert!(
        tally.failed.len() <= 200,
        "{} of {}: {:?}",
        tally.failed.len(),
        tally.ok,
        tally.failed.first()
    );
    assert_eq!(tally.refused, 0);
    before.assert_as_before(&server, 4);
    server.stop();
}

/// Kills its worker, here or there.
const KILLS: &str = "
import os, signal

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

class Closes(list):
    def close(self):
        kill()

def parts(framing):
    yield b'one'
    if framing == 'partial':
        kill()
    yield b'two'
    kill()

def app(environ, start_response):
    kind = environ['PATH_INFO'][1:]
    fields = [('Content-Length', '6')] if kind in ('length', 'partial') else []
    write = start_response('200 OK', fields)
    if kind == 'call':
        kill()
    if kind == 'list':
        return [b'onetwo']
    if kind == 'close':
        return Closes([b'onetwo'])
    return parts(kind)
";

#[test]
fn a_request_is_lost_only_if_its_client_has_no_whole_response() {
    let hook = "def post_request(worker, req, environ, resp):\n    import m\n    m.kill()\n";
    let server = Server::app("m:app")
        .file("m.py", KILLS)
        .file("gunicorn.conf.py", hook)
        .args(["-w", "1"])
        .allow("was sent SIGKILL")
        .allow("Request lost when worker")
        .start();
    let (lost, perhaps) = (
        "Request lost when worker (pid:",
        "ended while it sent the end of a response, which the client may have or not: GET /length ",
    );
    for (kind, is_whole, said) in [
        ("list", true, None),
        ("close", true, None),
        // The app has more to do, but the client knows that it has everything.
        ("length", true, Some(perhaps)),
        ("partial", false, Some(lost)),
        ("chunked", false, Some(lost)),
        ("call", false, Some(lost)),
    ] {
        server.wait_serving(1);
        let counts = || [lost, perhaps].map(|text| server.log().count(text));
        let (before, killed) = (counts(), server.log().count("was sent SIGKILL!"));
        let mut wire = server.connect();
        wire.send(format!("GET /{kind} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let reply = wire.try_read_reply(false);
        // Its second part may be on its way.
        let came = reply.is_ok_and(|reply| reply.text() == "onetwo");
        assert!(came == is_whole || kind == "length", "{kind}");
        server.log().expect_count("was sent SIGKILL!", killed + 1);
        server.wait_serving(1);
        let expected = [lost, perhaps].map(|text| usize::from(said == Some(text)));
        let now = counts();
        assert_eq!([now[0] - before[0], now[1] - before[1]], expected, "{kind}");
    }
    server.stop();
}
