//! Bodies of gigabytes, in bounded memory.

use std::time::{Duration, Instant};

use crate::support::resources::peak_kib;
use crate::support::{Server, get, post};

#[test]
fn gigabytes_pass_in_bounded_memory() {
    const GIB: u64 = 1 << 30;
    let server = Server::app("parking:app")
        .patience(Duration::from_mins(2))
        .start();
    let worker = server.wait_workers(1)[0];
    assert_eq!(server.get("/").status, 200);
    let before = peak_kib(worker);
    for target in ["/download", "/sparse?1024"] {
        let begun = Instant::now();
        let mut wire = server.connect();
        wire.send(get(target));
        assert_eq!(wire.read_head().status, 200);
        wire.skip(GIB);
        eprintln!(
            "{target}: {:?}, peak {} KiB",
            begun.elapsed(),
            peak_kib(worker)
        );
    }
    // An app that reads it, and one that does not.
    let mib = vec![0xa5; 1 << 20];
    let begun = Instant::now();
    let mut wire = server.connect();
    wire.send(post("/upload", GIB));
    for _ in 0..GIB >> 20 {
        wire.send(&mib);
    }
    assert_eq!(wire.read_reply().text(), GIB.to_string());
    eprintln!(
        "upload: {:?}, peak {} KiB",
        begun.elapsed(),
        peak_kib(worker)
    );
    let mut wire = server.connect();
    wire.send(post("/", GIB));
    // What follows the reply is discarded for a while; then the connection is closed.
    let taken = (0..GIB >> 20).take_while(|_| wire.try_send(&mib).is_ok());
    eprintln!(
        "of a body that nobody reads {} MiB were taken",
        taken.count()
    );
    let grown = peak_kib(worker) - before;
    eprintln!("grown by {grown} KiB");
    assert!(grown < 24 << 10, "the worker grew by {grown} KiB");
    server.stop();
}
