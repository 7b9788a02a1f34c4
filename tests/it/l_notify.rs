//! Under systemd: what it is told and when (`sd_notify(3)`), the watchdog, its store of descriptors, its units. And
//! under a real supervisord.

use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::{Deadline, Gate, Notify, Server, wait_until};

#[test]
fn start_reload_and_stop_are_told() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .args(["--reload-watch", "0.1"])
        .notify(&notify)
        .start();
    let deadline = server.deadline();
    // Before the import, which may take longer than systemd's patience.
    let extend = notify.expect("EXTEND_TIMEOUT_USEC=", deadline);
    assert_eq!(extend, "EXTEND_TIMEOUT_USEC=130000000");
    notify.expect("READY=1", deadline);
    server.wait_workers(1);
    let before = monotonic_microseconds();
    server.signal(Signal::SIGHUP);
    let reloading = notify.next(deadline);
    let mut lines = reloading.lines();
    assert_eq!(lines.next(), Some("RELOADING=1"), "{reloading}");
    let moment = lines
        .next()
        .unwrap()
        .strip_prefix("MONOTONIC_USEC=")
        .unwrap();
    let moment: u128 = moment.parse().unwrap();
    assert!(before <= moment && moment <= monotonic_microseconds());
    notify.expect("EXTEND_TIMEOUT_USEC=", deadline);
    let over = notify.next(deadline);
    assert_eq!(
        over.trim(),
        "READY=1\nSTATUS=Reloaded: generation 2 serves."
    );
    server.signal(Signal::SIGTERM);
    notify.expect("STOPPING=1", deadline);
    assert_eq!(
        notify.expect("EXTEND_TIMEOUT_USEC=", deadline),
        "EXTEND_TIMEOUT_USEC=40000000"
    );
    assert_eq!(server.exit().code(), Some(0));
}

fn monotonic_microseconds() -> u128 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(now).as_micros()
}

#[test]
fn a_failed_reload_is_told_too() {
    let notify = Notify::new();
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n";
    let server = Server::app("m:app")
        .file("m.py", app)
        .notify(&notify)
        .allow("Exception in worker process")
        .allow("Traceback")
        .allow("eload")
        .allow("broken on purpose")
        .start();
    notify.expect("READY=1", server.deadline());
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    server.signal(Signal::SIGHUP);
    notify.expect("RELOADING=1", server.deadline());
    notify.expect("READY=1", server.deadline());
    server.stop();
    assert_eq!(
        notify.next(Deadline::after(Duration::from_secs(5))).trim(),
        "STOPPING=1\nSTATUS=Stopping"
    );
}

#[test]
fn the_watchdog_gets_a_sign_of_life_from_the_loop_that_serves() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .notify(&notify)
        .env("WATCHDOG_USEC", "200000")
        .start();
    for _ in 0..5 {
        notify.expect("WATCHDOG=1", server.deadline());
    }
    // A loop that stands still gives none.
    server.signal(Signal::SIGSTOP);
    while notify.hears_within(Duration::from_millis(500)) {}
    server.signal(Signal::SIGCONT);
    notify.expect("WATCHDOG=1", server.deadline());
    server.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let notify = Notify::new();
    let server = Server::app("cases:app")
        .notify(&notify)
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    notify.expect("READY=1", server.deadline());
    assert!(!notify.hears_within(Duration::from_millis(500)));
    server.stop();
}

#[test]
fn sockets_in_systemds_store_keep_their_queue_over_a_restart() {
    let notify = Notify::new();
    let folder = tempfile::TempDir::new().unwrap();
    let bind = format!("unix:{}", folder.path().join("web").display());
    let first = Server::app("cases:app")
        .unbound()
        .args(["--bind", &bind])
        .notify(&notify)
        .env("FDSTORE", "8")
        .start();
    let (state, stored) = notify.next_with_descriptor(first.deadline());
    assert_eq!(state, "FDSTORE=1\nFDNAME=rcorn");
    let stored = stored.expect("a socket");
    first.wait_workers(1);
    first.stop();
    // Nobody serves; the client waits in the queue.
    let place = crate::support::Place::Unix(folder.path().join("web"));
    let mut wire = crate::support::Wire::connect(&place);
    wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    let shell = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=rcorn exec {} --bind {bind} --chdir {}/tests/apps cases:app",
        stored.as_raw_fd(),
        env!("CARGO_BIN_EXE_rcorn"),
        env!("CARGO_MANIFEST_DIR"),
    );
    let second = Server::without_app()
        .program(["/bin/bash", "-c", &shell])
        .unbound()
        .inherit(stored.as_raw_fd())
        .start();
    assert_eq!(wire.read_reply().status, 200);
    second.stop();
}

#[test]
fn systemds_sockets_stay_over_reloads_and_upgrades() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = crate::support::Place::Tcp(listener.local_addr().unwrap());
    let shell = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --reload-watch 0.1 --upgrade in-place --bind 127.0.0.1:1 --chdir {}/tests/apps cases:app",
        listener.as_raw_fd(),
        env!("CARGO_BIN_EXE_rcorn"),
        env!("CARGO_MANIFEST_DIR"),
    );
    let server = Server::without_app()
        .program(["/bin/bash", "-c", &shell])
        .unbound()
        .inherit(listener.as_raw_fd())
        .start();
    let asks = || crate::support::Wire::connect(&place).get("/hello").status;
    assert_eq!(asks(), 200);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(asks(), 200);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 3 serves.");
    assert_eq!(asks(), 200);
    assert!(!server.ctl(&["status"]).done().contains("127.0.0.1:1\n"));
    server.stop();
}

#[test]
fn mainpid_moves_with_an_upgrade() {
    let notify = Notify::new();
    let mut server = Server::app("cases:app").notify(&notify).start();
    notify.expect("READY=1", server.deadline());
    server.wait_workers(1);
    server.signal(Signal::SIGUSR2);
    let line = notify.expect("MAINPID=", server.deadline());
    let successor: i32 = line.trim_start_matches("MAINPID=").parse().unwrap();
    assert_ne!(successor, server.pid().as_raw());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    let successor = nix::unistd::Pid::from_raw(successor);
    server.log().expect("Master has been promoted.");
    kill(successor, Signal::SIGTERM).unwrap();
    server.wait_gone(successor);
    server.finish();
}

#[test]
fn a_long_import_does_not_stop_the_loop() {
    let gate = Gate::new();
    let notify = Notify::new();
    let server = Server::app("m:app")
        .file("m.py", "import gate\ngate.hold()\nfrom cases import app\n")
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        )
        .gate(&gate)
        .notify(&notify)
        .env("WATCHDOG_USEC", "200000")
        .start();
    gate.expect(server.deadline());
    notify.expect("WATCHDOG=1", server.deadline());
    notify.expect("WATCHDOG=1", server.deadline());
    gate.open();
    notify.expect("READY=1", server.deadline());
    server.stop();
}

#[test]
fn the_units_are_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(
            ["rcorn@example.service", "rcorn@example.socket"]
                .map(|unit| format!("{folder}/{unit}")),
        )
        .env("SYSTEMD_UNIT_PATH", format!("{folder}:"))
        .output()
        .expect("systemd-analyze (Debian: systemd); .ci/run installs it");
    let text = String::from_utf8(output.stderr).unwrap();
    // Where rcorn is not installed its path cannot be executable; nothing else may be said.
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("rcorn") && !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(!text.contains("Failed to load"), "{text}");
}

/// Writes a configuration with the entry of `packaging/supervisor`, for an address that it gives.
fn supervisor_configuration(folder: &std::path::Path) -> std::net::SocketAddr {
    let at = |name: &str| folder.join(name).display().to_string();
    let entry = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/supervisor/rcorn.conf"
    ))
    .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let command = format!(
        "command={} -w 2 --bind {address} --reload-watch 0.1 --pid {} cases:app",
        env!("CARGO_BIN_EXE_rcorn"),
        at("pid")
    );
    let apps = concat!("directory=", env!("CARGO_MANIFEST_DIR"), "/tests/apps");
    let entry: Vec<&str> = entry
        .lines()
        .filter(|line| !line.starts_with("user="))
        .map(|line| match line.split('=').next() {
            Some("command") => command.as_str(),
            Some("directory") => apps,
            _ => line,
        })
        .collect();
    let text = format!(
        "[supervisord]\nnodaemon=true\npidfile={}\nlogfile={}\n[unix_http_server]\nfile={}\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix://{}\n{}\n",
        at("supervisord.pid"),
        at("supervisord.log"),
        at("ctl"),
        at("ctl"),
        entry.join("\n")
    )
    .replace("/var/log/rcorn", &folder.display().to_string());
    std::fs::write(folder.join("conf"), text).unwrap();
    address
}

#[test]
fn a_real_supervisord_starts_reloads_restarts_and_stops_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let address = supervisor_configuration(folder.path());
    let supervisord = Server::without_app()
        .program(["supervisord", "-c", &at("conf")])
        .unbound()
        .patience(Duration::from_mins(1))
        .start();
    let deadline = supervisord.deadline();
    let supervisor = |words: &[&str]| {
        let output = Command::new("supervisorctl")
            .args(["-c", &at("conf")])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let place = crate::support::Place::Tcp(address);
    let answers = || {
        crate::support::Wire::try_connect(&place).is_ok_and(|mut wire| {
            wire.try_send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
                .is_ok()
                && wire
                    .try_read_reply(false)
                    .is_ok_and(|reply| reply.status == 200)
        })
    };
    let pid = || std::fs::read_to_string(at("pid")).unwrap_or_default();
    wait_until(deadline, "it serves", answers);
    let first = pid();
    wait_until(deadline, "startsecs are over", || {
        supervisor(&["status"]).contains("RUNNING")
    });
    supervisor(&["signal", "HUP", "rcorn"]);
    wait_until(deadline, "it reloads", || {
        crate::support::ctl(&["--pid", first.trim(), "status"])
            .out
            .contains("generation 2 serves")
    });
    assert!(supervisor(&["restart", "rcorn"]).contains("started"));
    wait_until(deadline, "it serves again", || answers() && pid() != first);
    let second = pid();
    let number = nix::unistd::Pid::from_raw(second.trim().parse().unwrap());
    kill(number, Signal::SIGKILL).unwrap();
    wait_until(deadline, "it is back after a crash", || {
        answers() && pid() != second && !pid().is_empty()
    });
    let children =
        crate::support::children(nix::unistd::Pid::from_raw(pid().trim().parse().unwrap()));
    assert!(supervisor(&["stop", "rcorn"]).contains("stopped"));
    assert!(!answers());
    for child in children {
        assert!(
            kill(child, None).is_err(),
            "a process is left after the stop"
        );
    }
    supervisord.stop();
}
