//! `rcorn ctl status` and `stack`, and health checks.

use crate::support::{Gate, Server};

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
        "2 of 2 serving",
        "generation  1",
        "GET /held?x=1 HTTP/1.1 from 127.0.0.1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let seen = server.status();
    let worker = seen["workers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|worker| worker["pid"] == busy.as_raw())
        .unwrap();
    assert!(worker["request"].as_str().unwrap().starts_with("GET /held"));
    assert_eq!(seen["state"], "running");
    assert_eq!(seen["build"]["modules"][0], "abi3-py39");
    assert!(
        seen["build"]["target"]
            .as_str()
            .unwrap()
            .contains("-linux-")
    );
    // A worker that was promoted has the interpreter of the template before it.
    let python = &seen["templates"][0]["python"];
    let version = python["version"].as_str().unwrap();
    assert!(version.starts_with("CPython 3."), "{seen}");
    assert!(
        text.contains(version) && python["reason"].is_string(),
        "{text}"
    );
    // The stack of a worker, without disturbing it.
    let told = server.ctl(&["stack", &busy.to_string()]);
    assert!(told.done().contains("in hold"), "{told:?}");
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    server.stop();
}

#[test]
fn a_health_check_wants_a_worker_that_serves() {
    let gate = Gate::new();
    let server = Server::app("gated_import:app").gate(&gate).start();
    gate.expect(server.deadline());
    let asked = server.ctl(&["status"]);
    assert!(asked.done().contains("0 of 1 serving"), "{asked:?}");
    let asked = server.ctl(&["status", "--check"]);
    assert_eq!(asked.code, 1, "{asked:?}");
    gate.open();
    server.wait_serving(1);
    server.ctl(&["status", "--check"]).done();
    server.stop();
}
