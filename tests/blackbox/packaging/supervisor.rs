//! The entry in `packaging/supervisor`, under a real supervisord.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use super::{free_addresses, shipped, substituted};
use crate::support::site::{pid_of, supervisorctl, supervisord};
use crate::support::{
    APPS, Connections, Load, Place, Server, Wire, children, ctl, lacks, program, wait_until,
};
use crate::tls::{Client, Pair};

/// Writes a configuration with the entry of `packaging/supervisor`, and returns the address it
/// listens on.
fn supervisor_configuration(folder: &Path) -> std::net::SocketAddr {
    let at = |name: &str| folder.join(name).display().to_string();
    let entry = fs::read_to_string(concat!(
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
    fs::write(folder.join("conf"), text).unwrap();
    address
}

/// Whether somebody serves here.
fn answers_hello(place: &Place) -> bool {
    Wire::try_connect(place).is_ok_and(|mut wire| {
        wire.try_send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            .is_ok()
            && wire
                .try_read_reply(false)
                .is_ok_and(|reply| reply.status == 200)
    })
}

#[test]
fn a_real_supervisord_starts_reloads_restarts_and_stops_it() {
    if lacks(&[program("supervisord")]) {
        return;
    }
    let folder = TempDir::new().unwrap();
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
    let place = Place::Tcp(address);
    let answers = || answers_hello(&place);
    let pid = || fs::read_to_string(at("pid")).unwrap_or_default();
    wait_until(deadline, "it serves", answers);
    let first = pid();
    wait_until(deadline, "startsecs are over", || {
        supervisor(&["status"]).contains("RUNNING")
    });
    supervisor(&["signal", "HUP", "rcorn"]);
    wait_until(deadline, "it reloads", || {
        ctl(&["--pid", first.trim(), "status"])
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
    let children = children(nix::unistd::Pid::from_raw(pid().trim().parse().unwrap()));
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

/// The entry for supervisor that is shipped, for this folder and the app of the tests.
fn entry(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    substituted(
        &shipped("supervisor/rcorn.conf"),
        &[
            ("/usr/bin/rcorn", env!("CARGO_BIN_EXE_rcorn")),
            ("--workers auto", "--workers 2 --reload-watch 0"),
            ("/run/rcorn-app", &at("")),
            ("wsgi:application", "cases:app"),
            ("/srv/app", APPS),
            ("user=www-data\n", ""),
            ("/var/log/rcorn", &at("")),
        ],
    )
}

#[test]
fn the_supervisor_entry_starts_reloads_restarts_upgrades_and_stops() {
    if lacks(&[program("supervisord")]) {
        return;
    }
    let folder = TempDir::with_prefix("rcorn-sites-").unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let supervisord = supervisord(folder.path(), &entry(folder.path()));
    let deadline = supervisord.deadline();
    let order = |words: &[&str]| supervisorctl(folder.path(), words);
    let place = Place::Unix(folder.path().join("web.sock"));
    let answers = || answers_hello(&place);
    let pid = || pid_of(folder.path(), "rcorn");
    let runs = || order(&["status", "rcorn"]).contains("RUNNING") && answers();
    let status = || ctl(&["--socket", &at("control"), "status"]).out;
    wait_until(deadline, "it has started", runs);
    let first = pid().unwrap();

    // New code, then a new build in place: supervisord sees one process, and no connection is
    // refused.
    let load = Load::start(&place, "/hello", 2, Connections::Each);
    load.wait_for(10, deadline);
    order(&["signal", "HUP", "rcorn"]);
    wait_until(deadline, "it has reloaded", || {
        status().contains("generation 2 serves")
    });
    order(&["signal", "USR2", "rcorn"]);
    wait_until(deadline, "the new build serves", || {
        fs::read_to_string(at("error.log"))
            .unwrap()
            .matches("Starting rcorn")
            .count()
            == 2
            && status().contains(" 2 of 2 serving")
    });
    load.wait_for(10, deadline);
    load.stop().assert_clean();
    assert_eq!(pid(), Some(first));

    // A crash, with all its workers gone; and a restart.
    kill(first, Signal::SIGKILL).unwrap();
    wait_until(deadline, "it is back", || {
        pid().is_some_and(|pid| pid != first) && runs()
    });
    let second = pid().unwrap();
    assert!(order(&["restart", "rcorn"]).contains("started"));
    wait_until(deadline, "it is restarted", || {
        pid().is_some_and(|pid| pid != second) && runs()
    });

    // A stop ends the requests in progress, and leaves no process.
    let members = children(pid().unwrap());
    assert!(order(&["stop", "rcorn"]).contains("stopped"));
    assert!(!answers());
    for member in members {
        assert!(kill(member, None).is_err(), "process {member} is left");
    }
    supervisord.stop();
}

/// The command for TLS, which the entry has in a comment.
#[test]
fn the_supervisor_entry_can_speak_tls() {
    if lacks(&[program("supervisord")]) {
        return;
    }
    let folder = TempDir::with_prefix("rcorn-sites-").unwrap();
    let [certificate, key] = Pair::of(&["localhost"]).write(folder.path());
    let [https, http] = free_addresses();
    let shipped = shipped("supervisor/rcorn.conf");
    let mut lines: Vec<&str> = shipped.lines().collect();
    lines.retain(|line| !line.starts_with("command=") && !line.starts_with("user="));
    let at = |name: &str| folder.path().join(name).display().to_string();
    let entry = substituted(
        &lines.join("\n").replace(";command=", "command="),
        &[
            ("/usr/bin/rcorn", env!("CARGO_BIN_EXE_rcorn")),
            ("--workers auto", "--workers 1"),
            ("https://:443", &format!("https://{https}")),
            ("--bind :80", &format!("--bind {http}")),
            ("/srv/acme", &at("")),
            ("/etc/letsencrypt/live/app/fullchain.pem", &certificate),
            ("/etc/letsencrypt/live/app/privkey.pem", &key),
            // These tests need not run as root, and the app of the tests is not www-data's.
            ("--user www-data --group www-data ", ""),
            ("/run/rcorn-app", &at("")),
            ("wsgi:application", "cases:app"),
            ("/srv/app", APPS),
            ("/var/log/rcorn", &at("")),
        ],
    );
    let supervisord = supervisord(folder.path(), &entry);
    let deadline = supervisord.deadline();
    let redirects = || {
        Wire::try_connect(&Place::Tcp(http)).is_ok_and(|mut wire| wire.get("/hello").status == 308)
    };
    wait_until(deadline, "it has started", redirects);
    let mut client = Client::at(https.port(), &[], deadline);
    assert_eq!(client.try_get("/hello").unwrap().0, 200);
    supervisorctl(folder.path(), &["stop", "rcorn"]);
    supervisord.stop();
}
