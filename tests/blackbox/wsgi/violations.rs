//! What the server and `rcorn cgi` say about violations of PEP 3333. The rules stand twice, in Rust
//! and in Python; the table of cases in `tests/apps/violations.py` is one.

use super::text;
use crate::oneshot::cgi;
use crate::support::Server;

/// Each path of the app, and what must be said about it.
fn cases(table: &str) -> Vec<(&str, &str)> {
    let cases: Vec<_> = table
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .collect();
    assert!(cases.len() > 15, "{table}");
    cases
}

#[test]
fn any_iterable_of_bytes_is_a_body() {
    let server = Server::app("violations:app").start();
    let mut wire = server.connect();
    let table = text(&mut wire, "/answered");
    for (path, body) in cases(&table) {
        let reply = server.connect().get(path);
        assert_eq!(
            (reply.status, reply.text()),
            (200, body.to_owned()),
            "{path}"
        );
        let left = cgi("violations:app", "GET", path).run();
        let output = String::from_utf8_lossy(&left.output);
        assert!(output.starts_with("Status: 200 "), "{path}: {left:?}");
        assert!(
            output.ends_with(&format!("\r\n\r\n{body}")),
            "{path}: {left:?}"
        );
    }
    server.stop();
}

#[test]
fn the_server_and_cgi_say_the_same_about_violations() {
    let server = Server::app("violations:app").allow("[ERROR]").start();
    let mut wire = server.connect();
    let table = text(&mut wire, "/");
    for (path, said) in cases(&table) {
        let reply = server.connect().get(path);
        assert_eq!(reply.status, 500, "{path}");
        server.log().expect(said);
        let left = cgi("violations:app", "GET", path).run();
        let output = String::from_utf8_lossy(&left.output);
        assert!(output.starts_with("Status: 500 "), "{path}: {left:?}");
        assert!(left.errors.contains(said), "{path}: {left:?}");
    }
    server.stop();
}
