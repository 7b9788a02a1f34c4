//! Log files: reopened by USR1, and what the app prints.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};

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

/// A server that has moved its two logs away, and the path of each without `.1`.
fn with_moved_logs() -> (Server, [PathBuf; 2]) {
    let server = Server::app("cases:app")
        .file("unused", "")
        .args([
            "--access-logfile",
            "access.log",
            "--error-logfile",
            "error.log",
        ])
        .args(["--pythonpath", APPS])
        .start();
    assert_eq!(server.get("/hello").status, 200);
    let logs = ["access.log", "error.log"].map(|name| server.directory().join(name));
    wait_for(&server, &logs[0], "GET /hello");
    for log in &logs {
        std::fs::rename(log, moved(log)).unwrap();
    }
    (server, logs)
}

fn moved(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

fn wait_for(server: &Server, log: &Path, text: &str) {
    wait_until(server.deadline(), text, || {
        std::fs::read_to_string(log).is_ok_and(|found| found.contains(text))
    });
}

/// Workers that were booted after this log write to it.
fn expect_new_worker_in(server: Server, logs: &[PathBuf]) {
    let exiting = "Worker exiting";
    wait_until(server.deadline(), exiting, || {
        let either = [logs[1].clone(), moved(&logs[1])];
        either
            .iter()
            .any(|log| std::fs::read_to_string(log).is_ok_and(|found| found.contains(exiting)))
    });
    assert_eq!(server.get("/pid").status, 200);
    wait_for(&server, &logs[0], "GET /pid");
    let worker = server.wait_workers(1)[0];
    wait_for(
        &server,
        &logs[1],
        &format!("Booting worker with pid: {worker}"),
    );
    server.stop();
}

#[test]
fn workers_of_a_reload_after_usr1_write_into_the_new_logs() {
    let (server, logs) = with_moved_logs();
    server.signal(Signal::SIGUSR1);
    wait_until(server.deadline(), "new logs", || {
        logs.iter().all(|log| log.exists())
    });
    server.signal(Signal::SIGHUP);
    expect_new_worker_in(server, &logs);
}

#[test]
fn hup_reopens_the_logs() {
    let (server, logs) = with_moved_logs();
    server.signal(Signal::SIGHUP);
    expect_new_worker_in(server, &logs);
}

#[test]
fn a_template_that_is_replaced_after_usr1_writes_into_the_new_logs() {
    let (server, logs) = with_moved_logs();
    server.signal(Signal::SIGUSR1);
    wait_until(server.deadline(), "new logs", || {
        logs.iter().all(|log| log.exists())
    });
    for template in server.titled("rcorn: template") {
        kill(template, Signal::SIGKILL).unwrap();
    }
    let old = server.wait_workers(1)[0];
    kill(old, Signal::SIGTERM).unwrap();
    server.wait_gone(old);
    expect_new_worker_in(server, &logs);
}

#[test]
fn an_error_log_in_json_has_an_object_on_each_line() {
    let server = Server::app("cases:app")
        .file("unused", "")
        .args(["--pythonpath", APPS])
        .args(["--log-format", "json", "--error-logfile", "e.log"])
        .allow("raised on purpose")
        .start();
    assert_eq!(server.get("/raises").status, 500);
    assert_eq!(server.get("/errors").status, 200);
    let mut wire = server.connect();
    wire.send("GET /\u{1b} HTTP/1.1\r\n\r\n");
    assert_eq!(wire.read_reply().status, 400);
    let path = server.directory().join("e.log");
    let text = || std::fs::read_to_string(&path).unwrap();
    wait_until(server.deadline(), "the refusal in the log", || {
        text().contains("begins with")
    });
    let text = text();
    server.stop();
    let mut messages = Vec::new();
    for line in text.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for member in ["time", "level", "message"] {
            assert!(value[member].is_string(), "{line}");
        }
        assert!(value["pid"].is_u64(), "{line}");
        messages.push(value["message"].as_str().unwrap().to_owned());
    }
    let find = |text: &str| messages.iter().any(|message| message.contains(text));
    for part in [
        "Listening at",
        "Booting worker with pid",
        "Error handling request GET /raises\nTraceback",
        r"begins with 'GET /\x1b HTTP/1.1'",
    ] {
        assert!(find(part), "no {part} in {text}");
    }
}
