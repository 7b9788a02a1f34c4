//! Ids of requests: who gives them, and where they are.

use crate::support::{Server, Wire, get};

const APP: &str = "
import time
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise KeyError('x')
    fields = [('Content-Type', 'text/plain')]
    if path == '/own':
        fields.append(('x-request-id', 'own'))
    if path == '/slow':
        end = time.monotonic() + 1
        while time.monotonic() < end:
            time.sleep(0.01)
    start_response('200 OK', fields)
    return [environ.get('HTTP_X_REQUEST_ID', 'none').encode()]
";

/// What the app has seen, and what the response has.
fn ask(wire: &mut Wire, path: &str, field: &str) -> (String, Option<String>) {
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
    let reply = wire.read_reply();
    let id = reply.field("X-Request-ID").map(str::to_owned);
    (reply.text(), id)
}

fn is_made(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn an_id_is_that_of_a_trusted_proxy_or_is_made() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "on"])
        .start();
    let mut wire = server.connect();
    let given = ask(&mut wire, "/", "X-Request-Id: abc-1.2:3\r\n");
    assert_eq!(
        given,
        ("abc-1.2:3".to_owned(), Some("abc-1.2:3".to_owned()))
    );
    // What could not be an id is replaced, also for the app.
    let long = "x".repeat(129);
    let mut made = Vec::new();
    for wrong in ["", "a b", "x\"y", "<b>", &long, "\u{e9}"] {
        made.push(ask(&mut wire, "/", &format!("X-Request-ID: {wrong}\r\n")));
    }
    made.push(ask(&mut wire, "/", ""));
    for (seen, sent) in &made {
        assert!(
            Some(seen) == sent.as_ref() && is_made(seen),
            "{seen} {sent:?}"
        );
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 7);
    let (seen, sent) = ask(&mut wire, "/own", "");
    assert!(is_made(&seen) && sent.as_deref() == Some("own"));
    server.stop();
}

#[test]
fn an_id_is_in_logs_and_reports() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "--access-logfile", "access.log"])
        .args(["--access-logformat", "json", "--slow-request", "0.2"])
        .allow("KeyError")
        .allow("Slow request")
        .allow("Error handling request")
        .start();
    let mut wire = server.connect();
    wire.send("GET /raise HTTP/1.1\r\nHost: a\r\nX-Request-ID: broken\r\n\r\n");
    let reply = wire.read_reply();
    assert_eq!(
        (reply.status, reply.field("x-request-id")),
        (500, Some("broken"))
    );
    server
        .log()
        .expect("Error handling request GET /raise [broken]");
    let mut wire = server.connect();
    wire.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-Request-ID: slow-7\r\n\r\n");
    server
        .log()
        .expect("Slow request: GET /slow HTTP/1.1 [slow-7] from 127.0.0.1");
    assert_eq!(wire.read_reply().text(), "slow-7");
    assert_eq!(server.get("/").status, 200);
    let text = std::fs::read_to_string(server.directory().join("access.log")).unwrap();
    assert!(text.contains("\"request_id\":\"slow-7\""), "{text}");
    server.stop();
}

#[test]
fn a_peer_that_is_not_trusted_gives_no_id_and_there_is_none_by_default() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "on", "--forwarded-allow-ips", "10.0.0.1"])
        .start();
    let (seen, sent) = ask(&mut server.connect(), "/", "X-Request-ID: forged\r\n");
    assert!(is_made(&seen) && sent.as_ref() == Some(&seen), "{seen}");
    server.stop();
    let server = Server::app("m:app").file("m.py", APP).start();
    let (seen, sent) = ask(&mut server.connect(), "/", "X-Request-ID: mine\r\n");
    assert_eq!((seen.as_str(), sent), ("mine", None));
    let mut wire = server.connect();
    wire.send(get("/"));
    assert_eq!(wire.read_reply().text(), "none");
    server.stop();
}
