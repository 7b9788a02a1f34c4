//! HUP brings back what somebody has removed while the server ran: a cleaner of `/tmp` does that.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{APPS, Place, Server, Wire, ctl, wait_until};

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket())
}

fn status(socket: &Path) -> String {
    let socket = socket.to_str().unwrap();
    ctl(&["--socket", socket, "status"]).done().to_owned()
}

#[test]
fn a_removed_control_socket_comes_back_with_its_clients() {
    let server = Server::app("cases:app")
        .args(["--control-socket", "control", "--pythonpath", APPS])
        .args(["--control-socket-mode", "0640", "--reload-watch", "0.1"])
        .file("unused", "")
        .start();
    server.wait_workers(1);
    let path = server.directory().join("control");
    wait_until(server.deadline(), "the worker serves", || {
        status(&path).contains("1 of 1 serving")
    });
    // One that is connected is served on.
    let mut early = Wire::connect(&Place::Unix(path.clone()));
    fs::remove_file(&path).unwrap();
    server.signal(Signal::SIGHUP);
    server
        .log()
        .expect("control was removed; it is made again.");
    server.log().expect("Reloaded: generation 2 serves.");
    assert!(status(&path).contains("generation 2"));
    early.send("\"status\"\n");
    early.expect_text("generation");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    server.stop();
}

#[test]
fn a_removed_control_socket_comes_back_with_its_folder_and_if_the_code_is_broken() {
    let runtime = tempfile::TempDir::new().unwrap();
    let server = Server::app("m:app")
        .env("XDG_RUNTIME_DIR", runtime.path())
        .file("m.py", "def app(environ, start_response): pass\n")
        .allow("broken on purpose")
        .start();
    server.wait_workers(1);
    let folder = runtime.path().join("rcorn");
    let path = folder.join(format!("{}.sock", server.pid()));
    assert!(is_socket(&path));
    fs::remove_dir_all(&folder).unwrap();
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGHUP);
    server.log().expect("Reload failed");
    assert!(status(&path).contains("generation 1"));
    server.stop();
}

#[test]
fn a_removed_pid_file_comes_back_and_that_of_another_stays() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("r.pid");
    let server = Server::app("cases:app")
        .args(["--reload-watch", "0.1", "-p", path.to_str().unwrap()])
        .start();
    server.wait_workers(1);
    fs::remove_file(&path).unwrap();
    server.signal(Signal::SIGHUP);
    server
        .log()
        .expect("r.pid was removed; it is written again.");
    let pid = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&path).unwrap(), pid);
    server.log().expect("Reloaded: generation 2 serves.");
    fs::write(&path, "1\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 3 serves.");
    server.stop();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
}

#[test]
fn a_removed_socket_comes_back_for_clients() {
    let server = Server::app("cases:app")
        .unbound()
        .args(["-b", "unix:s.sock", "--pythonpath", APPS, "-w", "2"])
        .args(["--reload-watch", "0.1"])
        .file("unused", "")
        .start();
    server.wait_workers(2);
    let path = server.directory().join("s.sock");
    let place = Place::Unix(path.clone());
    let mut early = Wire::connect(&place);
    assert_eq!(early.get("/hello").status, 200);
    fs::remove_file(&path).unwrap();
    assert!(Wire::try_connect(&place).is_err());
    server.signal(Signal::SIGHUP);
    server.log().expect("s.sock was removed; it is made again.");
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(Wire::connect(&place).get("/hello").status, 200);
    server.stop();
}
