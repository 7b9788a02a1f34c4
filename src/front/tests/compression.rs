//! Responses that are compressed on their way.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use rcorn_front_link::{Compress, Configuration};
use zlib_rs::{Inflate, InflateFlush};

use crate::support::client::plain;
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, request};
use crate::support::front::Front;
use crate::support::worker::{Worker, field};

/// The window, and the header of gzip (`inflateInit2` of zlib).
const GZIP: u8 = 15 + 16;

/// What is in a gzip stream so far.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut inflate = Inflate::new(true, GZIP);
    let mut out = vec![0; 1 << 20];
    let done = inflate.decompress(bytes, &mut out, InflateFlush::SyncFlush);
    done.unwrap();
    out.truncate(inflate.total_out().try_into().unwrap());
    out
}

fn compressing() -> Configuration {
    Configuration {
        compress: Some(Compress {
            types: vec!["text/*".to_owned()],
            min_bytes: 100,
            level: 6,
        }),
        ..Configuration::default()
    }
}

fn page() -> String {
    "<p>hello, world</p>\n".repeat(1000)
}

fn worker() -> Worker {
    Worker::new(|request| {
        let kind = if request.head.contains("/image") {
            "image/png"
        } else {
            "text/html"
        };
        let page = page();
        let length = page.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{page}")
            .into_bytes()
    })
}

#[test]
fn who_takes_gzip_gets_it() {
    let worker = worker();
    let front = Front::http(&worker, compressing());
    let mut client = plain(front.address());
    let mut get = |target: &str, accept: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
        client.reply()
    };
    let accept = "Accept-Encoding: br, gzip\r\n";
    let reply = get("/", accept);
    assert_eq!(reply.field("content-encoding"), Some("gzip"));
    assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
    assert!(reply.body.len() < 1000, "{}", reply.body.len());
    assert_eq!(unpacked(&reply.body), page().as_bytes());
    // The connection goes on, and caches learn that there are two.
    let reply = get("/", "");
    assert_eq!(
        (reply.field("content-encoding"), reply.text()),
        (None, &page()[..])
    );
    assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
    let reply = get("/image", accept);
    assert_eq!(
        (reply.field("content-encoding"), reply.field("vary")),
        (None, None)
    );
    assert_eq!(reply.text(), page());
}

#[test]
fn over_http_2_as_well() {
    let worker = worker();
    let front = Front::http(&worker, compressing());
    let mut client = Http2::plain(front.address());
    let fields = request("GET", "/", &[("accept-encoding", "gzip")]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    assert_eq!(unpacked(&client.body(1)), page().as_bytes());
}

/// What an app has sent so far can be read.
#[test]
fn a_stream_goes_on_streaming() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        connection.request().unwrap();
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        );
        gone.lock().unwrap().recv().unwrap();
        connection.send(b"6\r\nsecond\r\n0\r\n\r\n");
        connection.head();
    });
    let front = Front::http(&worker, compressing());
    let mut client = plain(front.address());
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head();
    assert_eq!(field(&head, "content-encoding"), Some("gzip"), "{head}");
    let mut body = Vec::new();
    while unpacked(&body) != b"first" {
        body.extend(client.chunk().unwrap());
    }
    go.send(()).unwrap();
    while let Some(chunk) = client.chunk() {
        body.extend(chunk);
    }
    assert_eq!(unpacked(&body), b"firstsecond");
}
