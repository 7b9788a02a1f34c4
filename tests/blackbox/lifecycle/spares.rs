//! Spare workers: they have imported the app, and serve nobody until a worker is missing.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{APPS, Builder, Gate, Server, wait_until};
use crate::upgrade::read_pid;

/// Its import ends when the test says so.
const APP: &str = "
import os, time, gate
gate.hold()
def app(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        time.sleep(600)
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

/// The same, but for imports in workers that are to serve at once.
const SPARES_WAIT: &str = "
import os, gate
with open('/proc/self/cmdline', 'rb') as title:
    if b'spare' in title.read():
        gate.hold()
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

fn app(gate: &Gate) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .gate(gate)
        .args(["--pythonpath", APPS, "--no-preload", "--spare-workers", "1"])
        .allow("was sent SIGKILL")
}

/// Lets the next import through; gives its process.
fn import(server: &Server, gate: &Gate) -> Pid {
    let pid = gate.expect(server.deadline());
    gate.open();
    pid
}

/// Waits until exactly these are spare workers that have imported the app.
fn wait_spares(server: &Server, expected: &[Pid]) {
    wait_until(server.deadline(), "the spare workers", || {
        let status = server.status();
        let workers = status["workers"].as_array().unwrap().iter();
        let spares = workers.filter(|worker| worker["stage"] == "spare");
        let pids: Vec<i64> = spares.filter_map(|one| one["pid"].as_i64()).collect();
        let expected: Vec<i64> = expected.iter().map(|pid| pid.as_raw().into()).collect();
        pids == expected
    });
    assert_eq!(server.titled("rcorn: spare"), expected);
}

/// A server with one worker and one spare.
fn serving(gate: &Gate, arguments: &[&str]) -> (Server, Pid, Pid) {
    serving_with(app(gate).args(arguments), gate)
}

fn serving_with(builder: Builder, gate: &Gate) -> (Server, Pid, Pid) {
    let server = builder.start();
    let worker = import(&server, gate);
    let spare = import(&server, gate);
    wait_spares(&server, &[spare]);
    server.wait_serving(1);
    (server, worker, spare)
}

fn answers(server: &Server, pid: Pid) {
    assert_eq!(server.get("/").text(), pid.to_string());
}

/// Kills a worker once it has no request in hand.
fn kill_idle(server: &Server, pid: Pid) {
    wait_until(server.deadline(), "the worker is idle", || {
        let status = server.status();
        let mut workers = status["workers"].as_array().unwrap().iter();
        workers.any(|worker| worker["pid"] == pid.as_raw() && worker["request"].is_null())
    });
    kill(pid, Signal::SIGKILL).unwrap();
}

#[test]
fn a_spare_takes_the_place_of_a_dead_worker_though_the_import_takes_long() {
    let gate = Gate::new();
    let (server, worker, spare) = serving(&gate, &[]);
    assert!(
        server
            .ctl(&["status"])
            .done()
            .contains("1 of 1 serving, 1 of 1 spare")
    );
    (0..5).for_each(|_| answers(&server, worker));
    kill_idle(&server, worker);
    // No import ends meanwhile.
    answers(&server, spare);
    server.wait_serving(1);
    let next = gate.expect(server.deadline());
    assert_eq!(server.titled("rcorn: spare"), [next]);
    let shown = server.ctl(&["status"]);
    assert!(shown.done().contains("1 of 1 serving, 0 of 1 spare"));
    gate.open();
    wait_spares(&server, &[next]);
    // One that dies before it is needed is replaced.
    kill(next, Signal::SIGKILL).unwrap();
    let other = import(&server, &gate);
    wait_spares(&server, &[other]);
    answers(&server, spare);
    server.stop();
}

#[test]
fn a_spare_that_still_imports_is_the_next_worker() {
    let gate = Gate::new();
    let server = app(&gate).start();
    let worker = import(&server, &gate);
    let spare = gate.expect(server.deadline());
    kill(worker, Signal::SIGKILL).unwrap();
    server.log().expect("was sent SIGKILL");
    gate.open();
    answers(&server, spare);
    let next = import(&server, &gate);
    wait_spares(&server, &[next]);
    server.stop();
}

#[test]
fn one_worker_more_is_a_spare_and_one_less_leaves_it() {
    let gate = Gate::new();
    let (server, worker, spare) = serving(&gate, &[]);
    server.signal(Signal::SIGTTIN);
    server.wait_serving(2);
    assert_eq!(server.workers(), {
        let mut both = vec![worker, spare];
        both.sort_unstable();
        both
    });
    let next = import(&server, &gate);
    wait_spares(&server, &[next]);
    server.signal(Signal::SIGTTOU);
    server.wait_gone(worker);
    server.wait_serving(1);
    wait_spares(&server, &[next]);
    answers(&server, spare);
    server.stop();
}

#[test]
fn a_worker_that_retires_is_replaced_by_the_spare() {
    let gate = Gate::new();
    let (server, worker, spare) = serving(&gate, &["--max-requests", "3"]);
    (0..3).for_each(|_| answers(&server, worker));
    server.wait_gone(worker);
    answers(&server, spare);
    import(&server, &gate);
    server.stop();
}

#[test]
fn spares_belong_to_their_generation() {
    let gate = Gate::new();
    let (server, worker, spare) = serving(&gate, &["--reload-watch", "0.1"]);
    server.signal(Signal::SIGHUP);
    let second = import(&server, &gate);
    let next = import(&server, &gate);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_gone(worker);
    server.wait_gone(spare);
    wait_spares(&server, &[next]);
    answers(&server, second);
    // One that cannot be imported leaves everything as it was.
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.refused().contains("Reload failed"), "{told:?}");
    wait_spares(&server, &[next]);
    kill(second, Signal::SIGKILL).unwrap();
    answers(&server, next);
    server.kill();
}

#[test]
fn an_upgrade_in_place_knows_the_spares() {
    let gate = Gate::new();
    let (server, _, spare) = serving(&gate, &["--upgrade", "in-place", "--reload-watch", "0.1"]);
    server.signal(Signal::SIGUSR2);
    let worker = gate.expect(server.deadline());
    // The new arbiter has the old one's spare.
    wait_spares(&server, &[spare]);
    gate.open();
    let next = import(&server, &gate);
    server.log().expect("Reloaded: generation 2 serves.");
    wait_spares(&server, &[next]);
    answers(&server, worker);
    server.stop();
}

#[test]
fn two_deaths_at_once_take_one_spare_and_one_import() {
    let gate = Gate::new();
    let server = app(&gate).args(["-w", "2"]).start();
    let workers = [import(&server, &gate), import(&server, &gate)];
    let spare = import(&server, &gate);
    wait_spares(&server, &[spare]);
    server.wait_serving(2);
    for worker in workers {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    (0..5).for_each(|_| answers(&server, spare));
    import(&server, &gate);
    server.wait_serving(2);
    let next = import(&server, &gate);
    wait_spares(&server, &[next]);
    server.stop();
}

#[test]
fn a_worker_that_hangs_is_replaced_by_the_spare() {
    let gate = Gate::new();
    // With several threads the worker serves on until it is asked to unwind.
    let builder = app(&gate)
        .args(["--timeout", "1", "--threads", "1"])
        .allow("WORKER TIMEOUT")
        .allow("Worker (pid")
        .allow("is hung")
        .allow("Request lost when worker")
        .allow("Error handling request GET /hang");
    let (server, worker, spare) = serving_with(builder, &gate);
    let mut wire = server.connect();
    wire.send("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n");
    server.log().expect("WORKER TIMEOUT");
    answers(&server, spare);
    server.wait_gone(worker);
    let next = import(&server, &gate);
    wait_spares(&server, &[next]);
    server.stop();
}

#[test]
fn a_worker_that_is_too_old_or_too_large_is_replaced_by_the_spare() {
    for limit in ["--max-worker-age", "--max-worker-memory"] {
        let gate = Gate::new();
        let (server, worker, spare) = serving(&gate, &[limit, "1"]);
        // Memory is looked at after requests.
        assert_eq!(server.get("/").status, 200);
        server.wait_gone(worker);
        answers(&server, spare);
        server.stop();
    }
}

#[test]
fn a_reload_and_a_stop_end_spares_that_still_import() {
    let gate = Gate::new();
    let server = app(&gate)
        .file("m.py", SPARES_WAIT)
        .args(["--reload-watch", "0.1"])
        .start();
    let spare = gate.expect(server.deadline());
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_gone(spare);
    gate.expect(server.deadline());
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

#[test]
fn a_spare_whose_import_fails_is_tried_again_and_harms_nobody() {
    let code = SPARES_WAIT.replace("gate.hold()", "os.stat('mended')");
    let server = Server::app("m:app")
        .file("m.py", code)
        .args(["--pythonpath", APPS, "--no-preload", "--spare-workers", "1"])
        .args(["--reload-watch", "60"])
        .allow("Exception in worker process")
        .allow("Workers exit too soon")
        .start();
    server.wait_serving(1);
    // Not even a reload that is watched is taken back.
    server.signal(Signal::SIGHUP);
    wait_until(server.deadline(), "a reload that is watched", || {
        server.status()["state"] == "watching"
    });
    for _ in 0..3 {
        server.log().expect("FileNotFoundError");
    }
    assert_eq!(server.get("/").status, 200);
    let status = server.status();
    assert_eq!(status["generation"], 2);
    assert_eq!(status["wanted_spares"], 1);
    server.write("mended", "");
    wait_until(server.deadline(), "a spare worker", || {
        server.titled("rcorn: spare").len() == 1
            && server.ctl(&["status"]).done().contains("1 of 1 spare")
    });
    server.stop();
}

#[test]
fn a_spare_that_leaves_calls_worker_exit() {
    let conf = "
def worker_exit(server, worker):
    server.log.info('left: %d', worker.pid)
";
    let gate = Gate::new();
    let builder = app(&gate).file("gunicorn.conf.py", conf);
    let (server, _, spare) = serving_with(builder, &gate);
    let ended = server.stop();
    assert!(
        ended.text().contains(&format!("left: {spare}")),
        "{}",
        ended.text()
    );
}

#[test]
fn a_spare_reopens_its_logs() {
    let folder = tempfile::TempDir::new().unwrap();
    let [log, old] = ["access", "access.1"].map(|name| folder.path().join(name));
    let gate = Gate::new();
    let (server, worker, spare) = serving(&gate, &["--access-logfile", log.to_str().unwrap()]);
    fs::rename(&log, &old).unwrap();
    server.signal(Signal::SIGUSR1);
    wait_until(server.deadline(), "the log is there again", || log.exists());
    kill_idle(&server, worker);
    answers(&server, spare);
    wait_until(server.deadline(), "the spare worker's line", || {
        fs::read_to_string(&log).unwrap().contains("GET / ")
    });
    server.stop();
}

#[test]
fn arbiters_beside_each_other_have_their_own_spares() {
    let folder = tempfile::TempDir::new().unwrap();
    let pid_file = folder.path().join("pid");
    let gate = Gate::new();
    let (mut server, worker, spare) = serving(&gate, &["--pid", pid_file.to_str().unwrap()]);
    server.signal(Signal::SIGUSR2);
    let second = import(&server, &gate);
    let next = import(&server, &gate);
    let successor = read_pid(&server, &folder.path().join("pid.2"));
    wait_spares(&server, &[spare]);
    server.signal(Signal::SIGWINCH);
    server.wait_gone(worker);
    server.wait_gone(spare);
    answers(&server, second);
    server.signal(Signal::SIGTERM);
    server.wait_exit();
    server.log().expect("Master has been promoted.");
    kill(second, Signal::SIGTERM).unwrap();
    server.wait_gone(second);
    answers(&server, next);
    kill(successor, Signal::SIGTERM).unwrap();
    server.wait_gone(successor);
    server.finish();
}

#[test]
fn where_the_import_is_shared_nobody_waits() {
    let server = Server::app("hello:app")
        .args(["-w", "2", "--spare-workers", "3"])
        .start();
    server.wait_serving(2);
    server
        .log()
        .expect("No spare workers: the import is shared");
    server.signal(Signal::SIGTTIN);
    server.wait_serving(3);
    assert!(server.titled("rcorn: spare").is_empty());
    assert_eq!(server.status()["workers"].as_array().unwrap().len(), 3);
    server.stop();
}
