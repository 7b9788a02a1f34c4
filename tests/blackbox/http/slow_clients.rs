//! Slow clients hold no worker, hurt nobody and are cut.

use std::time::{Duration, Instant};

use super::worst;
use crate::support::{Server, Wire, get, post};

/// The interval at which slow clients send.
const BEAT: Duration = Duration::from_millis(40);

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
    // The same holds while the app reads.
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
    // It reads a little each time: a client that reads nothing for too long is cut.
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
        reading.skip(1 << 20);
    }
    reading.skip(44 << 20);
    assert_eq!(reading.read_reply().status, 200);
    server.log().expect("Client took its response too slowly");
    assert!(stalled.expect_reset().len() < 64 << 20);
    server.stop();
}

#[test]
fn slow_clients_hurt_nobody_and_are_cut() {
    let server = Server::app("parking:app")
        .args(["-w", "4", "--header-timeout", "4", "--body-timeout", "4"])
        .args(["--write-timeout", "4", "--keep-alive", "4"])
        .patience(Duration::from_mins(1))
        .start();
    server.wait_serving(4);
    let several = |count: usize, request: &str| -> Vec<Wire> {
        let connect = |_| {
            let mut wire = server.connect();
            wire.send(request);
            wire
        };
        (0..count).map(connect).collect()
    };
    let mut slowloris = several(200, "GET / HTTP/1.1\r\nHost: x\r\nX-");
    // They have been served once: the kernel holds back silent connections for a while.
    let mut idle = several(1000, &get("/"));
    for wire in &mut idle {
        assert_eq!(wire.read_reply().status, 200);
    }
    let half_body = post("/upload", 500_000) + "half";
    let chunks = "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf";
    let mut uploads = several(10, &half_body);
    uploads.extend(several(5, chunks));
    uploads.extend(several(5, &post("/upload", 1 << 30)));
    let mut downloads = several(10, &get("/sparse?64"));
    downloads.extend(several(10, &get("/list_of_bytes?900000")));
    // They stall from here on; until now the app was making the replies.
    for wire in &mut downloads {
        assert_eq!(wire.read_head().status, 200);
    }
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(server.get("/").status, 200);
            begun.elapsed()
        })
        .collect();
    let (longest, _) = worst(&mut times);
    eprintln!("a good client: median {:?}, longest {longest:?}", times[50]);
    // Some hundred us on an idle machine; a client that blocks a worker blocks it for 4 s.
    assert!(times[50] < Duration::from_millis(50), "{times:?}");
    for wire in slowloris.iter_mut().chain(&mut uploads) {
        assert_eq!(wire.read_reply().status, 408);
    }
    for wire in &mut idle {
        wire.expect_eof();
    }
    // The shorter replies are in the kernel's buffers.
    server
        .log()
        .expect_count("Client took its response too slowly", 10);
    for wire in downloads.iter_mut().take(10) {
        wire.expect_reset();
    }
    server.stop();
}
