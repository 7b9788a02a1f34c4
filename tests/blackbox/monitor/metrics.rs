//! `/metrics`: what clients have seen is what it says, whatever happens to workers and the server.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::{ask, count, status_place, value};
use crate::support::{Connections, Load, Need, Place, Server, lacks, program, venv, wait_until};

/// All counters, by series.
fn counters(metrics: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.filter_map(|line| line.rsplit_once(' '));
    let counters = samples.filter(|(series, _)| {
        let name = series.split('{').next().unwrap();
        ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    counters
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Looks again, and asserts that no series has fallen, or is gone.
fn look(place: &Place, before: &mut BTreeMap<String, f64>) -> String {
    let text = ask(place, "/metrics").text();
    let now = counters(&text);
    for (series, value) in &*before {
        let after = now.get(series);
        assert!(
            after.is_some_and(|after| after >= value),
            "{series} went from {value} to {after:?}"
        );
    }
    *before = now;
    text
}

#[test]
fn no_series_falls_and_clients_have_counted_the_same() {
    let server = Server::app("cases:app")
        .args(["-w", "3", "--max-requests", "500", "--reload-watch", "0.1"])
        .args(["--status-bind", "127.0.0.1:0", "--upgrade", "in-place"])
        .allow("was sent SIGKILL")
        .patience(Duration::from_mins(1))
        .start();
    server.wait_serving(3);
    let place = status_place(&server);
    let mut seen = BTreeMap::new();
    look(&place, &mut seen);
    let load = Load::start(server.place(), "/hello", 3, Connections::Each);
    load.wait_for(2500, server.deadline());
    look(&place, &mut seen);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    look(&place, &mut seen);
    load.wait_for(100, server.deadline());
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 3 serves.");
    // It is another port: that of a new socket.
    let place = status_place(&server);
    look(&place, &mut seen);
    load.wait_for(100, server.deadline());
    let tally = load.stop();
    tally.assert_clean();
    wait_until(server.deadline(), "all requests are counted", || {
        count(&ask(&place, "/metrics").text(), "rcorn_requests_total") >= tally.ok
    });
    // Nobody has a request in hand.
    let victim = server.wait_workers(3)[0];
    kill(victim, Signal::SIGKILL).unwrap();
    server.wait_gone(victim);
    server.wait_serving(3);
    let text = look(&place, &mut seen);
    compare(&text, tally.ok);
    let ends: u64 = text
        .lines()
        .filter(|line| line.starts_with("rcorn_worker_ends_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(
        count(&text, "rcorn_worker_starts_total"),
        ends + 3,
        "{text}"
    );
    server.stop();
}

/// What the server says, and the number of requests that clients have had an answer to.
fn compare(text: &str, all: u64) {
    for series in [
        "rcorn_requests_total",
        "rcorn_responses_total{class=\"2xx\"}",
        "rcorn_accepted_connections_total",
        "rcorn_request_duration_seconds_count",
        "rcorn_request_duration_seconds_bucket{le=\"+Inf\"}",
        "rcorn_queue_wait_seconds_count",
    ] {
        assert_eq!(count(text, series), all, "{series}");
    }
    // "OK\n" each.
    assert_eq!(count(text, "rcorn_sent_body_bytes_total"), 3 * all);
    assert_eq!(count(text, "rcorn_reloads_total{outcome=\"done\"}"), 2);
    assert_eq!(count(text, "rcorn_upgrades_total{kind=\"in_place\"}"), 1);
    let end = |labels: &str| count(text, &format!("rcorn_worker_ends_total{{{labels}}}"));
    assert_eq!(end("reason=\"crash\",signal=\"SIGKILL\""), 1);
    // A worker that has served enough when a reload begins leaves for that reason.
    let replaced = end("reason=\"max_requests\"") + end("reason=\"reload\"");
    assert!(replaced >= 6, "{text}");
}

#[test]
fn parsers_of_others_read_both_formats() {
    if lacks(&[program("promtool"), Need::Packages]) {
        return;
    }
    let server = Server::app("cases:app")
        .args(["--status-bind", "127.0.0.1:0"])
        .start();
    server.wait_serving(1);
    server.get("/hello");
    let Place::Tcp(address) = status_place(&server) else {
        unreachable!()
    };
    let script = format!(
        "
import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families as prometheus
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
def fetch(accept):
    request = urllib.request.Request('http://{address}/metrics', headers={{'Accept': accept}})
    with urllib.request.urlopen(request) as reply:
        return reply.headers['Content-Type'], reply.read().decode()
media, text = fetch('text/plain')
assert media == 'text/plain; version=0.0.4; charset=utf-8', media
old = {{family.name: family for family in prometheus(text)}}
media, open_text = fetch('application/openmetrics-text; version=1.0.0')
assert media == 'application/openmetrics-text; version=1.0.0; charset=utf-8', media
new = {{family.name: family for family in openmetrics(open_text)}}
assert new['rcorn_requests'].type == 'counter' and new['rcorn_build'].type == 'info'
assert new['rcorn_request_duration_seconds'].unit == 'seconds'
assert len(old) == len(new) > 40, (set(old) ^ set(new))
sys.stdout.write(text)
"
    );
    let read = Command::new(venv::python())
        .args(["-c", &script])
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{problems}");
    let file = server.directory().join("metrics.txt");
    std::fs::write(&file, &read.stdout).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.is_empty(), "{told}");
    server.stop();
}

/// A worker with one thread is in the app, so what comes meanwhile waits.
#[test]
fn the_time_that_a_request_waits_is_measured() {
    let server = Server::app("m:app")
        .file(
            "m.py",
            "
import time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(0.4)
    start_response('200 OK', [('Content-Length', '0')])
    return []
",
        )
        .args(["--threads", "1", "--status-bind", "127.0.0.1:0"])
        .start();
    server.wait_serving(1);
    let place = status_place(&server);
    let mut slow = server.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(server.deadline(), "the worker is busy", || {
        count(
            &ask(&place, "/metrics").text(),
            "rcorn_requests_in_progress",
        ) == 1
    });
    let mut late = server.connect();
    assert_eq!(late.get("/").status, 200);
    assert_eq!(slow.read_reply().status, 200);
    wait_until(server.deadline(), "both are counted", || {
        count(
            &ask(&place, "/metrics").text(),
            "rcorn_queue_wait_seconds_count",
        ) == 2
    });
    let text = ask(&place, "/metrics").text();
    let waited: f64 = value(&text, "rcorn_queue_wait_seconds_sum");
    assert!((0.02..0.6).contains(&waited), "{waited}");
    let busy: f64 = value(&text, "rcorn_request_duration_seconds_sum");
    assert!((0.39..5.0).contains(&busy), "{busy}");
    let short = count(&text, "rcorn_queue_wait_seconds_bucket{le=\"0.005\"}");
    assert_eq!(short, 1, "{text}");
    server.stop();
}
