//! From the command to the first answer: gunicorn's lines, and processes with titles.

use nix::sys::signal::Signal;

use crate::support::{Server, have_threads, title};

#[test]
fn start_and_stop_lines_are_gunicorns() {
    let server = Server::app("hello:app").args(["-w", "4"]).start();
    server.log().expect("[INFO] Starting rcorn 0.");
    server
        .log()
        .expect("[INFO] Listening at: http://127.0.0.1:");
    let class = if have_threads() { "gthread" } else { "sync" };
    server
        .log()
        .expect(&format!("[INFO] Using worker: {class}"));
    server
        .log()
        .expect_count("[INFO] Booting worker with pid: ", 4);
    let workers = server.wait_workers(4);
    assert_eq!(server.get("/").status, 200);
    let log = server.log().text();
    for pid in &workers {
        assert!(
            log.contains(&format!("Booting worker with pid: {pid}")),
            "{log}"
        );
    }
    // [2026-11-21 01:25:05 +0000] [19314] [INFO] …
    let first = log
        .lines()
        .find(|line| line.contains("Starting rcorn"))
        .unwrap();
    let stamp: Vec<char> = first.chars().take(28).collect();
    assert!(
        stamp.first() == Some(&'[') && stamp.get(27) == Some(&' '),
        "{first}"
    );
    server.signal(Signal::SIGINT);
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0));
    assert!(
        ended.text().contains("[INFO] Handling signal: int"),
        "{}",
        ended.text()
    );
    assert_eq!(
        ended.text().matches("Worker exiting (pid: ").count(),
        4,
        "{}",
        ended.text()
    );
    assert!(
        ended.text().contains("[INFO] Shutting down: Master"),
        "{}",
        ended.text()
    );
}

#[test]
fn titles_tell_who_is_who() {
    let server = Server::app("cases:app")
        .args(["-w", "1", "-n", "shop"])
        .start();
    let worker = server.wait_workers(1)[0];
    assert_eq!(title(worker), "rcorn: worker [shop]");
    assert_eq!(title(server.pid()), "rcorn: master [shop]");
    server.stop();
}

/// The C library asks the kernel once for each thread to keep the number of its CPU in memory
/// (rseq(2)), and a process that has no memory of its own loses that, with all that it forks.
#[test]
fn a_worker_knows_the_cpu_that_it_runs_on() {
    let app = "
import os
def app(environ, start_response):
    import ctypes
    said = ctypes.CDLL(None).sched_getcpu
    cpus = os.sched_getaffinity(0)
    wrong = []
    for cpu in cpus:
        os.sched_setaffinity(0, {cpu})
        if said() != cpu:
            wrong.append(cpu)
    os.sched_setaffinity(0, cpus)
    start_response('200 OK', [])
    return [repr(wrong).encode()]";
    let server = Server::app("m:app").file("m.py", app).start();
    assert_eq!(server.get("/").text(), "[]");
    server.stop();
}
