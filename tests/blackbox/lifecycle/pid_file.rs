//! The pid file.

use std::fs;

use crate::support::{APPS, Server};

#[test]
fn the_pid_file_is_the_arbiters() {
    let server = Server::app("cases:app")
        .args(["-p", "r.pid", "--pythonpath", APPS])
        .file("unused", "")
        .start();
    server.wait_workers(1);
    let path = server.directory().join("r.pid");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", server.pid())
    );
    let second = Server::app("cases:app")
        .args(["-p", path.to_str().unwrap()])
        .allow("Already running")
        .start()
        .exit();
    assert_eq!(second.code(), Some(1));
    assert!(
        second
            .text()
            .contains(&format!("Already running on PID {}", server.pid())),
        "{}",
        second.text()
    );
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_pid_file_of_a_living_process_refuses_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("pid");
    fs::write(&path, format!("{}\n", std::process::id())).unwrap();
    let server = Server::app("cases:app")
        .args(["--pid", path.to_str().unwrap()])
        .allow("Already running")
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(ended.text().contains("Already running on PID"));
}
