//! Ids of requests: who gives them, and where they are.

use crate::support::{Server, Wire, get, wait_until};

const APP: &str = "
import os, time
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise KeyError('x')
    fields = [('Content-Type', 'text/plain')]
    if path == '/read':
        environ['wsgi.input'].read()
    if path == '/die':
        os._exit(9)
    if path == '/hang':
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
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

/// Sends this, and gives the status and the id of the response.
fn answer(server: &Server, bytes: &str) -> (u16, String) {
    let mut wire = server.connect();
    wire.send(bytes);
    let reply = if bytes.starts_with("HEAD") {
        wire.read_head()
    } else {
        wire.read_reply()
    };
    let id = reply.field("X-Request-ID");
    (reply.status, id.unwrap_or("none").to_owned())
}

#[test]
fn a_refused_request_has_an_id() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "on", "--header-timeout", "0.3"])
        .start();
    // The field counts although the head is refused.
    let given = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: bad-1\r\nA : 1\r\n\r\n";
    assert_eq!(answer(&server, given), (400, "bad-1".to_owned()));
    let line = server.log().expect("Invalid request from ip=127.0.0.1");
    assert!(line.ends_with("'GET / HTTP/1.1' [bad-1]"), "{line}");
    let (status, made) = answer(&server, "GET / HTTP/1.1\r\nHost: a\r\nA : 1\r\n\r\n");
    assert!(status == 400 && is_made(&made), "{status} {made}");
    let line = server.log().expect("Invalid request from ip=127.0.0.1");
    assert!(line.ends_with(&format!(" [{made}]")), "{line}");
    let (status, made) = answer(&server, "\x16\x03\x01\x02\r\n\r\n");
    assert!(status == 400 && is_made(&made), "{status} {made}");
    // One whose head was accepted.
    let chunk = "POST /read HTTP/1.1\r\nHost: a\r\nX-Request-ID: bad-2\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    assert_eq!(answer(&server, chunk), (400, "bad-2".to_owned()));
    server.log().expect("[bad-2]");
    let late = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: late-1\r\n";
    assert_eq!(answer(&server, late), (408, "late-1".to_owned()));
    let line = server.log().expect("took too long to arrive");
    assert!(line.ends_with(" [late-1]"), "{line}");
    // The next request of the slot has its own.
    let (seen, sent) = ask(&mut server.connect(), "/", "");
    assert!(is_made(&seen) && sent == Some(seen));
    server.stop();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "on", "--forwarded-allow-ips", "10.0.0.1"])
        .start();
    let (status, made) = answer(&server, given);
    assert!(status == 400 && is_made(&made), "{status} {made}");
    server.log().expect(&format!(" [{made}]"));
    server.stop();
}

#[test]
fn a_refused_packet_of_uwsgi_has_an_id() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--request-id", "on", "--protocol", "uwsgi"])
        .start();
    let packet = |variables: &[(&str, &str)]| {
        let mut body = Vec::new();
        for (name, value) in variables {
            for text in [name, value] {
                body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
                body.extend_from_slice(text.as_bytes());
            }
        }
        let length = u16::try_from(body.len()).unwrap().to_le_bytes();
        [&[0, length[0], length[1], 0][..], &body].concat()
    };
    let mut wire = server.connect();
    wire.send(packet(&[
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/"),
        ("SERVER_PROTOCOL", "gopher"),
        ("HTTP_X_REQUEST_ID", "packet-1"),
    ]));
    let reply = wire.read_reply();
    assert_eq!(
        (reply.status, reply.field("X-Request-ID")),
        (400, Some("packet-1"))
    );
    server.log().expect("[packet-1]");
    server.stop();
}

#[test]
fn health_checks_and_static_files_have_ids() {
    let server = Server::app("m:app")
        .file("m.py", APP)
        .file("files/a.txt", "a file")
        .args(["--request-id", "on", "--health-path", "/healthz"])
        .args(["--static", "/static=files"])
        .args([
            "--access-logfile",
            "access.log",
            "--access-logformat",
            "json",
        ])
        .start();
    let mut ids = Vec::new();
    for (target, status) in [
        ("/healthz", 200),
        ("/static/a.txt", 200),
        ("/static/missing", 404),
    ] {
        for method in ["GET", "HEAD"] {
            let id = format!("{method}-{}", target.len());
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
            let given = answer(&server, &format!("{head}X-Request-ID: {id}\r\n\r\n"));
            assert_eq!(given, (status, id.clone()), "{method} {target}");
            let (_, made) = answer(&server, &format!("{head}\r\n"));
            assert!(is_made(&made), "{method} {target} {made}");
            if target != "/healthz" {
                ids.extend([id, made]);
            }
        }
    }
    for id in ids {
        // The line follows the response.
        wait_until(server.deadline(), &format!("a line with {id}"), || {
            let text = std::fs::read_to_string(server.directory().join("access.log")).unwrap();
            text.matches(&format!("\"request_id\":\"{id}\"")).count() == 1
        });
    }
    server.stop();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--health-path", "/healthz"])
        .start();
    let check = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-ID: x\r\n\r\n";
    assert_eq!(answer(&server, check), (200, "none".to_owned()));
    server.stop();
}

/// Sends a request with this id, and does not wait for the answer.
fn send(server: &Server, path: &str, id: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-ID: {id}\r\n\r\n"
    ));
    wire
}

/// Waits for a record in JSON that begins like this, and has this id twice.
fn expect_record(server: &Server, message: &str, id: &str) {
    let path = server.directory().join("error.log");
    wait_until(server.deadline(), &format!("{message} {id}"), || {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut records = text.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        records.any(|one| {
            let text = one["message"].as_str().unwrap();
            one["request_id"] == id
                && text.starts_with(message)
                && text.contains(&format!("[{id}]"))
        })
    });
}

/// One thread, and several.
#[test]
fn in_json_the_id_is_a_member_of_records_about_a_request() {
    for threads in ["1", "2"] {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .args([
                "--request-id",
                "on",
                "--log-format",
                "json",
                "--threads",
                threads,
            ])
            .args([
                "--error-logfile",
                "error.log",
                "--access-logfile",
                "access.log",
            ])
            .args([
                "--access-logformat",
                "json",
                "--timeout",
                "2",
                "--slow-request",
                "0.2",
            ])
            .args(["--abort-timeout", "0.5"])
            .start();
        let path = |name: &str| server.directory().join(name);
        let expect = |message: &str, id: &str| expect_record(&server, message, id);
        assert_eq!(send(&server, "/raise", "json-1").read_reply().status, 500);
        expect("Error handling request GET /raise", "json-1");
        let refused = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: json-2\r\nA : 1\r\n\r\n";
        assert_eq!(answer(&server, refused), (400, "json-2".to_owned()));
        expect("Invalid request", "json-2");
        assert_eq!(send(&server, "/slow", "json-3").read_reply().status, 200);
        expect("Slow request: GET /slow HTTP/1.1", "json-3");
        send(&server, "/die", "json-4").expect_eof();
        expect("Request lost when worker", "json-4");
        let access = || std::fs::read_to_string(path("access.log")).unwrap();
        wait_until(server.deadline(), "the line of the lost request", || {
            access().contains("\"request_id\":\"json-4\"")
        });
        let hung = send(&server, "/hang", "json-5");
        expect("Worker (pid:", "json-5");
        drop(hung);
        // What is about no request has none.
        let text = std::fs::read_to_string(path("error.log")).unwrap();
        let first = text.lines().next().unwrap();
        assert!(
            first.contains("Starting") && !first.contains("request_id"),
            "{first}"
        );
        server.stop();
    }
}
