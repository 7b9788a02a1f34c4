//! What is registered for the exit runs where it was registered: in each worker, and in a template
//! that has executed or imported it itself, after its last worker.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::refork::the_template;
use crate::support::{APPS, Builder, Gate, Once, Server, wait_until};

/// Writes down the pid of each process that ends.
const END: &str = "
import atexit, os
def end():
    with open('ends', 'a') as file:
        file.write('%d\\n' % os.getpid())
";

/// Notes the end of the process that has imported this.
const CLEANED: &str = "
import atexit, os
IMPORTER = os.getpid()
def clean():
    if os.getpid() == IMPORTER:
        open('cleaned', 'w').close()
atexit.register(clean)
";

/// Registers it in a way that is looked at, and in one that libraries share.
const REGISTERED: &str = "atexit.register(end)\n";
const LOGGING: &str = "
import logging
class Handler(logging.Handler):
    def close(self):
        end()
HANDLER = Handler()
";

const APP: &str = "
def app(environ, start_response):
    if environ['PATH_INFO'] == '/gate':
        import gate
        gate.hold()
        assert not os.path.exists('cleaned')
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

fn app(module: &[&str]) -> Builder {
    Server::app("m:app")
        .file("m.py", module.concat())
        .args(["-w", "2", "--reload-watch", "0"])
}

/// Waits until these processes, in any order, and no others have ended; the server too.
fn expect_ends(server: Server, expected: impl IntoIterator<Item = Pid>, last: Option<Pid>) {
    let mut expected: Vec<i32> = expected.into_iter().map(Pid::as_raw).collect();
    expected.sort_unstable();
    let directory = server.directory().to_owned();
    let ends = move || {
        let text = fs::read_to_string(directory.join("ends")).unwrap_or_default();
        let ends = text.lines().map(|line| line.parse().unwrap());
        ends.collect::<Vec<i32>>()
    };
    let until = server.deadline();
    server.signal(Signal::SIGTERM);
    // The directory goes with the server.
    wait_until(until, "all have ended", || ends().len() >= expected.len());
    let mut seen = ends();
    if let Some(last) = last {
        assert_eq!(seen.last(), Some(&last.as_raw()), "{seen:?}");
    }
    seen.sort_unstable();
    assert_eq!(seen, expected);
    server.exit();
}

#[test]
fn a_preloaded_import_ends_after_the_last_worker_that_has_it() {
    for (way, signal) in [
        (&[][..], Signal::SIGHUP),
        (&["--upgrade", "in-place"], Signal::SIGUSR2),
    ] {
        let gate = Gate::new();
        let server = app(&[END, REGISTERED, CLEANED, APP])
            .args(["--preload", "--pythonpath", APPS])
            .args(way)
            .allow("Preloading as ordered")
            .gate(&gate)
            .start();
        server.wait_serving(2);
        let (mut all, old) = (server.wait_workers(2), the_template(&server));
        let mut wire = server.connect();
        wire.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        let busy = gate.expect(server.deadline());
        server.signal(signal);
        server.log().expect("Reloaded: generation 2 serves.");
        // The other old worker is gone; this one keeps its import.
        for worker in all.iter().filter(|worker| **worker != busy) {
            server.wait_gone(*worker);
        }
        assert!(server.titled("rcorn: template").contains(&old));
        gate.open();
        assert_eq!(wire.read_reply().text(), busy.to_string());
        server.wait_gone(busy);
        server.wait_gone(old);
        assert!(server.directory().join("cleaned").exists());
        all.extend(server.wait_workers(2));
        let new = the_template(&server);
        all.extend([old, new]);
        expect_ends(server, all, Some(new));
    }
}

#[test]
fn what_a_library_registers_runs_in_workers_alone_when_the_import_is_shared() {
    for way in [&[][..], &["--no-preload"]] {
        let server = app(&[END, LOGGING, APP]).args(way).start();
        server.wait_serving(2);
        assert_eq!(server.log().count("Not preloading"), 0);
        let mut all = server.wait_workers(2);
        server.signal(Signal::SIGHUP);
        server.log().expect("Reloaded: generation 2 serves.");
        for worker in &all {
            server.wait_gone(*worker);
        }
        all.extend(server.wait_workers(2));
        expect_ends(server, all, None);
    }
}

#[test]
fn what_the_config_file_registers_runs_in_the_template_too() {
    let hook = "def when_ready(server):\n    ";
    for config in [
        [END, REGISTERED, hook, "pass"].concat(),
        [END, hook, REGISTERED].concat(),
        [
            END,
            "FOLDER = __import__('tempfile').TemporaryDirectory()\n",
            REGISTERED,
        ]
        .concat(),
    ] {
        let server = app(&["import os", APP])
            .file("gunicorn.conf.py", config.clone())
            .start();
        server
            .log()
            .expect("Not preloading: the config file registers a function for the exit");
        server.wait_serving(2);
        let template = the_template(&server);
        let mut all = server.wait_workers(2);
        all.push(template);
        expect_ends(server, all, Some(template));
    }
}

#[test]
fn a_worker_that_became_the_template_ends_as_the_last() {
    for (module, way) in [(LOGGING, &[][..]), (REGISTERED, &["--preload"])] {
        let server = app(&[END, module, APP])
            .args(way)
            .allow("Preloading as ordered")
            .start();
        server.wait_serving(2);
        for done in 1..=2 {
            server.ctl(&["refork"]).done();
            server.log().expect_count("Reforked: all workers", done);
        }
        let (template, log) = (the_template(&server), server.log().text());
        let booted = log
            .lines()
            .filter_map(|line| line.split_once("Booting worker with pid: "));
        let booted = booted.map(|(_, pid)| Pid::from_raw(pid.parse().unwrap()));
        // What the first of them has was handed on to the second.
        let first = |pid: &Pid| log.contains(&format!("(pid:{pid}) is the template now"));
        let all: Vec<Pid> = booted
            .filter(|pid| *pid == template || !first(pid))
            .collect();
        expect_ends(server, all, Some(template));
    }
}

#[test]
fn who_is_killed_runs_nothing_and_who_hangs_is_killed() {
    let server = app(&[END, REGISTERED, APP])
        .args(["--preload"])
        .allow("Preloading as ordered")
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(2);
    let before = the_template(&server);
    kill(before, Signal::SIGKILL).unwrap();
    server.wait_gone(before);
    let template = the_template(&server);
    let mut all = server.wait_workers(2);
    all.push(template);
    expect_ends(server, all, Some(template));
    let hang = "
import atexit, os, threading
OWN = os.getpid()
atexit.register(lambda: OWN == os.getpid() and threading.Event().wait())
";
    let server = app(&[hang, APP])
        .args(["--preload", "--graceful-timeout", "1"])
        .allow("Preloading as ordered")
        .allow("did not exit in time")
        .start();
    server.wait_serving(2);
    let ended = server.stop();
    assert!(ended.text().contains("a function for the exit may hang"));
}

#[test]
fn an_import_that_fails_or_is_only_a_check_ends_too() {
    let server = app(&[CLEANED, "raise RuntimeError('broken on purpose')"])
        .args(["--preload"])
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("Shutting down: Master")
        .allow("Reason: Worker failed to boot.")
        .start();
    let directory = server.directory().join("cleaned");
    wait_until(server.deadline(), "the import has ended", || {
        directory.exists()
    });
    assert_eq!(server.exit().code(), Some(3));

    let folder = tempfile::tempdir().unwrap();
    let threads = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n";
    let module = [CLEANED, threads, APP].concat();
    fs::write(folder.path().join("m.py"), module).unwrap();
    let check = Once::rcorn(["--check-config", "m:app"]).within(folder.path());
    check.run();
    assert!(folder.path().join("cleaned").exists());
}
