//! Sockets that systemd holds: its store of descriptors, and socket units.

use std::os::fd::AsRawFd;

use nix::sys::signal::Signal;

use crate::support::{Notify, Place, ROOT, Server, Wire};

#[test]
fn sockets_in_systemds_store_keep_their_queue_over_a_restart() {
    let notify = Notify::new();
    let folder = tempfile::TempDir::new().unwrap();
    let bind = format!("unix:{}", folder.path().join("web").display());
    let first = Server::app("cases:app")
        .unbound()
        .args(["--bind", &bind])
        .notify(&notify)
        .env("FDSTORE", "8")
        .start();
    let (state, stored) = notify.next_with_descriptor(first.deadline());
    assert_eq!(state, "FDSTORE=1\nFDNAME=rcorn");
    let stored = stored.expect("a socket");
    first.wait_workers(1);
    first.stop();
    // No server runs; the client waits in the queue.
    let place = Place::Unix(folder.path().join("web"));
    let mut wire = Wire::connect(&place);
    wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    let shell = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=rcorn exec {} --bind {bind} --chdir {}/tests/apps cases:app",
        stored.as_raw_fd(),
        env!("CARGO_BIN_EXE_rcorn"),
        ROOT,
    );
    let second = Server::without_app()
        .program(["/bin/bash", "-c", &shell])
        .unbound()
        .inherit(stored.as_raw_fd())
        .start();
    assert_eq!(wire.read_reply().status, 200);
    second.stop();
}

#[test]
fn systemds_sockets_stay_over_reloads_and_upgrades() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap());
    let shell = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --reload-watch 0.1 --upgrade in-place --bind 127.0.0.1:1 --chdir {}/tests/apps cases:app",
        listener.as_raw_fd(),
        env!("CARGO_BIN_EXE_rcorn"),
        ROOT,
    );
    let server = Server::without_app()
        .program(["/bin/bash", "-c", &shell])
        .unbound()
        .inherit(listener.as_raw_fd())
        .start();
    let asks = || Wire::connect(&place).get("/hello").status;
    assert_eq!(asks(), 200);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(asks(), 200);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 3 serves.");
    assert_eq!(asks(), 200);
    assert!(!server.ctl(&["status"]).done().contains("127.0.0.1:1\n"));
    server.stop();
}
