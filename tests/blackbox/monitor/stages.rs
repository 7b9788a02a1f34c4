//! What workers do is shown as it is, on each of the ways to look.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{ask, count, status_place};
use crate::support::{APPS, Gate, Place, Server, wait_until};

const APP: &str = "
import os, time
while os.path.exists('hold'):
    time.sleep(0.02)
import gate
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/held':
        gate.hold()
    while path == '/hangs' and not os.path.exists('end'):
        try:
            time.sleep(0.05)
        except SystemExit:
            pass
    start_response('200 OK', [('Content-Length', '0')])
    return []
";

/// The stage of each worker, by its id, and whether it has a request in hand.
fn stages(status: &Value) -> Vec<(u64, String, bool)> {
    let workers = status["workers"].as_array().unwrap().iter();
    let mut stages: Vec<_> = workers
        .map(|worker| {
            let stage = worker["stage"].as_str().unwrap().to_owned();
            (
                worker["id"].as_u64().unwrap(),
                stage,
                worker["request"].is_string(),
            )
        })
        .collect();
    stages.sort();
    stages
}

#[test]
fn hung_booting_leaving_and_idle_workers_are_shown_as_what_they_are() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args([
            "-w",
            "3",
            "--threads",
            "1",
            "--no-preload",
            "--timeout",
            "2",
        ])
        .args(["--pythonpath", APPS, "--abort-timeout", "60"])
        .args(["--status-bind", "127.0.0.1:0"])
        .allow("WORKER TIMEOUT")
        .allow("hung")
        .patience(Duration::from_mins(1))
        .gate(&gate)
        .start();
    server.wait_serving(3);
    let place = status_place(&server);
    let mut held = server.connect();
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    let leaving = gate.expect(server.deadline());
    server.ctl(&["retire", &leaving.to_string()]).done();
    let has = |wanted: &str| {
        let stages = stages(&server.status());
        stages.iter().any(|(_, stage, _)| stage == wanted)
    };
    wait_until(server.deadline(), "one leaves", || has("leaving"));
    let mut hangs = server.connect();
    hangs.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n");
    server.log().expect("WORKER TIMEOUT");
    fs::write(server.directory().join("hold"), "").unwrap();
    server.ctl(&["scale", "4"]).done();
    wait_until(server.deadline(), "one is booting and one hung", || {
        has("booting") && has("unwinding")
    });
    let told = stages(&server.status());
    for expected in [
        ("leaving", true),
        ("unwinding", true),
        ("serving", false),
        ("booting", false),
    ] {
        let is_it =
            |(_, stage, is_busy): &&(u64, String, bool)| (stage.as_str(), *is_busy) == expected;
        assert!(
            told.iter().any(|one| is_it(&one)),
            "{expected:?} in {told:?}"
        );
    }
    compare(&server, &place, &told);
    fs::remove_file(server.directory().join("hold")).unwrap();
    fs::write(server.directory().join("end"), "").unwrap();
    gate.open();
    assert_eq!(held.read_reply().status, 200);
    server.stop();
}

/// Whoever looks sees the same.
fn compare(server: &Server, place: &Place, told: &[(u64, String, bool)]) {
    let shown: Value = serde_json::from_str(&ask(place, "/status.json").text()).unwrap();
    assert_eq!(stages(&shown), told);
    let text = server.ctl(&["status"]);
    let text = text.done();
    let metrics = ask(place, "/metrics").text();
    for (id, stage, is_busy) in told {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{id} ")));
        let line = line.unwrap();
        assert!(line.contains(stage), "{line}");
        assert_eq!(line.contains("GET /"), *is_busy, "{line}");
        let same = told.iter().filter(|(_, one, _)| one == stage).count();
        let series = format!("rcorn_workers{{stage=\"{stage}\"}}");
        assert_eq!(
            count(&metrics, &series),
            u64::try_from(same).unwrap(),
            "{series}"
        );
    }
}
