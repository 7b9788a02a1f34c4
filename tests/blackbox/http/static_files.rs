//! Static files on the wire.

use std::fs;

use super::{HOST, ask};
use crate::support::Server;

/// An app that says which path it was asked for, and a directory of files beside it.
const APP: &str = "
def app(environ, start_response):
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'app:' + environ['PATH_INFO'].encode()]
";

fn builder(words: &[&str]) -> crate::support::Builder {
    Server::app("m:app")
        .args(words)
        .file("m.py", APP)
        .file("files/a.txt", "0123456789")
        .file("files/a.txt.gz", "packed")
        .file("files/sub/b.css", "b {}")
        .file("files/.hidden", "hidden")
}

#[test]
fn files_are_served_before_the_app() {
    let server = builder(&["--static", "/files=files", "--access-logfile", "access"]).start();
    let mut wire = server.connect();
    let reply = wire.get("/files/a.txt");
    assert_eq!((reply.status, reply.text()), (200, "0123456789".to_owned()));
    assert_eq!(
        reply.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(reply.field("server").is_some() && reply.field("date").is_some());
    assert!(!reply.closes());
    let tag = reply.field("etag").unwrap();
    // All on the same connection, the app between them.
    let again = ask(
        &mut wire,
        &format!("GET /files/a.txt HTTP/1.1\r\n{HOST}If-None-Match: {tag}\r\n\r\n"),
    );
    assert_eq!(again.status, 304);
    assert_eq!(wire.get("/other").text(), "app:/other");
    let part = ask(
        &mut wire,
        &format!("GET /files/a.txt HTTP/1.1\r\n{HOST}Range: bytes=2-4\r\n\r\n"),
    );
    assert_eq!((part.status, part.text()), (206, "234".to_owned()));
    let packed = ask(
        &mut wire,
        &format!("GET /files/a.txt HTTP/1.1\r\n{HOST}Accept-Encoding: gzip\r\n\r\n"),
    );
    assert_eq!(packed.field("content-encoding"), Some("gzip"));
    assert_eq!(packed.text(), "packed");
    wire.send(format!("HEAD /files/a.txt HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(wire.read_head().field("content-length"), Some("10"));
    for path in [
        "/files/none",
        "/files/",
        "/files/.hidden",
        "/files/../m.py",
        "/files/%2e%2e/m.py",
    ] {
        assert_eq!(wire.get(path).status, 404, "{path}");
    }
    assert_eq!(wire.get("/files/sub/b.css").text(), "b {}");
    // A body that nobody reads is no next request.
    let refused = ask(
        &mut wire,
        &format!("POST /files/a.txt HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"),
    );
    assert_eq!((refused.status, refused.closes()), (405, true));
    wire.expect_eof();
    let access = fs::read_to_string(server.directory().join("access")).unwrap();
    let part = "\"GET /files/a.txt HTTP/1.1\" 206 3 ";
    assert!(access.contains(part), "{access}");
    server.stop();
}

#[test]
fn http_1_0_and_a_unix_socket_get_files_too() {
    let server = builder(&["--static", "/=files"]).unix().start();
    let mut wire = server.connect();
    let reply = ask(&mut wire, "GET /a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(
        (reply.status, reply.text(), reply.closes()),
        (200, "0123456789".to_owned(), true)
    );
    wire.expect_eof();
    let mut wire = server.connect();
    let kept = "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(ask(&mut wire, kept).field("connection"), Some("keep-alive"));
    assert_eq!(ask(&mut wire, kept).status, 200);
    server.stop();
}

#[test]
fn the_app_answers_for_what_is_no_file_if_asked_for() {
    let words = [
        "--static",
        "/=files",
        "--static-fallthrough",
        "--static-index",
        "a.txt",
    ];
    let server = builder(&words).start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/").text(), "0123456789");
    assert_eq!(wire.get("/a.txt").text(), "0123456789");
    assert_eq!(wire.get("/sub/").text(), "app:/sub/");
    let posted = ask(
        &mut wire,
        &format!("POST /a.txt HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"),
    );
    assert_eq!(posted.text(), "app:/a.txt");
    server.stop();
}

#[test]
fn a_large_file_occupies_no_worker() {
    const SIZE: usize = 32 << 20;
    let server = builder(&["-w", "1", "--threads", "1", "--static", "/files=files"]).start();
    let large = vec![b'x'; SIZE];
    fs::write(server.directory().join("files/large.bin"), &large).unwrap();
    let mut slow = server.connect();
    slow.send(format!("GET /files/large.bin HTTP/1.1\r\n{HOST}\r\n"));
    let head = slow.read_head();
    assert_eq!(head.field("content-length"), Some(&*SIZE.to_string()));
    // It takes nothing more, and the only worker serves others.
    let mut quick = server.connect();
    for _ in 0..10 {
        assert_eq!(quick.get("/files/a.txt").status, 200);
        assert_eq!(quick.get("/x").text(), "app:/x");
    }
    slow.skip(SIZE.try_into().unwrap());
    assert_eq!(slow.get("/files/a.txt").status, 200);
    server.stop();
}

#[test]
fn a_reload_takes_new_files_and_a_wrong_setting_is_refused() {
    let server = builder(&["-c", "rcorn.yaml"])
        .file("rcorn.yaml", "static_files:\n  /old: files\n")
        .allow("Reload refused")
        .start();
    assert_eq!(server.get("/old/a.txt").text(), "0123456789");
    let yaml = "static_files: {/new: files}\nstatic_cache_control: {'*.txt': max-age=60}\n";
    server.write("rcorn.yaml", yaml);
    server.ctl(&["reload", "--wait"]).done();
    let reply = server.get("/new/a.txt");
    assert_eq!(reply.field("cache-control"), Some("max-age=60"));
    assert_eq!(server.get("/old/a.txt").text(), "app:/old/a.txt");
    server.write("rcorn.yaml", "static_files: {new: files}\n");
    let refused = server.ctl(&["reload", "--wait"]);
    assert!(
        refused.refused().contains("is not the beginning of a path"),
        "{refused:?}"
    );
    assert_eq!(server.get("/new/a.txt").status, 200);
    server.stop();
}
