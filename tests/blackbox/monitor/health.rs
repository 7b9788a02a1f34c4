//! Readiness, at the status address and on the app's own.

use nix::sys::signal::Signal;

use super::{ask, count, status_place};
use crate::support::{Gate, Server, wait_until};

const PATH: &str = "/_health";

#[test]
fn it_is_ready_from_the_first_worker_to_the_begin_of_a_stop() {
    let gate = Gate::new();
    let server = Server::app("gated_import:app")
        .args(["--status-bind", "127.0.0.1:0", "--health-path", PATH])
        .args(["--drain-delay", "20"])
        .gate(&gate)
        .start();
    let place = status_place(&server);
    gate.expect(server.deadline());
    assert_eq!(ask(&place, "/healthz").status, 200);
    let early = ask(&place, "/readyz");
    assert_eq!(
        (early.status, early.text().as_str()),
        (503, "no worker serves\n")
    );
    gate.open();
    server.wait_serving(1);
    wait_until(server.deadline(), "it is ready", || {
        ask(&place, "/readyz").status == 200
    });
    assert_eq!(server.get(PATH).text(), "ok\n");
    server.signal(Signal::SIGTERM);
    server.log().expect("drain_delay");
    wait_until(server.deadline(), "it is not ready", || {
        ask(&place, "/readyz").text() == "stopping\n"
    });
    let late = server.get(PATH);
    assert_eq!((late.status, late.text().as_str()), (503, "stopping\n"));
    // It serves on.
    assert_eq!(server.get("/hello").status, 200);
    assert_eq!(ask(&place, "/healthz").status, 200);
    server.signal(Signal::SIGTERM);
    server.finish();
}

#[test]
fn a_check_reaches_no_app_and_no_access_log() {
    let server = Server::app("m:app")
        .file(
            "m.py",
            "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'app ' + environ['REQUEST_METHOD'].encode()]
",
        )
        .args(["--status-bind", "127.0.0.1:0", "--health-path", PATH])
        .args(["--access-logfile", "-", "--max-requests", "2"])
        .start();
    server.wait_serving(1);
    let place = status_place(&server);
    let mut wire = server.connect();
    for _ in 0..5 {
        let reply = wire.get(PATH);
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
    }
    assert_eq!(wire.get("/_health?x=1").text(), "ok\n");
    wire.send("HEAD /_health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.read_head().field("content-length"), Some("3"));
    // Two in one packet, and the app after them.
    wire.send("GET /_health HTTP/1.1\r\nHost: a\r\n\r\nGET /own HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.read_reply().text(), "ok\n");
    assert_eq!(wire.read_reply().text(), "app GET");
    server.log().expect("GET /own");
    let mut wire = server.connect();
    wire.send("POST /_health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(wire.read_reply().text(), "app POST");
    assert_eq!(server.get("/_health/more").text(), "app GET");
    let text = ask(&place, "/metrics").text();
    assert_eq!(count(&text, "rcorn_health_checks_total"), 8);
    let ended = server.stop();
    assert_eq!(ended.text().matches("GET /_health HTTP").count(), 0);
}
