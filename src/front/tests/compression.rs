//! Responses that are compressed on their way.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use rcorn_front_link::{Coding, Compress, Configuration};
use zlib_rs::{Inflate, InflateFlush};

use crate::support::client::plain;
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, request};
use crate::support::front::Front;
use crate::support::worker::{Worker, field};

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

/// The window, and the header of gzip (`inflateInit2` of zlib).
const GZIP: u8 = 15 + 16;

/// What is in a stream so far, which need not have ended.
pub(crate) fn unpacked(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let length = match coding {
        Coding::Zstd => {
            let mut input = zstd_safe::InBuffer::around(bytes);
            let mut room = zstd_safe::OutBuffer::around(&mut out[..]);
            let mut context = zstd_safe::DCtx::create();
            context.decompress_stream(&mut room, &mut input).unwrap();
            room.pos()
        }
        Coding::Br => {
            let mut writer = brotli::DecompressorWriter::new(Vec::new(), 4096);
            writer.write_all(bytes).unwrap();
            writer.flush().unwrap();
            return writer.get_ref().clone();
        }
        Coding::Gzip => {
            let mut inflate = Inflate::new(true, GZIP);
            let done = inflate.decompress(bytes, &mut out, InflateFlush::SyncFlush);
            done.unwrap();
            inflate.total_out().try_into().unwrap()
        }
    };
    out.truncate(length);
    out
}

pub(crate) fn compressing() -> Configuration {
    Configuration {
        compress: Some(Compress {
            codings: ALL.to_vec(),
            types: vec!["text/*".to_owned()],
            min_bytes: 100,
            level: 5,
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

/// A client takes these.
fn accept(coding: Coding) -> String {
    format!("Accept-Encoding: deflate, {}\r\n", coding.name())
}

#[test]
fn a_client_gets_a_coding_that_it_takes() {
    let worker = worker();
    let front = Front::http(&worker, compressing());
    let mut client = plain(front.address());
    let mut get = |target: &str, accept: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
        client.reply()
    };
    for coding in ALL {
        let reply = get("/", &accept(coding));
        assert_eq!(reply.field("content-encoding"), Some(coding.name()));
        assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
        assert!(reply.body.len() < 1000, "{coding:?} {}", reply.body.len());
        assert_eq!(unpacked(coding, &reply.body), page().as_bytes());
    }
    // The connection goes on, and caches learn that there are several.
    let reply = get("/", "");
    assert_eq!(
        (reply.field("content-encoding"), reply.text()),
        (None, &page()[..])
    );
    assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
    let reply = get("/image", &accept(Coding::Gzip));
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
    for (stream, coding) in [1, 3, 5].into_iter().zip(ALL) {
        let fields = request("GET", "/", &[("accept-encoding", coding.name())]);
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        assert_eq!(unpacked(coding, &client.body(stream)), page().as_bytes());
    }
}

/// What is no whole representation, or must not be changed, passes as it is.
#[test]
fn what_must_not_be_compressed_is_not() {
    let html = "Content-Type: text/html\r\nContent-Length: 200\r\n";
    let body = "x".repeat(200);
    for (method, status, fields) in [
        (
            "GET",
            "206 Partial Content",
            "Content-Range: bytes 0-199/900\r\n",
        ),
        ("GET", "200 OK", "Cache-Control: no-transform\r\n"),
        ("GET", "200 OK", "Content-Encoding: br\r\n"),
        ("GET", "304 Not Modified", "ETag: \"a\"\r\n"),
        ("HEAD", "200 OK", "ETag: \"a\"\r\n"),
    ] {
        let has_body = method == "GET" && !status.starts_with("304");
        let body = if has_body {
            body.clone()
        } else {
            String::new()
        };
        let head = format!("HTTP/1.1 {status}\r\n{html}{fields}");
        let sent = format!("{head}\r\n{body}");
        let worker = Worker::new(move |_| sent.clone().into_bytes());
        let front = Front::http(&worker, compressing());
        let mut client = plain(front.address());
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-199\r\n{}\r\n",
            accept(Coding::Zstd)
        ));
        let got = client.head();
        for line in head.lines().skip(1) {
            assert!(got.contains(line), "{method} {status}: no {line} in {got}");
        }
        assert_eq!(field(&got, "vary"), None, "{got}");
    }
}

/// What an app has sent so far can be read.
#[test]
fn a_stream_goes_on_streaming() {
    ALL.into_iter().for_each(streams);
}

fn streams(coding: Coding) {
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
    let accept = accept(coding);
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
    let head = client.head();
    assert_eq!(
        field(&head, "content-encoding"),
        Some(coding.name()),
        "{head}"
    );
    let mut body = client.chunk().unwrap();
    while unpacked(coding, &body) != b"first" {
        body.extend(client.chunk().unwrap());
    }
    go.send(()).unwrap();
    while let Some(chunk) = client.chunk() {
        body.extend(chunk);
    }
    assert_eq!(unpacked(coding, &body), b"firstsecond");
}
