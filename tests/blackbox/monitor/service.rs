//! The status address as a server: what it answers, to whom, and when it is there.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{ask, status_place};
use crate::support::{EXAMPLES, Once, Place, Server, Wire, wait_until};

#[test]
fn health_status_and_nothing_else() {
    let server = Server::app("cases:app")
        .args(["-w", "2", "--status-bind", "127.0.0.1:0"])
        .start();
    server.wait_serving(2);
    let place = status_place(&server);
    assert_eq!(ask(&place, "/healthz").text(), "ok\n");
    assert_eq!(ask(&place, "/readyz").text(), "ready\n");
    let reply = ask(&place, "/status.json");
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let mut shown: Value = serde_json::from_str(&reply.text()).unwrap();
    let mut told = server.status();
    for status in [&mut shown, &mut told] {
        for worker in status["workers"].as_array_mut().unwrap() {
            for changing in ["age", "resident", "connections"] {
                worker[changing].take();
            }
        }
    }
    assert_eq!(shown, told, "it is the document of `ctl --json status`");
    let page = ask(&place, "/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(ask(&place, "/nothing").status, 404);
    for (request, status) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            405,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            413,
        ),
        ("GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        let mut wire = Wire::connect(&place);
        wire.send(request);
        assert_eq!(wire.read_reply().status, status, "{request}");
        wire.expect_eof();
    }
    let mut wire = Wire::connect(&place);
    wire.send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.read_head().status, 200);
    wire.expect_eof();
    server.stop();
}

#[test]
fn an_address_that_others_can_reach_names_who_may_ask() {
    let once = |arguments: &[&str]| {
        let words = ["--check-config", "x:logic"].iter().chain(arguments);
        Once::rcorn(words).within(EXAMPLES).run()
    };
    for wrong in ["0.0.0.0:9090", "[::]:9090", ":9090", "10.1.2.3:9090"] {
        let told = once(&["--status-bind", wrong]);
        assert!(told.errors.contains("can be reached by others"), "{told:?}");
        assert!(told.errors.contains("--status-allow"), "{told:?}");
    }
    for wrong in [
        "example.org:9090",
        "unix:@name",
        "fd://3",
        "uwsgi://127.0.0.1:9090",
    ] {
        let told = once(&["--status-bind", wrong]);
        assert!(told.errors.contains("--status-bind: "), "{told:?}");
    }
}

#[test]
fn a_unix_socket_is_for_its_owner_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("status.sock");
    let server = Server::app("cases:app")
        .args(["--status-bind", &format!("unix:{}", path.display())])
        .args(["--upgrade", "in-place", "--reload-watch", "0.1"])
        .start();
    server.wait_serving(1);
    let place = Place::Unix(path.clone());
    assert_eq!(ask(&place, "/healthz").status, 200);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(ask(&place, "/readyz").status, 200);
    server.stop();
    assert!(!path.exists());
}

/// With `upgrade: beside` the first arbiter has the address until it ends.
#[test]
fn the_second_arbiter_takes_the_address_over_from_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("status.sock");
    let place = Place::Unix(path.clone());
    let server = Server::app("cases:app")
        .args(["--status-bind", &format!("unix:{}", path.display())])
        .start();
    server.wait_serving(1);
    let pid = |place: &Place| -> Option<i64> {
        let status: Value = serde_json::from_str(&ask(place, "/status.json").text()).ok()?;
        status["pid"].as_i64()
    };
    let first = i64::from(server.pid().as_raw());
    assert_eq!(pid(&place), Some(first));
    server.signal(Signal::SIGUSR2);
    server.log().expect("Booting worker");
    server.log().expect("Booting worker");
    assert_eq!(pid(&place), Some(first));
    server.signal(Signal::SIGQUIT);
    server.log().expect("Master has been promoted.");
    wait_until(server.deadline(), "the second one answers", || {
        Wire::try_connect(&place).is_ok() && pid(&place).is_some_and(|pid| pid != first)
    });
    let second = nix::unistd::Pid::from_raw(i32::try_from(pid(&place).unwrap()).unwrap());
    nix::sys::signal::kill(second, Signal::SIGTERM).unwrap();
    server.finish();
}
