//! Hooks of `gunicorn.conf.py` in the workers: when each is called, and with what.

use nix::sys::signal::Signal;

use crate::support::conf::with;
use crate::support::{pythons, wait_until};

#[test]
fn every_hook_is_called_at_its_moment() {
    let server = with(include_str!("../../apps/conf/hooks.py")).start();
    server.wait_serving(1);
    let log = server.log();
    let mut wire = server.connect();
    wire.send("GET /a?b HTTP/1.1\r\nHost: a\r\nX-Asked: yes\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    log.expect("pre_request GET /a yes");
    log.expect("post_request 200 OK /a 7");
    server.signal(Signal::SIGTTIN);
    log.expect("nworkers_changed 2 1");
    server.wait_serving(2);
    server.signal(Signal::SIGHUP);
    log.expect("on_reload in");
    log.expect_count("child_exit", 2);
    let ended = server.stop();
    let text = ended.text();
    let mut at = 0;
    for next in [
        "on_starting with 1 workers",
        "nworkers_changed 1 None",
        "Server is ready. Spawning workers",
        "pre_fork [booting] age 1",
        "Booting worker with pid",
        "Worker spawned (pid: ",
        "post_worker_init True True",
        "pre_request",
        "on_reload",
        "worker_exit",
        "child_exit",
        "on_exit []",
        "Shutting down: Master",
    ] {
        let found = text[at..].find(next);
        at += found.unwrap_or_else(|| panic!("no {next:?} after {}", &text[..at]));
    }
    for once in ["on_starting", "Server is ready", "on_reload", "on_exit"] {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
    assert_eq!(
        text.matches("child_exit").count(),
        text.matches("Worker spawned").count(),
        "{text}"
    );
}

#[test]
fn a_quick_stop_calls_worker_int_and_an_upgrade_pre_exec() {
    let mut server = with(include_str!("../../apps/conf/hooks.py")).start();
    server.wait_serving(1);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Forked child, re-executing.");
    let beside = server.log().expect("Started a new arbiter (pid:");
    let pid: i32 = beside
        .split("(pid:")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    server.log().expect_count("post_worker_init", 2);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT).unwrap();
    server.log().expect("worker received INT or QUIT signal");
    server.log().expect("The new arbiter");
    server.signal(Signal::SIGINT);
    server.wait_exit();
    let ended = server.finish();
    assert!(
        ended
            .text()
            .matches("worker received INT or QUIT signal")
            .count()
            >= 2,
        "{}",
        ended.text()
    );
}

#[test]
fn stacks_are_dumped_when_a_worker_is_aborted() {
    let app = "
import time
def stuck(): time.sleep(100)
def app(environ, start_response):
    stuck()
";
    let server = with(include_str!("../../apps/conf/dumps.py"))
        .file("m.py", app)
        .allow("WORKER TIMEOUT")
        .allow("Request lost when worker")
        .allow("is hung")
        .allow("Error handling request GET /")
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.log().expect("WORKER TIMEOUT");
    server.log().expect("worker received SIGABRT signal");
    server.log().expect(", in stuck");
    assert_eq!(wire.read_reply().status, 500);
    server.stop();
}

#[test]
fn hooks_run_on_every_python() {
    for (python, version) in pythons() {
        if version < (3, 9) {
            continue;
        }
        let server = with(include_str!("../../apps/conf/hooks.py"))
            .python(&python)
            .start();
        server.wait_serving(1);
        assert_eq!(server.get("/").status, 200);
        server.log().expect("post_request 200 OK / 7");
        let ended = server.stop();
        assert!(
            ended.text().contains("on_exit []"),
            "{}: {}",
            python.display(),
            ended.text()
        );
    }
}

#[test]
fn a_process_that_a_hook_forks_is_no_second_worker() {
    let conf = "
import os
workers = 2
def post_fork(server, worker): os.fork()
def post_worker_init(worker): os.fork()
def pre_request(worker, req): os.fork()
def post_request(worker, req): os.fork()
";
    let server = with(conf).start();
    server.wait_serving(2);
    for _ in 0..8 {
        assert_eq!(server.get("/").text(), "nothing");
    }
    assert_eq!(server.workers().len(), 2);
    server.stop();
}

#[test]
fn post_request_never_sees_another_reply() {
    let app = "
def app(environ, start_response):
    if environ['QUERY_STRING'] == 'raise': raise KeyError('x')
    start_response('200 OK', [('Set-Cookie', 'secret')])
    return [b'ok']
";
    let conf = "access_log_format = '%(s)s %({set-cookie}o)s'\naccesslog = '-'\ndef post_request(worker, req, environ, resp): worker.log.info('saw %s %s', resp.status, resp.headers)\n";
    let server = with(conf)
        .file("m.py", app)
        .allow("Error handling request")
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/").status, 200);
    server.log().expect("saw 200 OK [('Set-Cookie', 'secret')");
    assert_eq!(server.get("/?raise").status, 500);
    server.log().expect("saw 500 []");
    server.log().expect("500 -");
    server.stop();
}

/// The app answers with what `objects.py` changes.
const SHOWN: &str = "
def app(environ, start_response):
    names = 'HTTP_X_ID HTTP_X_GONE HTTP_X_A PATH_INFO REQUEST_METHOD QUERY_STRING RAW_URI'
    body = ' '.join(str(environ.get(name)) for name in names.split()).encode()
    headers = [('Content-Type', 'text/plain'), ('X-A', 'b'), ('Content-Length', str(len(body)))]
    start_response('200 OK', headers)
    return [body]
";

#[test]
fn what_hooks_see_has_the_attributes_and_types_of_gunicorn() {
    for (python, _version) in pythons()
        .into_iter()
        .filter(|(_, version)| *version >= (3, 9))
    {
        let server = with(include_str!("../../apps/conf/objects.py"))
            .file("m.py", SHOWN)
            .python(python)
            .start();
        server.wait_serving(1);
        let mut wire = server.connect();
        let fields = "Host: a\r\nX-A: one\r\nX-Gone: here\r\nX-A: two\r\n\r\n";
        wire.send(format!("GET /a?b HTTP/1.1\r\n{fields}"));
        assert_eq!(wire.read_reply().text(), "17 None one,two /a GET b /a?b");
        wire.send(format!("GET /rewritten HTTP/1.1\r\n{fields}"));
        let rewritten = "17 None one,two /other place PUT a=b /rewritten";
        assert_eq!(wire.read_reply().text(), rewritten);
        let log = server.log();
        log.expect_count("17 - two|", 2);
        log.expect("nr 0 of 1");
        let headers = "[('Content-Type', 'text/plain'), ('X-A', 'b'), ('Content-Length', '29')]";
        log.expect(&format!("nr 1, {headers} 200"));
        log.expect("nr 1 of 2");
        let text = server.stop().text().to_owned();
        let looked: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("looked in"))
            .collect();
        assert_eq!(looked.len(), 13, "{looked:#?}");
        for line in looked {
            assert!(line.ends_with("as in gunicorn"), "{line}");
        }
    }
}

#[test]
fn a_hook_that_ends_its_worker_has_it_replaced_and_loses_nothing() {
    let conf = "
def post_request(worker, req, environ, resp):
    if environ['PATH_INFO'] == '/enough':
        worker.alive = False
";
    let server = with(conf).start();
    server.wait_serving(1);
    let before = server.workers();
    let mut wire = server.connect();
    let mut get = |page: &str| {
        let reply = wire.get(page);
        assert_eq!(reply.status, 200, "{page}");
        // A worker that leaves during a request may say that it is the last of its connection.
        if reply.closes() {
            wire = server.connect();
        }
    };
    get("/");
    get("/enough");
    // Without pauses, so that the order to leave comes while the connection is in use.
    wait_until(server.deadline(), "the worker is replaced", || {
        for _ in 0..20 {
            get("/");
        }
        !server.workers().contains(&before[0])
    });
    server.log().expect("a hook has set worker.alive to False");
    server.wait_gone(before[0]);
    server.wait_serving(1);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.stop().text().matches("Booting worker").count(), 2);
}

#[test]
fn the_peer_of_a_unix_socket_has_no_address() {
    let conf = "
def pre_request(worker, req):
    worker.log.info('peer %r %r', req.remote_addr, req.peer_addr)
";
    let server = with(conf).unix().start();
    assert_eq!(server.get("/").status, 200);
    server.log().expect("peer '' ''");
    server.stop();
}

#[test]
fn what_hooks_change_lets_no_field_in_that_the_environ_ignores() {
    let conf = "
forwarder_headers = ['REMOTE_USER']
def pre_request(worker, req):
    if req.path == '/add':
        req.headers.append(('X-USER', 'verified'))
    elif req.path == '/strip':
        req.headers[:] = [field for field in req.headers if field[0] not in ('X-USER', 'REMOTE-USER')]
    worker.log.info('%s has %s', req.path, [field[0] for field in req.headers])
";
    for (trusted, remote_user) in [("10.0.0.1", "nothing"), ("127.0.0.1", "proxy")] {
        let server = with(conf).args(["--forwarded-allow-ips", trusted]).start();
        let mut wire = server.connect();
        let mut ask = |target: &str, fields: &str| {
            wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            wire.read_reply().text()
        };
        let twin = "X_User: admin\r\n";
        assert_eq!(ask("/add?HTTP_X_USER", twin), "verified");
        let both = format!("X-User: a\r\n{twin}");
        assert_eq!(ask("/add?HTTP_X_USER", &both), "a,verified");
        assert_eq!(ask("/strip?HTTP_X_USER", &both), "nothing");
        let names = "Remote_User: proxy\r\nRemote-User: client\r\n";
        assert_eq!(ask("/strip?REMOTE_USER", names), remote_user);
        assert_eq!(ask("/strip?HTTP_REMOTE_USER", names), "nothing");
        let seen = if remote_user == "proxy" {
            "/strip has ['HOST', 'REMOTE_USER']"
        } else {
            "/strip has ['HOST']"
        };
        server.log().expect(seen);
        let text = server.stop().text().to_owned();
        assert!(!text.contains("X_USER"), "{text}");
    }
}

#[test]
fn what_post_fork_starts_can_be_ended_by_a_signal() {
    let conf = "
import multiprocessing, subprocess, time
def post_fork(server, worker):
    status = subprocess.check_output(['cat', '/proc/self/status']).decode().splitlines()
    mask = [line.split()[1] for line in status if line.startswith('SigBlk')]
    process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1000,))
    process.start()
    process.terminate()
    process.join(20)
    worker.log.info('blocked %s, ended by %s', mask, process.exitcode)
    process.kill()
";
    for preload in ["on", "off"] {
        let server = with(&format!("preload_app = {preload:?}\n{conf}")).start();
        server.wait_serving(1);
        server
            .log()
            .expect("blocked ['0000000000000000'], ended by -15");
        server.stop();
    }
}

#[test]
fn an_order_to_leave_during_post_fork_is_obeyed() {
    let conf = "
import os, signal
def post_fork(server, worker):
    if worker.age == 2:
        os.kill(os.getpid(), signal.SIGTERM)
        worker.log.info('%d goes on in the hook', os.getpid())
";
    for preload in ["on", "off"] {
        let server = with(&format!("preload_app = {preload:?}\n{conf}")).start();
        server.wait_serving(1);
        server.signal(Signal::SIGTTIN);
        let line = server.log().expect("goes on in the hook");
        let told = line.split(" goes on").next().unwrap();
        let told: i32 = told.rsplit(' ').next().unwrap().parse().unwrap();
        server.wait_gone(nix::unistd::Pid::from_raw(told));
        server.wait_serving(2);
        server.stop();
    }
}
