//! What RFC 9113 asks of a server, section by section: a client sends something that is wrong, or
//! only unusual, and each case says what must become of it. It is sent over TLS.

mod frames;
mod framing;
mod requests;
mod streams;
mod windows;

use std::sync::Arc;

use rcorn_front_link::{Configuration, Http2Limits};
use rustls::ClientConfig;

use crate::support::client::{Session, secure, trusting};
use crate::support::frames::{
    ACK, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PING, PROTOCOL_ERROR, RST_STREAM,
    request,
};
use crate::support::front::Front;
use crate::support::keys::{Authority, tls};
use crate::support::worker::{Seen, Worker, ok};

/// So many streams may be open at a time.
const STREAMS: u32 = 10;

/// What a client gives and gets of a window to begin with, in bytes (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;

/// What must become of what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// GOAWAY with this error, and the end of the connection. The library that speaks HTTP/2 knows
    /// most of them as `PROTOCOL_ERROR` only, and makes some of what the RFC has as an error of a
    /// stream one of the connection (section 5.4.1 lets it).
    Connection(u32),
    /// `RST_STREAM` with this error. The connection goes on.
    Stream { stream: u32, error: u32 },
    /// A response of this status. The connection goes on.
    Status { stream: u32, status: u16 },
    /// No answer. The connection goes on.
    Ignored,
}

/// The same for stream 1, which most cases need only.
const fn reset(error: u32) -> Expected {
    Expected::Stream { stream: 1, error }
}

const fn answered(status: u16) -> Expected {
    Expected::Status { stream: 1, status }
}

/// A case: what it is about, and what is sent after the exchange of settings.
struct Case {
    about: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
}

fn case<const N: usize>(about: &'static str, frames: [Vec<u8>; N], expected: Expected) -> Case {
    Case {
        about,
        bytes: frames.into_iter().flatten().collect(),
        expected,
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

/// A request that is answered at once.
fn get(stream: u32) -> Vec<u8> {
    get_path(stream, "/")
}

/// A request of this path, without a body.
fn get_path(stream: u32, path: &str) -> Vec<u8> {
    let fields = request("GET", path, &[]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
}

/// A request that is not answered.
fn get_held(stream: u32) -> Vec<u8> {
    get_path(stream, "/held")
}

/// The head of a request that is not answered; its body is to follow.
fn post_held(stream: u32) -> Vec<u8> {
    let fields = request("POST", "/held", &[]);
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// A front with TLS, and clients of it.
struct Setup {
    front: Front,
    worker: Worker,
    client: Arc<ClientConfig>,
}

impl Setup {
    fn new() -> Self {
        let authority = Authority::new("ca");
        let pair = authority.issue(&["shop.example"]);
        let worker = Worker::raw(|connection| {
            while let Some(head) = connection.head() {
                if head.contains(" /held ") {
                    std::io::copy(&mut connection.reader, &mut std::io::sink()).ok();
                    return;
                }
                connection.send(&ok(b"hi"));
                if !head.contains(" /probe ") {
                    connection.tell(Seen {
                        connection: connection.number,
                        head,
                        body: Vec::new(),
                    });
                }
            }
        });
        let http2 = Http2Limits {
            concurrent_streams: STREAMS,
            window: WINDOW,
            ..Http2Limits::default()
        };
        let configuration = Configuration {
            tls: Some(tls(&[&pair])),
            http2,
            ..Configuration::default()
        };
        let front = Front::https(&worker, configuration);
        let mut client = trusting(authority.roots(), None);
        client.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            front,
            worker,
            client: Arc::new(client),
        }
    }

    fn session(&self) -> Session {
        secure(self.front.address(), "shop.example", &self.client).unwrap()
    }

    /// Runs all cases, and tells of all that have failed.
    fn run(&self, cases: &[Case]) {
        let mut failed = Vec::new();
        for case in cases {
            let mut client = Http2::over(self.session(), &[]);
            client.write(&case.bytes);
            if let Err(what) = judge(&mut client, case.expected) {
                failed.push(format!("{}: {what}", case.about));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        // Others are served.
        let mut client = Http2::over(self.session(), &[]);
        client.write(&get_path(1, "/probe"));
        assert_eq!(client.body(1), b"hi");
    }
}

/// Whether what has become of it is what must.
fn judge(client: &mut Http2<Session>, expected: Expected) -> Result<(), String> {
    let seen = match expected {
        Expected::Connection(_) => match client.end().ok_or("it ends without a GOAWAY")? {
            PROTOCOL_ERROR => return Ok(()),
            error => Expected::Connection(error),
        },
        Expected::Stream { .. } | Expected::Status { .. } => answer(client)?,
        Expected::Ignored => Expected::Ignored,
    };
    if seen != expected {
        return Err(format!("{seen:?}, not {expected:?}"));
    }
    if matches!(expected, Expected::Connection(_)) {
        return Ok(());
    }
    goes_on(client)
}

/// The next response or end of a stream.
fn answer(client: &mut Http2<Session>) -> Result<Expected, String> {
    while let Some(frame) = client.next() {
        match frame.kind {
            RST_STREAM => {
                return Ok(Expected::Stream {
                    stream: frame.stream,
                    error: frame.error(),
                });
            }
            HEADERS => {
                return Ok(Expected::Status {
                    stream: frame.stream,
                    status: frame.status(),
                });
            }
            GOAWAY => return Err(format!("GOAWAY with error {}", frame.error())),
            _ => {}
        }
    }
    Err("the connection ends".to_owned())
}

/// Whether the connection answers a PING and serves another request, and says nothing else.
fn goes_on(client: &mut Http2<Session>) -> Result<(), String> {
    const STREAM: u32 = 1001;
    client.send(PING, 0, 0, b"continue");
    let (mut ponged, mut served) = (false, false);
    client.write(&get_path(STREAM, "/probe"));
    while !(ponged && served) {
        let frame = client.next().ok_or("the connection ends afterwards")?;
        match frame.kind {
            PING if frame.payload == b"continue" => ponged = frame.flags == ACK,
            HEADERS if frame.stream == STREAM => served = frame.status() == 200,
            HEADERS | RST_STREAM | GOAWAY => return Err(format!("and then {frame:?}")),
            _ => {}
        }
    }
    Ok(())
}
