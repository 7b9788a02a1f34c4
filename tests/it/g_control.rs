//! `rcorn ctl`: what a running instance is asked and told; reloads as transactions, seen through `--wait`.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Deadline, Gate, Server, ctl, wait_until};

const OLD: &str =
    "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";

fn status(server: &Server) -> Value {
    let told = server.ctl(&["--json", "status"]);
    serde_json::from_str::<Value>(told.done()).unwrap()["status"].clone()
}

fn ids(server: &Server) -> Vec<u64> {
    let status = status(server);
    let workers = status["workers"].as_array().unwrap().iter();
    workers
        .filter(|worker| worker["stage"] == "serving")
        .map(|worker| worker["id"].as_u64().unwrap())
        .collect()
}

#[test]
fn status_shows_workers_and_the_request_in_hand() {
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "2"])
        .gate(&gate)
        .start();
    server.wait_serving(2);
    let mut wire = server.connect();
    wire.send("GET /held?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let busy = gate.expect(server.deadline());
    let told = server.ctl(&["status"]);
    let text = told.done();
    for part in [
        "cases:app",
        "2 of 2 serve",
        "generation  1",
        "GET /held?x=1 HTTP/1.1 from 127.0.0.1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let seen = status(&server);
    let worker = seen["workers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|worker| worker["pid"] == busy.as_raw())
        .unwrap();
    assert!(worker["request"].as_str().unwrap().starts_with("GET /held"));
    assert_eq!(seen["state"], "running");
    // Where it is, without disturbing it.
    let told = server.ctl(&["stack", &busy.to_string()]);
    assert!(told.done().contains("in hold"), "{told:?}");
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    server.stop();
}

#[test]
fn scale_retire_reopen_and_stop() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    server.wait_workers(2);
    server.ctl(&["scale", "+1"]).done();
    server.wait_workers(3);
    server.ctl(&["scale", "1"]).done();
    server.wait_workers(1);
    server.ctl(&["scale", "2"]).done();
    server.wait_workers(2);
    for bad in ["0", "-2", "5000"] {
        assert!(
            server
                .ctl(&["scale", bad])
                .refused()
                .contains("from 1 to 4096")
        );
    }
    wait_until(server.deadline(), "two serve", || ids(&server).len() == 2);
    let before = ids(&server);
    server.ctl(&["retire", &before[0].to_string()]).done();
    wait_until(server.deadline(), "a replacement", || {
        let now = ids(&server);
        now.len() == 2 && !now.contains(&before[0])
    });
    // The retired one is out of the status before its process has ended.
    let pid = server.wait_workers(2)[0].to_string();
    server.ctl(&["retire", &pid]).done();
    wait_until(server.deadline(), "another replacement", || {
        let now = server.workers();
        now.len() == 2 && now.iter().all(|worker| worker.to_string() != pid)
    });
    assert!(
        server
            .ctl(&["retire", "999999999"])
            .refused()
            .contains("no worker with the id or pid 999999999")
    );
    assert!(
        server
            .ctl(&["stack", "1"])
            .refused()
            .contains("no worker or template")
    );
    server.ctl(&["reopen"]).done();
    assert_eq!(server.ctl(&["nonsense"]).code, 2);
    assert_eq!(server.ctl(&["scale", "many"]).code, 2);
    server.ctl(&["stop"]).done();
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_reload_that_is_waited_for_tells_how_it_ended() {
    let server = Server::app("m:app")
        .args(["-w", "2", "--reload-watch", "0.2"])
        .file("m.py", OLD)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("broken on purpose")
        .allow("eload")
        .start();
    server.wait_workers(2);
    server.write("m.py", &OLD.replace("old", "new"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.done().contains("generation 2 serves"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.refused().contains("broken on purpose"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    assert!(
        status(&server)["last_reload"]
            .as_str()
            .unwrap()
            .contains("generation 2 serves on")
    );
    server.stop();
}

#[test]
fn a_probe_must_be_answered_before_anybody_is_replaced() {
    let app = "import os\ndef app(environ, start_response):\n    status = '500 No' if environ['PATH_INFO'] == '/ready' and os.path.exists('bad') else '200 OK'\n    start_response(status, [])\n    return [environ['PATH_INFO'].encode()]\n";
    let server = Server::app("m:app")
        .args(["--reload-watch", "0.2", "--reload-probe", "/ready"])
        .file("m.py", app)
        .allow("eload")
        .start();
    let before = server.wait_workers(1);
    server.write("bad", "");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("reload_probe /ready was answered with 500"),
        "{told:?}"
    );
    assert_eq!(server.wait_workers(1), before);
    std::fs::remove_file(server.directory().join("bad")).unwrap();
    server.ctl(&["reload", "--wait"]).done();
    server.log().expect("Probe /ready was answered with 200");
    assert_ne!(server.wait_workers(1), before);
    server.stop();
}

#[test]
fn a_new_reload_replaces_one_whose_import_hangs() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .args(["--reload-watch", "0.2"])
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        )
        .file("m.py", OLD)
        .gate(&gate)
        .start();
    server.wait_workers(1);
    server.write("m.py", "import gate\ngate.hold()\n");
    server.signal(Signal::SIGHUP);
    gate.expect(server.deadline());
    assert_eq!(server.get("/").text(), "old");
    server.write("m.py", &OLD.replace("old", "new"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.done().contains("serves"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    server
        .log()
        .expect("takes the place of the one that was not ready yet");
    server.stop();
}

#[test]
fn an_app_that_dies_after_its_boot_is_taken_back() {
    let server = Server::app("m:app")
        .args(["-w", "2"])
        .file("m.py", OLD)
        .allow("exited with code 7")
        .allow("Reload taken back")
        .allow("end too soon")
        .start();
    let before = server.wait_workers(2);
    let dies = "import os, threading\nthreading.Timer(0.5, os._exit, [7]).start()\n";
    server.write("m.py", &format!("{dies}{OLD}"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.refused().contains("taken back"), "{told:?}");
    assert_eq!(server.get("/").text(), "old");
    wait_until(server.deadline(), "the old template's workers", || {
        server.workers().len() == 2 && ids(&server).len() == 2
    });
    assert!(!before.is_empty());
    server.stop();
}

#[test]
fn each_instance_has_its_own_socket_and_a_living_ones_is_not_replaced() {
    let one = Server::app("cases:app").start();
    let two = Server::app("cases:app").start();
    one.wait_workers(1);
    two.wait_workers(1);
    for server in [&one, &two] {
        assert_eq!(status(server)["pid"], server.pid().as_raw());
    }
    assert!(ctl(&["status"]).refused().contains("several instances run"));
    assert!(
        ctl(&["--pid", "1", "status"])
            .refused()
            .contains("no running instance")
    );
    one.stop();
    two.stop();

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("control");
    let path = path.to_str().unwrap();
    // A left-over of a crash is replaced.
    drop(UnixListener::bind(path).unwrap());
    let named = Server::app("cases:app")
        .args(["--control-socket", path])
        .start();
    wait_until(named.deadline(), "the named one serves", || {
        let told = ctl(&["--socket", path, "status"]);
        told.out.contains("1 of 1 serve")
    });
    let second = Server::app("cases:app")
        .args(["--control-socket", path])
        .allow("belongs to an instance that runs")
        .start()
        .exit();
    assert_eq!(second.code(), Some(1), "{}", second.text());
    assert!(
        ctl(&["--socket", path, "status"])
            .done()
            .contains("1 of 1 serve")
    );
    named.stop();
    assert!(!std::path::Path::new(path).exists());
    let none = Server::app("cases:app")
        .args(["--no-control-socket"])
        .start();
    none.wait_workers(1);
    assert!(
        none.ctl(&["status"])
            .refused()
            .contains("no running instance")
    );
    none.stop();
}

#[test]
fn another_user_is_turned_away_whatever_the_permissions() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let open: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().join("control");
    let server = Server::app("cases:app")
        .args(["--control-socket", path.to_str().unwrap()])
        .args(["--control-socket-mode", "0666"])
        .start();
    server.wait_workers(1);
    let script = format!(
        "import os, socket\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.connect({:?})\ntry:\n    s.sendall(b'{{\"stop\":{{\"quick\":true}}}}\\n')\nexcept OSError:\n    pass\nprint(s.recv(999).decode())\n",
        path.to_str().unwrap()
    );
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not allowed"), "{text:?}");
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

#[test]
fn nonsense_on_the_control_socket_hurts_nobody() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("control");
    let server = Server::app("cases:app")
        .args(["--control-socket", path.to_str().unwrap()])
        .start();
    server.wait_workers(1);
    let ask = |text: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(text).unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(ask(b"hello\n").contains("not understood"));
    assert!(ask(&[b'x'; 5000]).contains("too long"));
    // Clients that come, say nothing, and go.
    let idle: Vec<_> = (0..50)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
        .collect();
    assert!(ask(b"\"status\"\n").contains("\"ok\":true"));
    drop(idle);
    // More than there is room for, and they stay: whoever asks is still heard.
    let idle: Vec<_> = (0..80)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
        .collect();
    assert!(ask(b"\"status\"\n").contains("\"ok\":true"));
    drop(idle);
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

#[test]
fn a_daemon_is_in_the_background_once_its_address_is_bound() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let socket = at("web");
    let bind = format!("unix:{socket}");
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_rcorn"))
            .args(["--daemon", "--bind", &bind, "--pid", &at("pid")])
            .args(["--error-logfile", &at("log")])
            .args([
                "--chdir",
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
            ])
            .arg("cases:app")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let pid = std::fs::read_to_string(at("pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    let end = crate::support::Pidfd::open(pid).unwrap();
    // Its address is taken: the error is seen where it was caused.
    let second = run();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("Already running on PID"), "{told}");
    let mut wire = crate::support::Wire::connect(&crate::support::Place::Unix(socket.into()));
    assert_eq!(wire.get("/hello").status, 200);
    // WINCH lets the workers go, HUP brings them back.
    let workers = || {
        let children = crate::support::children(pid);
        let is_worker =
            |child: &&nix::unistd::Pid| crate::support::title(**child).starts_with("rcorn: worker");
        children.iter().filter(is_worker).count()
    };
    let deadline = Deadline::after(Duration::from_secs(30));
    nix::sys::signal::kill(pid, Signal::SIGWINCH).unwrap();
    wait_until(deadline, "no worker", || workers() == 0);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    wait_until(deadline, "one worker", || workers() == 1);
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(end.wait(deadline), "the daemon does not end");
    for left in ["pid", "web"] {
        assert!(!std::path::Path::new(&at(left)).exists(), "{left} is left");
    }
    let log = std::fs::read_to_string(at("log")).unwrap();
    assert!(log.contains("Shutting down: Master"), "{log}");
}

#[test]
fn a_health_check_wants_a_worker_that_serves() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", "import gate\ngate.hold()\nfrom cases import app\n")
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        )
        .gate(&gate)
        .start();
    gate.expect(server.deadline());
    let asked = server.ctl(&["status"]);
    assert!(asked.done().contains("0 of 1 serve"), "{asked:?}");
    let asked = server.ctl(&["status", "--check"]);
    assert_eq!(asked.code, 1, "{asked:?}");
    gate.open();
    server.wait_serving(1);
    server.ctl(&["status", "--check"]).done();
    server.stop();
}
