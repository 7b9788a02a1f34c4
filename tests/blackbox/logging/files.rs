//! Log files: reopened by USR1, and what the app prints.

use nix::sys::signal::Signal;

use crate::support::{APPS, Server, wait_until};

#[test]
fn usr1_reopens_the_logs() {
    let server = Server::app("cases:app")
        .file("unused", "")
        .args(["-w", "1"]);
    let server = server
        .args(["--access-logfile", "access.log"])
        .args(["--pythonpath", APPS])
        .start();
    assert_eq!(server.get("/hello").status, 200);
    let log = server.directory().join("access.log");
    let moved = server.directory().join("access.log.1");
    wait_until(server.deadline(), "a line in the access log", || {
        std::fs::read_to_string(&log)
            .is_ok_and(|text| text.contains("\"GET /hello HTTP/1.1\" 200 3 "))
    });
    std::fs::rename(&log, &moved).unwrap();
    server.signal(Signal::SIGUSR1);
    // The arbiter creates the file, and then tells the worker.
    let worker = server.workers()[0];
    wait_until(server.deadline(), "the worker's new access log", || {
        let mut open = std::fs::read_dir(format!("/proc/{worker}/fd"))
            .unwrap()
            .flatten();
        open.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == log))
    });
    assert_eq!(server.get("/pid").status, 200);
    wait_until(server.deadline(), "a line in the new access log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("GET /pid"))
    });
    server.stop();
}

#[test]
fn what_the_app_prints_goes_to_the_error_log() {
    let app = "
import os
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'captured' if os.path.sameopenfile(1, 2) else b'apart']
";
    for (flag, told) in [("--capture-output", "captured"), ("--no-sendfile", "apart")] {
        for preload in ["--preload", "--no-preload"] {
            let server = Server::app("m:app")
                .file("m.py", app)
                .args([flag, preload])
                .start();
            assert_eq!(server.get("/").text(), told);
            server.stop();
        }
    }
}
