//! Metrics for a statsd server: gunicorn's names, values and types.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::conf::with;
use crate::support::{APPS, Builder, Deadline, Gate, Server, wait_until};

/// Answers with the status that the path names, or raises.
const APP: &str = "
def app(environ, start_response):
    path = environ['PATH_INFO'].lstrip('/')
    if path == 'raise':
        raise KeyError('x')
    start_response((path or '200') + ' Status', [('Content-Length', '2')])
    return [b'ok']
";

fn to(address: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .args(["--statsd-host", address])
        .allow("KeyError")
        .allow("Error handling request")
        .allow("Invalid request")
}

/// The sums of counters, the last values of gauges, and how many durations came.
#[derive(Debug, Default)]
struct Heard {
    counts: BTreeMap<String, u64>,
    gauges: BTreeMap<String, u64>,
    durations: usize,
    lines: Vec<String>,
}

impl Heard {
    fn take(&mut self, datagram: &str, tags: &str) {
        for line in datagram.split('\n') {
            let rest = line
                .strip_suffix(tags)
                .unwrap_or_else(|| panic!("no tags: {line}"));
            let (name, value) = rest.split_once(':').unwrap();
            match value.split('|').collect::<Vec<_>>()[..] {
                [count, "c", "@1.0"] => {
                    let sum = self.counts.entry(name.to_owned()).or_default();
                    *sum += count.parse::<u64>().unwrap();
                }
                [value, "g"] => {
                    self.gauges.insert(name.to_owned(), value.parse().unwrap());
                }
                [millis, "ms"] => {
                    assert!(millis.contains('.') && millis.parse::<f64>().unwrap() >= 0.0);
                    self.durations += 1;
                }
                _ => panic!("{line}"),
            }
            self.lines.push(rest.to_owned());
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// Listens until what it has heard is enough.
fn listen(
    receive: impl Fn(&mut [u8]) -> std::io::Result<usize>,
    tags: &str,
    deadline: Deadline,
    is_enough: impl Fn(&Heard) -> bool,
) -> Heard {
    let mut heard = Heard::default();
    let mut buffer = vec![0; 70_000];
    wait_until(deadline, "the metrics come", || {
        while let Ok(length) = receive(&mut buffer) {
            assert!(length <= 1400);
            heard.take(std::str::from_utf8(&buffer[..length]).unwrap(), tags);
        }
        is_enough(&heard)
    });
    heard
}

fn socket() -> (UdpSocket, String) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let address = udp.local_addr().unwrap().to_string();
    (udp, address)
}

#[test]
fn counts_are_those_of_the_clients_with_gunicorns_names() {
    let (udp, address) = socket();
    let server = to(&address)
        .args([
            "-w",
            "2",
            "--statsd-prefix",
            "shop",
            "--dogstatsd-tags",
            "env:prod,zone:a b",
        ])
        .start();
    server.wait_serving(2);
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
        assert_eq!(server.get("/404").status, 404);
    }
    assert_eq!(server.get("/raise").status, 500);
    let mut wire = server.connect();
    wire.send("BAD\r\n\r\n");
    assert_eq!(wire.read_reply().status, 400);
    let heard = listen(
        |buffer| udp.recv(buffer),
        "|#env:prod,zone:a b",
        server.deadline(),
        |heard| {
            heard.count("shop.gunicorn.requests") == 41
                && heard.count("shop.gunicorn.log.warning") == 1
        },
    );
    assert_eq!(
        heard.count("shop.gunicorn.request.status.200"),
        20,
        "{heard:?}"
    );
    assert_eq!(heard.count("shop.gunicorn.request.status.404"), 20);
    assert_eq!(heard.count("shop.gunicorn.request.status.500"), 1);
    assert_eq!(heard.count("shop.gunicorn.log.exception"), 1);
    assert_eq!(heard.count("shop.gunicorn.log.error"), 0);
    assert_eq!(heard.durations, 41);
    assert_eq!(heard.gauges["shop.gunicorn.workers"], 2);
    let names = ["duration:", "requests:", "status.", "log.", "workers:"];
    let is_known = |line: &&String| names.iter().any(|name| line.contains(name));
    assert!(heard.lines.iter().all(|line| is_known(&line)), "{heard:?}");
    server.stop();
}

#[test]
fn a_socket_file_that_comes_late_gets_every_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd");
    let server = to(&format!("unix://{}", path.display()))
        .allow("cannot send to statsd")
        .start();
    for _ in 0..10 {
        assert_eq!(server.get("/").status, 200);
    }
    server.log().expect("cannot send to statsd at unix://");
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_nonblocking(true).unwrap();
    let heard = listen(
        |buffer| unix.recv(buffer),
        "",
        server.deadline(),
        |heard| heard.count("gunicorn.requests") == 10,
    );
    assert_eq!(heard.durations, 10);
    server.stop();
}

/// Workers that end, a reload and an upgrade in place lose no count.
#[test]
fn counts_outlive_workers_reloads_and_upgrades() {
    let (udp, address) = socket();
    let server = to(&address)
        .args(["--upgrade", "in-place", "--max-requests", "5"])
        .start();
    let ask = || assert_eq!(server.get("/").status, 200);
    (0..23).for_each(|_| ask());
    server.ctl(&["reload", "--wait"]).done();
    (0..23).for_each(|_| ask());
    server.signal(Signal::SIGUSR2);
    server.log().expect("Upgrading in place");
    (0..24).for_each(|_| ask());
    let deadline = server.deadline();
    server.stop();
    listen(
        |buffer| udp.recv(buffer),
        "",
        deadline,
        |heard| heard.count("gunicorn.requests") == 70 && heard.durations == 70,
    );
}

#[test]
fn a_hook_sends_metrics_as_with_gunicorns_logger() {
    let (udp, address) = socket();
    let server = with(
        "
logger_class = 'gunicorn.instrument.statsd.Statsd'
def when_ready(server):
    server.log.info('', extra={'metric': 'my.gauge', 'value': 3, 'mtype': 'gauge'})
    server.log.increment('my.counter', 5)
    server.log.decrement('x\\ny:1|c', 1)
def post_fork(server, worker):
    worker.log.warning('a hook warns')
",
    )
    .args(["--statsd-host", &address, "--statsd-prefix", "p."])
    .allow("a hook warns")
    .start();
    let mut lines: Vec<String> = Vec::new();
    let mut buffer = vec![0; 70_000];
    wait_until(server.deadline(), "the metrics come", || {
        while let Ok(length) = udp.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            lines.extend(text.split('\n').map(str::to_owned));
        }
        lines
            .iter()
            .any(|line| line.starts_with("p.gunicorn.log.warning"))
    });
    for line in [
        "p.my.gauge:3|g",
        "p.my.counter:5|c|@1.0",
        "p.xy:1|c:-1|c|@1.0",
    ] {
        assert!(
            lines.iter().any(|one| one == line),
            "no {line} in {lines:?}"
        );
    }
    assert!(!server.log().text().contains("logger_class"));
    server.stop();
}

#[test]
fn a_request_counts_before_its_close() {
    let (udp, address) = socket();
    let gate = Gate::new();
    let app = "
import gate
class Closes:
    def __iter__(self):
        return iter([b'ok'])
    def close(self):
        gate.hold()
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return Closes() if environ['PATH_INFO'] == '/close' else [b'ok']
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .gate(&gate)
        .args(["--pythonpath", APPS, "-w", "1", "--statsd-host", &address])
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    assert_eq!(wire.get("/close").status, 200);
    gate.expect(server.deadline());
    let heard = listen(
        |buffer| udp.recv(buffer),
        "",
        server.deadline(),
        |heard| heard.count("gunicorn.requests") == 1,
    );
    assert_eq!(
        (heard.count("gunicorn.request.status.200"), heard.durations),
        (1, 1)
    );
    gate.open();
    assert_eq!(wire.get("/").status, 200);
    let heard = listen(
        |buffer| udp.recv(buffer),
        "",
        server.deadline(),
        |heard| heard.count("gunicorn.requests") == 1,
    );
    assert_eq!(heard.durations, 1);
    server.stop();
}

#[test]
fn another_logger_class_is_answered_with_a_way_out() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--logger-class", "shop.logs.Logger"])
        .start();
    server.log().expect("--logger-class has no effect: rcorn writes its own log, and the constructor of another class is not called");
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

#[test]
fn values_that_could_forge_a_metric_are_refused() {
    for words in [
        ["--statsd-prefix", "a\nb"],
        ["--dogstatsd-tags", "a|#b"],
        ["--statsd-prefix", "\u{e9}"],
        ["--statsd-host", "a:b"],
    ] {
        let ended = Server::app("m:app")
            .file("m.py", APP)
            .args(words)
            .start()
            .finish();
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
    }
}
