//! TTIN and TTOU, and signals that are not for workers.

use nix::sys::signal::{Signal, kill};

use crate::support::Server;

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let server = Server::app("cases:app").args(["-w", "1"]).start();
    server.wait_workers(1);
    assert!(
        server
            .get("/types")
            .text()
            .contains("wsgi.multiprocess=bool:False")
    );
    server.signal(Signal::SIGTTIN);
    server.log().expect("Handling signal: ttin");
    server.log().expect_count("Booting worker with pid", 2);
    server.wait_workers(2);
    assert!(
        server
            .get("/types")
            .text()
            .contains("wsgi.multiprocess=bool:True")
    );
    server.signal(Signal::SIGTTOU);
    server.log().expect("Worker exiting");
    server.wait_workers(1);
    // Never below one.
    server.signal(Signal::SIGTTOU);
    server.log().expect_count("Handling signal: ttou", 2);
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn templates_and_workers_ignore_the_arbiters_orders() {
    let server = Server::app("cases:app").args(["-w", "1"]).start();
    let worker = server.wait_workers(1)[0];
    let template = server.titled("rcorn: template")[0];
    for signal in [
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGWINCH,
    ] {
        kill(template, signal).unwrap();
        kill(worker, signal).unwrap();
    }
    assert_eq!(server.titled("rcorn: template"), [template]);
    assert_eq!(server.get("/pid").text(), worker.to_string());
    server.stop();
}
