//! `queue_timeout`: a request that waits too long for a thread is answered with 503, logged and
//! counted, though no thread is free.

use std::net::UdpSocket;

use nix::sys::signal::{Signal, kill};

use crate::support::{APPS, Builder, Gate, Server, Wire, get, wait_until};

const FORMAT: &str = "%(h)s %(r)s %(s)s %(B)s %(a)s %(D)s %({retry-after}o)s";

fn builder(app: &str, gate: &Gate) -> Builder {
    Server::app(app)
        .args(["-w", "1", "--threads", "2", "--queue-timeout", "0.2"])
        .args(["--access-logfile", "-", "--access-logformat", FORMAT])
        .allow("queue_timeout")
        .gate(gate)
}

/// Keeps both threads busy.
fn busy(server: &Server, gate: &Gate) -> Vec<Wire> {
    (0..2).map(|_| gate.hold(server)).collect()
}

fn end(gate: &Gate, wires: &mut [Wire]) {
    for _ in &*wires {
        gate.open();
    }
    for wire in wires {
        assert_eq!(wire.read_reply().text(), "held");
    }
}

/// Reads the answer, and returns the length of its body.
fn expect_503(wire: &mut Wire) -> usize {
    let reply = wire.read_reply();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.field("Retry-After"), Some("1"));
    assert_eq!(reply.field("Server"), Some("rcorn"));
    assert!(
        reply
            .field("Date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
    wire.expect_eof();
    reply.text().len()
}

/// Expects the line of a refused request, which tells how long the request has waited.
fn expect_line(server: &Server, begin: &str) {
    let line = server.log().expect(begin);
    let words: Vec<&str> = line.split(' ').collect();
    let [.., waited, "1"] = words[..] else {
        panic!("{line}");
    };
    let waited: u64 = waited.parse().unwrap();
    assert!((200_000..60_000_000).contains(&waited), "{line}");
}

/// How many of these answers the datagrams tell of that have come.
fn told_of_503(udp: &UdpSocket) -> u64 {
    let mut datagram = [0; 2000];
    let mut sum = 0;
    while let Ok(length) = udp.recv(&mut datagram) {
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        let counts = text.lines().filter_map(|line| {
            let count = line.strip_prefix("gunicorn.request.status.503:")?;
            count.split('|').next()?.parse::<u64>().ok()
        });
        sum += counts.sum::<u64>();
    }
    sum
}

#[test]
fn a_request_that_waits_too_long_is_answered_logged_and_counted() {
    let gate = Gate::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let server = builder("threads:app", &gate)
        .args(["--statsd-host", &address])
        .start();
    let mut kept = server.connect();
    assert_eq!(kept.get("/?1").text(), "1");
    let mut wires = busy(&server, &gate);
    let before = server.status()["counts"].clone();
    kept.send("GET /?kept HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n");
    // One that no thread has accepted.
    let mut new = server.connect();
    new.send("POST /new HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    // Of which only a part has come.
    let mut partial = server.connect();
    partial.send("GET /partial HTTP/1.1\r\nHost:");
    let body = expect_503(&mut kept);
    assert_eq!(expect_503(&mut new), body);
    assert_eq!(expect_503(&mut partial), body);
    for (request, agent) in [
        ("GET /?kept HTTP/1.1", "me"),
        ("POST /new HTTP/1.0", "-"),
        ("GET /partial HTTP/1.1", "-"),
    ] {
        expect_line(&server, &format!("127.0.0.1 {request} 503 {body} {agent} "));
    }
    let after = server.status()["counts"].clone();
    let grown = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert_eq!((grown("queue_timeouts"), grown("responses_5xx")), (3, 3));
    assert_eq!(grown("sent_body_bytes"), 3 * u64::try_from(body).unwrap());
    let mut told = 0;
    wait_until(server.deadline(), "statsd is told of them", || {
        told += told_of_503(&udp);
        told == 3
    });
    end(&gate, &mut wires);
    assert_eq!(server.get("/?4").text(), "4");
    // What the log was not told at once, it is told at the end.
    let ended = server.stop();
    let told = ended.text().lines().filter_map(|line| {
        let (_, number) = line.split_once("queue_timeout (0.2 s): answered ")?;
        number.split(' ').next()?.parse::<u64>().ok()
    });
    assert_eq!(told.sum::<u64>(), 3);
}

#[test]
fn more_requests_are_refused_than_a_worker_may_have_connections() {
    const MOST: usize = 8;
    let gate = Gate::new();
    let server = builder("threads:app", &gate)
        .args(["--worker-connections", &MOST.to_string()])
        .start();
    let mut wires = busy(&server, &gate);
    let mut late: Vec<Wire> = (0..3 * MOST).map(|_| server.connect()).collect();
    for wire in &mut late {
        wire.send(get("/late"));
    }
    // No client closes its connection before all are answered.
    for wire in &mut late {
        expect_503(wire);
    }
    let counts = server.status()["counts"].clone();
    assert_eq!(counts["queue_timeouts"], 3 * MOST);
    drop(late);
    end(&gate, &mut wires);
    assert_eq!(server.get("/?4").text(), "4");
    server.stop();
}

#[test]
fn the_line_names_the_client_that_a_proxy_names() {
    let gate = Gate::new();
    let server = builder("threads:app", &gate)
        .args(["--proxy-protocol", "v1"])
        .args(["--proxy-allow-from", "127.0.0.1"])
        .start();
    let mut wires = busy(&server, &gate);
    let mut wire = server.connect();
    let preface = "PROXY TCP4 192.0.2.7 192.0.2.1 5 80\r\n";
    wire.send(format!(
        "{preface}HEAD /proxied HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    let head = String::from_utf8(wire.read_to_eof()).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    expect_line(&server, "192.0.2.7 HEAD /proxied HTTP/1.1 503 0 - ");
    end(&gate, &mut wires);
    server.stop();
}

#[test]
fn its_id_is_that_of_a_trusted_proxy_or_one_that_is_made() {
    let gate = Gate::new();
    let server = builder("threads:app", &gate)
        .args([
            "--request-id",
            "--access-logformat",
            "%(U)s %({x-request-id}o)s",
        ])
        .start();
    let mut wires = busy(&server, &gate);
    let mut named = server.connect();
    named.send("GET /named HTTP/1.1\r\nHost: a\r\nX-Request-ID: from-the-proxy\r\n\r\n");
    let mut nameless = server.connect();
    nameless.send("GET /nameless HTTP/1.1\r\nHost:");
    let ids = [&mut named, &mut nameless].map(|wire| {
        let reply = wire.read_reply();
        assert_eq!(reply.status, 503);
        reply.field("X-Request-ID").unwrap().to_owned()
    });
    assert_eq!(ids[0], "from-the-proxy");
    assert_eq!(ids[1].len(), 32, "{ids:?}");
    for (path, id) in ["/named", "/nameless"].iter().zip(&ids) {
        server.log().expect(&format!("{path} {id}"));
    }
    end(&gate, &mut wires);
    server.stop();
}

/// A server whose logger `gunicorn.access` somebody has changed: it marks its lines.
fn marking(gate: &Gate) -> Builder {
    let app = "
import logging
from threads import app
class Mark(logging.Filter):
    def filter(self, record):
        record.msg = 'marked ' + record.msg
        return True
logging.getLogger('gunicorn.access').addFilter(Mark())
";
    builder("m:app", gate)
        .file("m.py", app)
        .env("PYTHONPATH", APPS)
}

#[test]
fn the_line_goes_through_a_logger_of_python_that_somebody_has_changed() {
    let gate = Gate::new();
    let server = marking(&gate).start();
    let mut wires = busy(&server, &gate);
    let mut wire = server.connect();
    wire.send(get("/?late"));
    let body = expect_503(&mut wire);
    end(&gate, &mut wires);
    expect_line(
        &server,
        &format!("marked 127.0.0.1 GET /?late HTTP/1.1 503 {body} - "),
    );
    server.stop();
}

#[test]
fn a_request_writes_some_of_the_lines_of_others_and_the_worker_the_rest() {
    // More than two requests write, of which each writes 100.
    const LATE: usize = 230;
    let gate = Gate::new();
    let server = marking(&gate).start();
    let mut wires = busy(&server, &gate);
    let mut late: Vec<Wire> = (0..LATE).map(|_| server.connect()).collect();
    for wire in &mut late {
        wire.send(get("/?late"));
    }
    for wire in &mut late {
        expect_503(wire);
    }
    drop(late);
    end(&gate, &mut wires);
    server.log().expect_count("marked 127.0.0.1 GET /held", 2);
    assert_eq!(server.log().count("GET /?late"), 200);
    let ended = server.stop();
    let marked = |line: &&str| line.contains("marked 127.0.0.1 GET /?late");
    assert_eq!(ended.text().lines().filter(marked).count(), LATE);
}

#[test]
fn lines_that_nobody_can_write_any_more_are_counted() {
    let gate = Gate::new();
    let server = marking(&gate).allow("Dropped request").start();
    let worker = server.wait_workers(1)[0];
    let wires = busy(&server, &gate);
    for _ in 0..3 {
        let mut wire = server.connect();
        wire.send(get("/?late"));
        expect_503(&mut wire);
    }
    kill(worker, Signal::SIGQUIT).unwrap();
    server.wait_gone(worker);
    wait_until(server.deadline(), "they are counted", || {
        server.status()["counts"]["lost_log_records"] == 3
    });
    assert_eq!(server.log().count("GET /?late"), 0);
    drop(wires);
    server.stop();
}
