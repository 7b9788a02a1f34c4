//! What threads cost: memory and descriptors.

use std::fs;
use std::time::Duration;

use crate::support::resources::private_kib;
use crate::support::{Gate, Server, Wire, get};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 16;

/// The private memory of a worker with so many threads, each of which has served a request, after
/// [`REQUESTS`]; in KiB.
fn kib_after_requests(threads: usize) -> u64 {
    let gate = Gate::new();
    let server = Server::app("hung_threads:app")
        .args(["-w", "1", "--threads", &threads.to_string()])
        .patience(Duration::from_mins(2))
        .gate(&gate)
        .start();
    server.wait_serving(1);
    let mut held: Vec<Wire> = (0..threads).map(|_| server.connect()).collect();
    for wire in &mut held {
        wire.send(get("/held"));
        gate.expect(server.deadline());
    }
    for _ in &held {
        gate.open();
    }
    for wire in &mut held {
        assert_eq!(wire.read_reply().text(), "held");
    }
    let workers = server.wait_workers(1);
    let mut wires: Vec<Wire> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut round = || {
        for wire in &mut wires {
            wire.send(get("/quick"));
        }
        for wire in &mut wires {
            assert_eq!(wire.read_reply().text(), "quick");
        }
    };
    round();
    let open = || {
        fs::read_dir(format!("/proc/{}/fd", workers[0]))
            .unwrap()
            .count()
    };
    let before = open();
    for _ in 0..REQUESTS / CLIENTS {
        round();
    }
    assert_eq!(open(), before, "descriptors");
    let kib = private_kib(&workers);
    server.stop();
    kib
}

#[test]
fn sixteen_threads_cost_less_than_ten_mebibytes() {
    let (one, sixteen) = (kib_after_requests(1), kib_after_requests(16));
    assert!(
        sixteen < one + 10 * 1024,
        "{sixteen} KiB, with one thread {one} KiB"
    );
}
