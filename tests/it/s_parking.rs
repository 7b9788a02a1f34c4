//! What waits holds no worker: connections, bodies and replies that are parked, the deputy that sees to them while
//! the worker is in the app, and the limits of slow clients.

use std::time::{Duration, Instant};

use crate::support::{Gate, Server, Wire};

/// Parts of a test whose clients set the pace.
const BEAT: Duration = Duration::from_millis(40);

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(target: &str, length: u64) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn early_hints_come_before_the_answer() {
    let server = Server::app("parking:app").start();
    let mut wire = server.connect();
    for _ in 0..2 {
        wire.send(get("/hinted"));
        let first = wire.read_reply();
        assert_eq!(first.status, 103);
        assert_eq!(first.field("link"), Some("</style.css>; rel=preload"));
        assert!(first.field("connection").is_none() && first.field("date").is_none());
        let second = wire.read_reply();
        assert_eq!(
            (second.status, second.field("link")),
            (103, Some("</script.js>; rel=preload"))
        );
        let reply = wire.read_reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hinted"));
    }
    let late = wire.get("/hinted_late");
    assert_eq!(
        late.text(),
        "begun early_hints was called after the response had begun"
    );
    // HTTP/1.0 knows no interim replies.
    let mut old = server.connect();
    old.send("GET /hinted HTTP/1.0\r\n\r\n");
    let reply = old.read_reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "hinted"));
    server.stop();
}

/// A client that tells how many segments its reply came in (`tcpi_data_segs_in` of tcp(7), `TCP_INFO`).
const SEGMENTS: &str = "
import socket, struct, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
client.sendall(b'GET /quick_parts HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
reply = b''
while piece := client.recv(1 << 20):
    reply += piece
segments, = struct.unpack_from('I', client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 152)
assert reply.endswith(b'\\r\\n0\\r\\n\\r\\n') and reply.count(b'400\\r\\n') == 20, reply
print(segments)
";

#[test]
fn quick_parts_leave_together() {
    let server = Server::app("parking:app").start();
    let crate::support::Place::Tcp(address) = server.place() else {
        unreachable!("a test over TCP");
    };
    let mut fewest = u32::MAX;
    // The app may lose the processor in the middle; not each time.
    for _ in 0..5 {
        let said = std::process::Command::new("python3")
            .args(["-c", SEGMENTS, &address.port().to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&said.stderr);
        fewest = fewest.min(
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("{complaint}")),
        );
    }
    // The first part, and all others.
    assert_eq!(fewest, 2);
    server.stop();
}

#[test]
fn a_part_does_not_wait_for_the_next() {
    for target in ["/held_parts", "/held_writes"] {
        let gate = Gate::new();
        let server = Server::app("parking:app").gate(&gate).start();
        let mut times: Vec<Duration> = (0..10)
            .map(|_| {
                let mut wire = server.connect();
                let begun = Instant::now();
                wire.send(get(target));
                wire.expect_text("second");
                let took = begun.elapsed();
                gate.expect(server.deadline());
                gate.open();
                wire.expect_text("third");
                took
            })
            .collect();
        times.sort();
        eprintln!("{target}: the second part after {:?} (median)", times[5]);
        assert!(times[5] < Duration::from_millis(100), "{times:?}");
        server.stop();
    }
}

/// Two connections whose requests one worker serves.
fn two_of_one_worker(server: &Server) -> (Wire, Wire) {
    let mut known: Vec<(String, Wire)> = Vec::new();
    loop {
        let mut wire = server.connect();
        let pid = wire.get("/").text();
        if let Some(at) = known.iter().position(|(other, _)| *other == pid) {
            return (known.swap_remove(at).1, wire);
        }
        known.push((pid, wire));
    }
}

#[test]
fn a_kept_connection_does_not_wait_for_its_busy_worker() {
    let gate = Gate::new();
    let server = Server::app("parking:app")
        .args(["-w", "2"])
        .gate(&gate)
        .start();
    server.wait_serving(2);
    let (mut first, mut second) = two_of_one_worker(&server);
    for _ in 0..3 {
        first.send(get("/held"));
        gate.expect(server.deadline());
        let begun = Instant::now();
        assert_eq!(second.get("/").status, 200);
        eprintln!("answered by another worker after {:?}", begun.elapsed());
        // A request that was half here when its worker became busy is taken on, too.
        second.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12");
        second.send("34");
        assert_eq!(second.read_reply().text(), "4");
        gate.open();
        assert_eq!(first.read_reply().text(), "held");
    }
    server.stop();
}

#[test]
fn the_longest_idle_makes_room() {
    let gate = Gate::new();
    let server = Server::app("parking:app")
        .args(["--worker-connections", "8"])
        .gate(&gate)
        .allow("More connections than worker_connections (8): closed 1")
        .start();
    let mut kept: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
    for wire in &mut kept {
        assert_eq!(wire.get("/").status, 200);
    }
    // Half a request: more worth keeping than an idle connection.
    kept[0].send("GET / HT");
    assert_eq!(kept[7].get("/").status, 200);
    // The clock of idle times is coarse: who comes next is clearly younger.
    assert!(!kept[0].hears_within(BEAT));
    let mut more: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    for wire in &mut more {
        assert_eq!(wire.get("/").status, 200);
    }
    for wire in kept.drain(1..4) {
        let mut wire = wire;
        wire.expect_eof();
    }
    kept[0].send("TP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept[0].read_reply().status, 200);
    for wire in kept.iter_mut().chain(&mut more) {
        assert_eq!(wire.get("/").status, 200);
    }
    server.log().expect("More connections than");
    assert_eq!(server.log().count("More connections than"), 1);
    server.stop();
}

#[test]
fn clients_that_drip_are_cut() {
    let server = Server::app("parking:app")
        .args(["--body-timeout", "1", "--write-timeout", "1"])
        .args(["--header-timeout", "1"])
        .start();
    let chunked =
        "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n";
    let begun = Instant::now();
    let mut slow: Vec<Wire> = [
        get("/").replace("\r\n\r\n", "\r\nX: "),
        post("/upload", 999_999),
    ]
    .into_iter()
    .chain([chunked.to_owned()])
    .map(|beginning| {
        let mut wire = server.connect();
        wire.send(beginning);
        wire
    })
    .collect();
    // None of them ever pauses for a second; none holds the only worker.
    while !slow.is_empty() {
        slow.retain_mut(|wire| {
            if wire.hears_within(BEAT) {
                assert_eq!(wire.read_reply().status, 408);
                return false;
            }
            wire.try_send(b"x").is_ok()
        });
        assert_eq!(server.get("/").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody cut them");
    }
    server.stop();
    // The same while the app reads.
    let server = Server::app("parking:app")
        .args(["--body-timeout", "1", "--request-buffer", "0"])
        .start();
    let mut wire = server.connect();
    wire.send(post("/upload", 999_999));
    while !wire.hears_within(BEAT) && wire.try_send(b"x").is_ok() {}
    server
        .log()
        .expect("TimeoutError: the client sent too little: less than 500 bytes a second");
    server.stop();
}

#[test]
fn slow_downloads_hold_no_worker() {
    let server = Server::app("parking:app")
        .args(["--write-timeout", "2"])
        .start();
    let mut stalled = server.connect();
    stalled.send(get("/sparse?64"));
    assert_eq!(stalled.read_head().status, 200);
    let mut reading = server.connect();
    // Behind it, another request on the same connection.
    reading.send(get("/sparse?64") + &get("/"));
    assert_eq!(reading.read_head().status, 200);
    // It takes a little each time: a client that takes nothing for long is cut.
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
        reading.skip(1 << 20);
    }
    reading.skip(44 << 20);
    assert_eq!(reading.read_reply().status, 200);
    server.log().expect("Client took its reply too slowly");
    assert!(stalled.expect_reset().len() < 64 << 20);
    server.stop();
}

#[test]
fn a_byte_too_many_does_not_cost_the_rest_of_the_last_reply() {
    let server = Server::app("parking:app").start();
    for target in ["/list_of_bytes?900000", "/sparse?1"] {
        let mut wire = server.connect();
        wire.send(format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let head = wire.read_head();
        // As some clients do after a body.
        wire.send("\r\n");
        let length: u64 = head.field("content-length").unwrap().parse().unwrap();
        wire.skip(length);
        wire.expect_eof();
    }
    server.stop();
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection_as_announced() {
    let server = Server::app("parking:app").start();
    let part = vec![b'x'; 1 << 20];
    let mut wire = server.connect();
    wire.send(post("/", 4 << 20));
    // As much as is awaited, and a little more.
    wire.send(&part);
    wire.send(&part[..100]);
    assert_eq!(wire.read_reply().field("connection"), Some("close"));
    let mut wire = server.connect();
    wire.send(post("/upload", 4 << 20));
    for _ in 0..4 {
        wire.send(&part);
    }
    assert_eq!(wire.read_reply().field("connection"), None);
    assert_eq!(wire.get("/").status, 200);
    server.stop();
}
