//! The corpus (`tests/corpus`) over real sockets: what the parser must make of it is what the app
//! must get and the client must be told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::support::corpus::{Body, Case, End, Request};
use serde_json::Value;

use crate::support::{Broken, Reply, Server, Wire};

/// A request that shows whether the connection goes on.
const MARKER: &str = "GET /marker HTTP/1.1\r\nHost: m\r\n\r\n";

/// The same by uwsgi.
const PACKET: &[u8] = b"\0&\0\0\x0e\0REQUEST_METHOD\x03\0GET\x0b\0REQUEST_URI\x02\0/m";

type Settings = Vec<(String, String)>;

#[test]
fn the_corpus_is_served_as_it_says() {
    let mut groups: BTreeMap<Settings, Vec<Case>> = BTreeMap::new();
    for case in Case::all() {
        let cases = groups.entry(case.settings.clone()).or_default();
        cases.push(case);
    }
    let groups = Mutex::new(groups);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let next = groups.lock().unwrap().pop_last();
                    let Some((settings, cases)) = next else {
                        break;
                    };
                    serve(&settings, &cases);
                }
            });
        }
    });
}

fn serve(settings: &Settings, cases: &[Case]) {
    // One worker may hold half a body in chunks.
    let server = Server::app("echo:app")
        .args(["-w", "2"])
        .args(settings.iter().map(argument))
        .patience(Duration::from_mins(2))
        .start();
    for case in cases {
        let length = case.sent.len();
        for cut in [length, length / 2, length.saturating_sub(1)] {
            let (first, second) = case.sent.split_at(cut);
            let mut wire = server.connect();
            wire.send(first);
            if !second.is_empty() {
                // After a round trip on another connection the first part has almost always been
                // read.
                let is_uwsgi = setting(case, "protocol") == Some("uwsgi");
                let marker = if is_uwsgi { PACKET } else { MARKER.as_bytes() };
                let mut other = server.connect();
                other.send(marker);
                other.read_reply();
                // After a refusal it is not read.
                drop(wire.try_send(second));
            }
            check(case, &mut wire, &format!("{}, cut at {cut}", case.name));
        }
    }
    let is_refused = |case: &Case| matches!(case.outcome.end, End::Refused(..));
    if cases.iter().any(is_refused) {
        server.log().expect("Invalid request from ip=127.0.0.1: ");
    }
    server.stop();
}

/// A setting's value, if the case has one of its own.
fn setting<'a>(case: &'a Case, name: &str) -> Option<&'a str> {
    let found = case.settings.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// A setting as an argument of the command line.
fn argument((name, value): &(String, String)) -> String {
    let name = name.replace('_', "-");
    match (name.as_str(), value.as_str()) {
        ("require-host", "false") => "--no-require-host".to_owned(),
        ("proxy-allow-ips", value) => format!("--proxy-allow-from={value}"),
        (name, "true") => format!("--{name}"),
        (name, value) => format!("--{name}={value}"),
    }
}

/// Reads the replies to a case, and checks how its connection goes on.
fn check(case: &Case, wire: &mut Wire, what: &str) {
    for request in &case.outcome.requests {
        let is_head = request.line.starts_with(b"HEAD ");
        let reply = reply(wire, is_head).unwrap_or_else(|broken| panic!("{what}: {broken}"));
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        if !is_head {
            compare(case, request, &reply, what);
        }
    }
    match &case.outcome.end {
        End::Open => {
            wire.send(MARKER);
            let reply = reply(wire, false).unwrap_or_else(|broken| panic!("{what}: {broken}"));
            assert!(reply.text().contains("GET /marker HTTP/1.1"), "{what}");
        }
        End::Closed => wire.expect_eof(),
        End::Refused(status, _) => {
            let reply = reply(wire, false).unwrap_or_else(|broken| panic!("{what}: {broken}"));
            assert_eq!((reply.status, reply.closes()), (*status, true), "{what}");
            wire.expect_eof();
        }
        End::More => {
            wire.half_close();
            let end = reply(wire, false);
            // A reset where the app was reading the rest.
            let silent = matches!(end, Err(Broken::NoReply | Broken::Reset));
            assert!(silent, "{what}: {end:?}");
        }
    }
}

/// The next reply that is not an interim one.
fn reply(wire: &mut Wire, is_head: bool) -> Result<Reply, Broken> {
    loop {
        let reply = wire.try_read_reply(is_head)?;
        if reply.status != 100 {
            return Ok(reply);
        }
    }
}

fn compare(case: &Case, request: &Request, reply: &Reply, what: &str) {
    let got: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(got["line"], latin1(&request.line), "{what}");
    let (Body::Length(body) | Body::Chunked(body)) = &request.body else {
        assert_eq!(got["body"], "", "{what}");
        return assert_eq!(got["fields"], fields(case, request), "{what}");
    };
    assert_eq!(got["body"], latin1(body), "{what}");
    assert_eq!(got["fields"], fields(case, request), "{what}");
    if let Some(client) = &case.outcome.client {
        let plain = client.replace(['[', ']'], "");
        assert_eq!(got["client"], plain, "{what}");
    }
}

/// The environ's keys for the fields (RFC 3875 section 4.1.18, PEP 3333).
fn fields(case: &Case, request: &Request) -> Value {
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    for field in &request.fields {
        let text = latin1(field);
        let (name, value) = text.split_once(": ").unwrap();
        if name.contains('_') && setting(case, "header_map") != Some("dangerous") {
            let is_variable = setting(case, "protocol") == Some("uwsgi");
            assert!(!is_variable, "a variable's name has been translated");
            continue;
        }
        let key = match name.to_uppercase().replace('-', "_") {
            key if key.starts_with("CONTENT_") => key,
            key => format!("HTTP_{key}"),
        };
        let lines: Vec<&str> = value.split("\r\n").map(str::trim).collect();
        let glue = if key == "HTTP_COOKIE" { "; " } else { "," };
        let value = lines.join(" ");
        let joined = keys
            .get(&key)
            .map(|before| format!("{before}{glue}{value}"));
        keys.insert(key, joined.unwrap_or(value));
    }
    if let Some(authority) = &request.authority {
        keys.insert("HTTP_HOST".to_owned(), latin1(authority));
    }
    serde_json::to_value(keys).unwrap()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
