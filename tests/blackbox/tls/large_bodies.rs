//! Large bodies, which the front gets in memory of the worker if it has them whole.

use std::fs;
use std::process::Command;
use std::thread;

use super::{Client, Pair, port, server};
use crate::support::{Server, lacks, program, wait_until};

/// `/LENGTH/KIND/SEED`: a body of that length, made of the seed, in one of the ways that there are.
const APP: &str = r"
def text(length, seed):
    line = (seed + ' ').encode()
    return (line * (length // len(line) + 1))[:length]

def pieces(body):
    return (body[start:start + 7000] for start in range(0, len(body), 7000))

def app(environ, start_response):
    length, kind, seed = environ['PATH_INFO'].strip('/').split('/')
    body = text(int(length), seed)
    write = start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', length)])
    if kind == 'write':
        write(body)
        return []
    return {
        'list': [body],
        'tuple': tuple(pieces(body)),
        'block': iter([body]),
        'blocks': pieces(body),
    }[kind]
";

const KINDS: [&str; 5] = ["list", "tuple", "block", "blocks", "write"];

const LENGTHS: [usize; 8] = [
    1,
    16 * 1024,
    16 * 1024 + 1,
    64 * 1024,
    64 * 1024 + 1,
    1 << 20,
    (1 << 20) + 1,
    3_000_000,
];

fn text(length: usize, seed: &str) -> String {
    let line = format!("{seed} ");
    line.chars().cycle().take(length).collect()
}

/// Whether a worker has memory that it shares with a front.
fn shares(server: &Server) -> bool {
    server.workers().into_iter().any(|worker| {
        let maps = fs::read_to_string(format!("/proc/{worker}/maps")).unwrap_or_default();
        maps.contains("/memfd:rcorn-body")
    })
}

#[test]
fn each_client_gets_its_own() {
    let server = server(&Pair::of(&["localhost"]))
        .file("m.py", APP)
        .args(["--workers", "2", "--threads", "2"])
        .start();
    assert!(!shares(&server));
    thread::scope(|scope| {
        for number in 0..4 {
            let mut client = Client::of(&server, &[]);
            scope.spawn(move || {
                for (index, length) in LENGTHS.iter().cycle().take(40).enumerate() {
                    let kind = KINDS[(index / LENGTHS.len() + number) % KINDS.len()];
                    let seed = format!("{number}-{index}");
                    let (status, _fields, body) =
                        client.try_get(&format!("/{length}/{kind}/{seed}")).unwrap();
                    assert_eq!(status, 200);
                    assert!(body == text(*length, &seed), "{length} {kind}");
                }
            });
        }
    });
    let mut client = Client::of(&server, &[]);
    wait_until(server.deadline(), "a worker shares memory", || {
        client.try_get("/300000/list/a").unwrap();
        shares(&server)
    });
    // Nobody asks for more.
    wait_until(server.deadline(), "the memory is given back", || {
        !shares(&server)
    });
    drop(client);
    server.stop();
}

#[test]
fn streams_of_one_connection_get_their_own() {
    if lacks(&[program("curl")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"])).file("m.py", APP).start();
    server.wait_serving(1);
    let mut urls = Vec::new();
    for (index, length) in LENGTHS.iter().enumerate() {
        for kind in ["list", "block"] {
            urls.push((
                *length,
                format!("{length}/{kind}/{index}"),
                index.to_string(),
            ));
        }
    }
    let all: Vec<&str> = urls.iter().map(|(_, path, _)| path.as_str()).collect();
    let output = server.directory().join("got");
    let fetched = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--http2"])
        .args(["--parallel", "--parallel-immediate", "--parallel-max", "8"])
        .arg(format!(
            "https://localhost:{}/{{{}}}",
            port(&server),
            all.join(",")
        ))
        .arg("--create-dirs")
        .arg("--output")
        .arg(output.join("#1"))
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    for (length, path, seed) in urls {
        let got = fs::read_to_string(output.join(&path)).unwrap();
        assert!(got == text(length, &seed), "{path}");
    }
    server.stop();
}

#[test]
fn without_a_buffer_nothing_is_shared() {
    let server = server(&Pair::of(&["localhost"]))
        .file("m.py", APP)
        .args(["--response-buffer", "0"])
        .start();
    let mut client = Client::of(&server, &[]);
    for _request in 0..3 {
        let (_status, _fields, body) = client.try_get("/300000/list/a").unwrap();
        assert!(body == text(300_000, "a"));
        assert!(!shares(&server));
    }
    drop(client);
    server.stop();
}
