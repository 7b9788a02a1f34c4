//! What workers do is shown as it is, on each of the ways to look.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::page::open;
use super::{ask, count, status_place};
use crate::support::{APPS, Gate, Place, Screen, Server, lacks_for, program, wait_until};

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

/// What is told of one worker.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    id: u64,
    /// 0 while it is being forked.
    pid: i64,
    stage: String,
    /// Whether it has a request in hand.
    is_busy: bool,
}

impl Seen {
    fn is(&self, stage: &str, is_busy: bool) -> bool {
        (self.stage.as_str(), self.is_busy) == (stage, is_busy)
    }

    /// The request that it has in hand, as this test sends it.
    fn request(&self) -> Option<&'static str> {
        match self.stage.as_str() {
            "leaving" => Some("GET /held HTTP/1.1 from 127.0.0.1"),
            "unwinding" => Some("GET /hangs HTTP/1.1 from 127.0.0.1"),
            _ => None,
        }
    }
}

/// What this status tells of each worker.
fn seen(status: &Value) -> Vec<Seen> {
    let workers = status["workers"].as_array().unwrap().iter();
    let mut seen: Vec<_> = workers
        .map(|worker| Seen {
            id: worker["id"].as_u64().unwrap(),
            pid: worker["pid"].as_i64().unwrap_or_default(),
            stage: worker["stage"].as_str().unwrap().to_owned(),
            is_busy: worker["request"].is_string(),
        })
        .collect();
    seen.sort();
    seen
}

#[test]
fn hung_booting_leaving_and_idle_workers_are_shown_as_what_they_are() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", "3", "--threads", "1", "--no-preload"])
        .args(["--timeout", "2", "--abort-timeout", "600"])
        .args(["--graceful-timeout", "600", "--pythonpath", APPS])
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
    let has = |wanted: &str| seen(&server.status()).iter().any(|one| one.stage == wanted);
    wait_until(server.deadline(), "one leaves", || has("leaving"));
    let mut hangs = server.connect();
    hangs.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n");
    server.log().expect("WORKER TIMEOUT");
    fs::write(server.directory().join("hold"), "").unwrap();
    server.ctl(&["scale", "4"]).done();
    wait_until(server.deadline(), "one is booting and one hung", || {
        has("booting") && has("unwinding")
    });
    let told = seen(&server.status());
    for (stage, is_busy) in [
        ("leaving", true),
        ("unwinding", true),
        ("serving", false),
        ("booting", false),
    ] {
        let is_told = told.iter().any(|one| one.is(stage, is_busy));
        assert!(is_told, "{stage} in {told:?}");
    }
    compare(&server, &place, &told);
    compare_page(&place, &told);
    compare_top(&server, &told);
    fs::remove_file(server.directory().join("hold")).unwrap();
    fs::write(server.directory().join("end"), "").unwrap();
    gate.open();
    assert_eq!(held.read_reply().status, 200);
    server.stop();
}

/// The texts for programs show the same as the status.
fn compare(server: &Server, place: &Place, told: &[Seen]) {
    let shown: Value = serde_json::from_str(&ask(place, "/status.json").text()).unwrap();
    assert_eq!(seen(&shown), told);
    let text = server.ctl(&["status"]);
    let text = text.done();
    let metrics = ask(place, "/metrics").text();
    for worker in told {
        let beginning = format!("{} ", worker.id);
        let line = text.lines().find(|line| line.starts_with(&beginning));
        let line = line.unwrap();
        assert!(line.contains(&worker.stage), "{line}");
        assert_eq!(line.contains("GET /"), worker.is_busy, "{line}");
        let same = told.iter().filter(|one| one.stage == worker.stage).count();
        let series = format!("rcorn_workers{{stage=\"{}\"}}", worker.stage);
        let counted = count(&metrics, &series);
        assert_eq!(counted, u64::try_from(same).unwrap(), "{series}");
    }
}

/// So does the page, in a browser.
fn compare_page(place: &Place, told: &[Seen]) {
    if lacks_for("stages on the page", &[program("chromium-headless-shell")]) {
        return;
    }
    let page = open(place, &[]);
    for worker in told {
        let (_, row) = page
            .split_once(&format!("<tr data-worker=\"{}\">", worker.id))
            .unwrap_or_else(|| panic!("no {worker:?} in {page}"));
        let (row, _) = row.split_once("</tr>").unwrap();
        let (colour, stage) = match worker.stage.as_str() {
            "serving" => ("good", "serving, idle"),
            "unwinding" => ("bad", "unwinding"),
            stage => ("warn", stage),
        };
        let request = worker.request().unwrap_or_default();
        for cell in [
            format!("data-name=\"Pid\">{}</td>", worker.pid),
            format!("class=\"{colour}\" data-name=\"Stage\">{stage}</td>"),
            format!("data-name=\"Request in hand\">{request}"),
        ] {
            assert!(row.contains(&cell), "{cell} in {row}");
        }
        assert_eq!(row.contains("GET /"), worker.is_busy, "{row}");
    }
    let serving = told.iter().filter(|one| one.stage == "serving").count();
    let fact = format!("<li>{serving} of 4 workers serving</li>");
    assert!(page.contains(&fact), "{fact} in {page}");
}

/// So does `rcorn top`, in a terminal.
fn compare_top(server: &Server, told: &[Seen]) {
    if lacks_for("stages in rcorn top", &[program("tmux")]) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_rcorn");
    let screen = Screen::new(120, 24, &format!("{program} top --pid {}", server.pid()));
    let lines = screen.wait(server.deadline(), "all workers", |lines| {
        told.iter().all(|worker| row(lines, worker).is_some())
    });
    for worker in told {
        let row = row(&lines, worker).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert!(cells.contains(&worker.stage.as_str()), "{row}");
        match worker.request() {
            Some(request) => assert!(row.contains(request), "{request} in {row}"),
            None => assert!(!row.contains("GET /"), "{row}"),
        }
    }
    screen.press(&["q"]);
}

/// The line of this worker.
fn row<'a>(lines: &'a [String], worker: &Seen) -> Option<&'a String> {
    let numbers = [worker.id.to_string(), worker.pid.to_string()];
    let is_row = |line: &&String| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        numbers
            .iter()
            .all(|number| cells.contains(&number.as_str()))
    };
    lines.iter().find(is_row)
}
