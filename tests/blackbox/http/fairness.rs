//! Many clients at once: nobody waits longer than others, nobody is passed by.

use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::worst;
use crate::support::{Server, Wire, get};

/// The times of quick requests beside slow ones: 64 clients, each of which sends a request as soon
/// as it has its answer; a tenth of the requests take 100 ms.
fn quick_times(server: &Server, kept: bool) -> Vec<Duration> {
    let client = |number: usize| {
        let place = server.place().clone();
        move || {
            let mut times = Vec::new();
            let mut wire = kept.then(|| Wire::connect(&place));
            for turn in 0..24 {
                let slow = (number * 7 + turn * 3).is_multiple_of(10);
                let begun = Instant::now();
                let mut used = wire.take().unwrap_or_else(|| Wire::connect(&place));
                let end = if kept { "" } else { "Connection: close\r\n" };
                let target = if slow { "/slow" } else { "/" };
                used.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{end}\r\n"));
                assert_eq!(used.read_reply().status, 200);
                // In the first turns all come at once.
                if !slow && turn >= 4 {
                    times.push(begun.elapsed());
                }
                wire = kept.then_some(used);
            }
            times
        }
    };
    let clients: Vec<_> = (0..64)
        .map(|number| std::thread::spawn(client(number)))
        .collect();
    let times = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap());
    times.collect()
}

#[test]
fn kept_connections_wait_no_longer_than_new_ones() {
    let server = Server::app("parking:app")
        .args(["-w", "4"])
        .patience(Duration::from_mins(2))
        .start();
    server.wait_serving(4);
    let mut ratios: Vec<f64> = (0..5)
        .map(|_| {
            let [each, kept] = [false, true].map(|kept| worst(&mut quick_times(&server, kept)).1);
            eprintln!("p99 of quick requests: kept {kept:?}, a connection each {each:?}");
            kept.as_secs_f64() / each.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    // 1.3 on an idle machine.
    assert!(ratios[2] < 2.0, "{ratios:?}");
    server.stop();
}

#[test]
fn no_waiting_connection_is_passed_by() {
    let mut crowd = Crowd::gather();
    crowd.holder.send(get("/gate"));
    crowd.gate.expect(crowd.server.deadline());
    let ask = || {
        let mut wire = crowd.server.connect();
        wire.send(get("/"));
        (wire, 0_u32)
    };
    let mut clients: Vec<(Wire, u32)> = (0..40).map(|_| ask()).collect();
    crowd.gate.open();
    // Each client that has an answer sends a request again, until all have one.
    while clients.iter().any(|(_, answers)| *answers == 0) {
        for (wire, answers) in &mut clients {
            if wire.hears_within(Duration::ZERO) {
                assert_eq!(wire.read_reply().text(), "ok");
                wire.send(get("/"));
                *answers = answers.saturating_add(1);
            }
        }
    }
    let most = clients.iter().map(|(_, answers)| *answers).max().unwrap();
    eprintln!("{most} answers before everybody had one");
    assert!(most <= 10, "{most} answers before everybody had one");
    for (wire, _) in &mut clients {
        assert_eq!(wire.read_reply().text(), "ok");
    }
    crowd.server.stop();
}

#[test]
fn idle_workers_accept_a_crowd_at_once() {
    let servers = ["1", "2"].map(|workers| {
        let server = Server::app("together:app").args(["-w", workers]);
        server.patience(Duration::from_mins(1)).start()
    });
    let [one, two] = &servers;
    one.wait_serving(1);
    two.wait_serving(2);
    let time = |server: &Server| {
        let begun = Instant::now();
        let mut crowd: Vec<Wire> = (0..64).map(|_| server.connect()).collect();
        for wire in &mut crowd {
            wire.send(get("/"));
        }
        for wire in &mut crowd {
            assert_eq!(wire.read_reply().text(), "ok");
        }
        begun.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..9).map(|_| time(two) / time(one)).collect();
    ratios.sort_by(f64::total_cmp);
    eprintln!("64 fresh connections, two workers to one: {ratios:?}");
    // When workers waited for each other to accept, it took 100 ms: twenty times as long.
    assert!(ratios[4] < 5.0, "{ratios:?}");
    for server in servers {
        server.stop();
    }
}
