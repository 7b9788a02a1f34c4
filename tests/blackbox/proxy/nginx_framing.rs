//! nginx and rcorn must never disagree about where a request ends: all that the corpus sends goes
//! through a real nginx, in every way that it has to pass requests on. And the examples answer
//! behind it, in the same ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::corpus::Case;
use crate::support::nginx::HTTP;
use crate::support::{Broken, EXAMPLES, Need, Nginx, Place, Server, Wire, lacks, program, venv};

/// A request that follows each case on its connection. If nginx does not see it as a request, rcorn
/// must not either.
const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n";

/// nginx's log of what it took for requests.
const SEEN: &str = "seen.log";

/// As lenient as nginx can be, so that it passes more on; each request gets an id that no client
/// knows.
const SEEING: &str = r#"
    log_format seen escape=json
        '{"port":"$remote_port","id":"$request_id","line":"$request","passed":"$upstream_status","body":"$request_body"}';
    access_log seen.log seen;
    ignore_invalid_headers off; underscores_in_headers on; client_body_buffer_size 1m;
    proxy_http_version 1.1; proxy_next_upstream off; uwsgi_next_upstream off;
    proxy_ignore_client_abort on; uwsgi_ignore_client_abort on;
"#;

/// A way to pass requests on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    KeepAlive,
    /// With bodies passed on as they come, in chunks if they come in chunks.
    Unbuffered,
    Unix,
    Uwsgi,
}

#[test]
fn nginx_and_we_agree_where_requests_end() {
    if lacks(&[program("nginx")]) {
        return;
    }
    let all: Vec<_> = [Way::KeepAlive, Way::Unbuffered, Way::Unix, Way::Uwsgi]
        .into_iter()
        .map(|way| (way, run(way)))
        .collect();
    // The app got the same in every way.
    let (_, first) = &all[0];
    for (way, other) in &all[1..] {
        for (case, requests) in other {
            let Some(expected) = first.get(case) else {
                continue;
            };
            for (number, request) in requests {
                let same = expected.get(number).is_none_or(|known| known == request);
                assert!(same, "{case} by {way:?}: {request:?}, not {expected:?}");
            }
        }
    }
}

/// What the app got: by case, by the number of the request on its connection: the request line, and
/// the body.
type Got = BTreeMap<String, BTreeMap<usize, (String, String)>>;

fn run(way: Way) -> Got {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    fs::write(&record, "").unwrap();
    let builder = Server::app("echo:app").env("RECORD", &record);
    let server = match way {
        Way::KeepAlive | Way::Unbuffered => builder,
        Way::Unix => builder.unix(),
        Way::Uwsgi => builder.args(["--protocol", "uwsgi"]),
    }
    .patience(std::time::Duration::from_mins(2))
    .start();
    let (address, pass) = (address(server.place()), pass(way));
    let nginx = Nginx::start(|listen| {
        format!(
            "http {{
                {HTTP} {SEEING} upstream app {{ server {address}; keepalive 4; }}
                server {{ listen {listen}; location / {{ {pass} }} }}
            }}"
        )
    });
    let cases: Vec<Case> = Case::all()
        .into_iter()
        .filter(|case| case.settings.is_empty())
        .collect();
    let mut ports: BTreeMap<String, &str> = BTreeMap::new();
    for case in &cases {
        let mut wire = nginx.connect();
        let port = wire.local_port().unwrap().to_string();
        assert!(
            ports.insert(port, &case.name).is_none(),
            "a port came twice"
        );
        // nginx may close before everything is sent.
        drop(wire.try_send(&[&case.sent, MARKER].concat()));
        wire.half_close();
        loop {
            match wire.try_read_reply(case.sent.starts_with(b"HEAD")) {
                Ok(_) => {}
                Err(Broken::Silent(_)) => panic!("{}: nginx is silent", case.name),
                // Its end; a reply to HTTP/0.9 has no head.
                Err(_) => break,
            }
        }
    }
    let seen = nginx.quit(SEEN);
    server.stop();
    agree(
        way,
        &ports,
        &lines(&seen),
        &lines(&fs::read(&record).unwrap()),
    )
}

/// Asserts that the app got only requests that nginx passed on, with the same target and body, and
/// that each one nginx got an answer for came once.
fn agree(way: Way, ports: &BTreeMap<String, &str>, seen: &[Value], got: &[Value]) -> Got {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut by_id: BTreeMap<String, &Value> = BTreeMap::new();
    for request in got {
        let before = by_id.insert(text(request, "id"), request);
        assert!(
            before.is_none(),
            "{way:?}: a request of no or a used id: {request}"
        );
    }
    let known: BTreeSet<String> = seen.iter().map(|request| text(request, "id")).collect();
    for (id, request) in &by_id {
        assert!(
            known.contains(id),
            "{way:?}: nginx never passed on {request}"
        );
    }
    let (mut all, mut refused) = (Got::new(), 0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in seen {
        let name = ports[&text(request, "port")];
        let count = counts.entry(name).or_default();
        *count = count.saturating_add(1);
        let passed = text(request, "passed");
        let Some(ours) = by_id.get(&text(request, "id")) else {
            assert_ne!(
                passed, "200",
                "{way:?}, {name}: answered by whom? {request}"
            );
            let no = passed.starts_with(['4', '5']);
            refused = usize::from(no).saturating_add(refused);
            continue;
        };
        let (line, body) = (text(request, "line"), text(ours, "body"));
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let (theirs, mine) = (words(&line), words(&text(ours, "line")));
        assert_eq!(theirs[0], mine[0], "{way:?}, {name}: {request} and {ours}");
        if theirs[1].starts_with('/') {
            // nginx logs bytes; the environ has each byte as a character (PEP 3333).
            let sent: Vec<u8> = mine[1]
                .chars()
                .filter_map(|c| u8::try_from(c).ok())
                .collect();
            let sent = String::from_utf8_lossy(&sent);
            assert_eq!(theirs[1], sent, "{way:?}, {name}: {request} and {ours}");
        }
        if way != Way::Unbuffered {
            assert_eq!(text(request, "body"), body, "{way:?}, {name}: {request}");
        }
        let requests = all.entry(name.to_owned()).or_default();
        requests.insert(*count, (mine[..2].join(" "), body));
    }
    println!(
        "{way:?}: {} connections, nginx saw {} requests, the app got {}, we refused {refused} that were passed on",
        ports.len(),
        seen.len(),
        got.len()
    );
    // At least the markers behind good requests must have come, or this tests nothing.
    assert!(got.len() > 50, "{way:?}: only {} requests came", got.len());
    all
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn address(place: &Place) -> String {
    match place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => socket(path),
    }
}

fn socket(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn pass(way: Way) -> &'static str {
    match way {
        Way::KeepAlive | Way::Unix => {
            "proxy_pass http://app; proxy_set_header Connection \"\";
             proxy_set_header Host $http_host; proxy_set_header X-Probe $request_id;"
        }
        Way::Unbuffered => {
            "proxy_pass http://app; proxy_set_header Connection \"\"; proxy_request_buffering off;
             proxy_set_header Host $http_host; proxy_set_header X-Probe $request_id;"
        }
        Way::Uwsgi => "include uwsgi_params; uwsgi_param PROBE $request_id; uwsgi_pass app;",
    }
}

#[test]
fn the_examples_answer_behind_nginx_in_every_way() {
    if lacks(&[program("nginx"), Need::Packages]) {
        return;
    }
    for (app, target, expected) in [
        ("x:logic", "/", "OK\n"),
        ("function:app", "/?name=you", "Hello, you!\n"),
        ("werkzeug_app:app", "/", "Hello, world!\n"),
        ("flask_app:app", "/stream", "0\n1\n2\n3\n4\n"),
        ("bottle_app:app", "/hello/you", "Hello, you!\n"),
        ("django_app:application", "/", "Hello from Django\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [http, uwsgi] = ["http", "uwsgi"].map(|name| socket(&folder.path().join(name)));
        let server = Server::app(app)
            .python(venv::python())
            .env("DJANGO_EXAMPLE_DB", ":memory:")
            .args(["--chdir", EXAMPLES])
            .args(["--bind", &http, "--bind", &format!("uwsgi://{uwsgi}")])
            .start();
        server.wait_serving(1);
        let keep = address(server.place());
        let (by_http, by_uwsgi) = (pass(Way::KeepAlive), pass(Way::Uwsgi));
        let nginx = Nginx::start(|listen| {
            let block = |name: &str, address: &str, pass: &str| {
                let pass = pass.replace("app;", &format!("{name};"));
                format!(
                    "upstream {name} {{ server {address}; keepalive 4; }}
                     server {{ listen {listen}; server_name {name}; location / {{ {pass} }} }}"
                )
            };
            let blocks = [
                block("keep", &keep, by_http),
                block("unix", &http, by_http),
                block("uwsgi", &uwsgi, by_uwsgi),
            ];
            format!(
                "http {{ {HTTP} access_log off; proxy_http_version 1.1; {} }}",
                blocks.concat()
            )
        });
        let mut wire = nginx.connect();
        for way in ["keep", "unix", "uwsgi", "keep", "unix", "uwsgi"] {
            ask(&mut wire, way, target, expected, app);
        }
        drop(nginx);
        server.stop();
    }
}

fn ask(wire: &mut Wire, way: &str, target: &str, expected: &str, app: &str) {
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {way}\r\n\r\n"));
    let reply = wire.read_reply();
    let told = (reply.status, reply.text());
    assert_eq!(told, (200, expected.to_owned()), "{app} by {way}");
}
