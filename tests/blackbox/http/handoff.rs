//! Connections of a busy or leaving worker go to another one.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::crowd::Crowd;
use crate::support::{Gate, Server, Wire, get, wait_until};

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
        // A request that had half arrived when its worker became busy is handed on, too.
        second.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12");
        second.send("34");
        assert_eq!(second.read_reply().text(), "4");
        gate.open();
        assert_eq!(first.read_reply().text(), "held");
    }
    server.stop();
}

#[test]
fn a_reload_hands_busy_clients_on() {
    let mut crowd = Crowd::gather();
    crowd.holder.send(get("/gate"));
    crowd.gate.expect(crowd.server.deadline());
    for client in &mut crowd.clients {
        client.send(get("/"));
    }
    crowd.server.signal(Signal::SIGHUP);
    wait_until(
        crowd.server.deadline(),
        "the old worker is to leave",
        || crowd.server.ctl(&["status"]).done().contains("leaving"),
    );
    crowd.gate.open();
    // The reply in progress says `close`; the other connections go on with another worker.
    assert!(crowd.holder.read_reply().closes());
    for client in &mut crowd.clients {
        assert!(!client.read_reply().closes());
        assert_eq!(client.get("/").text(), "ok");
    }
    crowd.server.stop();
}
