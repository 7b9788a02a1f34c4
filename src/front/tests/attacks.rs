//! Clients that mean harm: what they take is bounded, and others are served meanwhile.

use std::io::Write;

use rcorn_front_link::{Configuration, Http2Limits, Limits};

use crate::support::client::plain;
use crate::support::frames::{
    ACK, CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PING,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, literal, request,
};
use crate::support::front::Front;
use crate::support::worker::{Worker, echo, ok};

/// What an attack may take of memory, in KiB.
const MORE_KIB: u64 = 16 * 1024;

/// Sends this again and again until the front ends the connection, or so often; returns what GOAWAY
/// said.
fn flood(client: &mut Http2, times: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) -> Option<u32> {
    let mut reader = Http2(client.0.try_clone().unwrap());
    // What comes back must be read, or the front would wait for that.
    let reader = std::thread::spawn(move || reader.end());
    for number in 0..times {
        if client.0.write_all(&bytes(number)).is_err() {
            break;
        }
    }
    client.0.shutdown(std::net::Shutdown::Write).ok();
    reader.join().unwrap()
}

/// Another client is served, and the front has not grown.
fn is_well(front: &Front, before: u64) {
    assert_eq!(plain(front.address()).get("/").status, 200);
    let more = front.memory().saturating_sub(before);
    assert!(more < MORE_KIB, "{more} KiB more");
}

fn started(worker: &Worker, configuration: Configuration) -> (Front, u64) {
    let front = Front::http(worker, configuration);
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    client.body(1);
    let before = front.memory();
    (front, before)
}

/// CVE-2023-44487: requests that are taken back at once.
#[test]
fn rapid_resets_end_the_connection() {
    let worker = echo();
    let (mut front, before) = started(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let head = request("GET", "/", &[]);
    let error = flood(&mut client, 200_000, |number| {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        let open = Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        let cancel = Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [open.bytes(), cancel.bytes()].concat()
    });
    assert!(matches!(error, Some(CALM) | None), "{error:?}");
    // Far from as many as were sent.
    let requests = front.status("requests").0;
    assert!(requests < 2_000, "{requests} requests were passed on");
    is_well(&front, before);
}

/// The same, slowly: each request has reached a worker before it is taken back.
#[test]
fn resets_beyond_what_is_answered_end_the_connection() {
    let worker = Worker::raw(|connection| {
        while let Some(request) = connection.request() {
            if request.head.starts_with("GET /answered") {
                connection.send(&ok(b"hi"));
            }
        }
    });
    let mut front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let mut stream = 1;
    for number in 1..=201 {
        client.get(stream, "/never");
        front.until(|front| front.status("requests").0 >= number);
        client.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        stream += 2;
    }
    assert_eq!(client.end(), Some(CALM));
    assert_eq!(front.status("floods").0, 1);
    front
        .process
        .record("The HTTP/2 connection of ip=127.0.0.1 was ended: it floods");
    let mut other = plain(front.address());
    assert_eq!(other.get("/answered").text(), "hi");
}

/// CVE-2025-8671: errors of the client, for which the front takes back what a worker has got.
#[test]
fn resets_that_a_client_provokes_end_the_connection() {
    let worker = Worker::raw(|connection| {
        let head = connection.head().unwrap_or_default();
        if head.starts_with("GET / ") {
            connection.send(&ok(b"hi"));
        }
        connection.head();
    });
    let (mut front, before) = started(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    let head = request("POST", "/held", &[]);
    for number in 0..101 {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        client.send(HEADERS, END_HEADERS, stream, &head);
        front.until(|front| front.status("requests").0 >= number + 2);
        // More than the window can hold.
        client.send(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    }
    assert_eq!(client.end(), Some(CALM));
    is_well(&front, before);
}

/// A head in ever more frames (CVE-2024-27316 and its like).
#[test]
fn a_head_without_an_end_is_refused() {
    let worker = echo();
    let (front, before) = started(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.send(HEADERS, 0, 1, &request("GET", "/", &[]));
    let field = literal("x-more", &"x".repeat(8000));
    let error = flood(&mut client, 20_000, |_number| {
        Frame::new(CONTINUATION, 0, 1, &field).bytes()
    });
    assert_ne!(error, Some(0));
    is_well(&front, before);
    assert!(worker.seen().head.starts_with("GET / "));
}

/// Frames of a head that hold nothing.
#[test]
fn empty_continuations_are_refused() {
    let worker = echo();
    let (front, before) = started(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.send(HEADERS, 0, 1, &request("GET", "/", &[]));
    let many = Frame::new(CONTINUATION, 0, 1, &[]).bytes().repeat(1000);
    let error = flood(&mut client, 2_000, |_number| many.clone());
    assert_ne!(error, Some(0));
    is_well(&front, before);
}

/// A head that is small on the wire and large in memory (RFC 7541 section 7.1 and 4.1).
#[test]
fn a_head_that_unpacks_to_too_much_is_refused() {
    let worker = echo();
    let limits = Http2Limits {
        header_list_size: 32 * 1024,
        ..Http2Limits::default()
    };
    let configuration = Configuration {
        http2: limits,
        ..Configuration::default()
    };
    let (front, before) = started(&worker, configuration);
    let mut client = Http2::plain(front.address());
    // An entry of the dynamic table with 3000 bytes, and 10,000 references to it.
    let mut entry = literal("x-bomb", &"x".repeat(3000));
    entry[0] = 0x40;
    let mut fields = request("GET", "/", &[]);
    fields.extend_from_slice(&entry);
    fields.extend(std::iter::repeat_n(0xbe, 10_000));
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    assert_eq!(client.wait(GOAWAY).error(), CALM);
    is_well(&front, before);
}

/// Small frames that bring nothing, or next to nothing.
#[test]
fn frames_without_end_are_a_flood() {
    for (about, frame) in [
        ("PING", Frame::new(PING, 0, 0, &[7; 8])),
        ("answers to PING", Frame::new(PING, ACK, 0, &[7; 8])),
        ("SETTINGS", Frame::new(SETTINGS, 0, 0, &[])),
        ("settings", Frame::new(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("PRIORITY", Frame::new(PRIORITY, 0, 3, &[0, 0, 0, 0, 9])),
        (
            "WINDOW_UPDATE",
            Frame::new(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        ("an unknown type", Frame::new(0x16, 0, 0, &[0; 16])),
    ] {
        let worker = echo();
        let (mut front, before) = started(&worker, Configuration::default());
        let mut client = Http2::plain(front.address());
        let many = frame.bytes().repeat(1000);
        let error = flood(&mut client, 10_000, |_number| many.clone());
        assert!(matches!(error, Some(CALM) | None), "{about}: {error:?}");
        assert_eq!(front.status("floods").0, 1, "{about}");
        is_well(&front, before);
    }
}

/// Pings whose answers nobody reads.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let worker = echo();
    let limits = Limits {
        write_ms: 300,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let (mut front, before) = started(&worker, configuration);
    let mut client = Http2::plain(front.address());
    let many = Frame::new(PING, 0, 0, &[7; 8]).bytes().repeat(1000);
    while client.0.write_all(&many).is_ok() {}
    front.until(|front| front.status("requests").1 == 0);
    is_well(&front, before);
}

#[test]
fn empty_data_without_end_is_refused() {
    let worker = echo();
    let (front, before) = started(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[]));
    let many = Frame::new(DATA, 0, 1, &[]).bytes().repeat(1000);
    let error = flood(&mut client, 10_000, |_number| many.clone());
    assert!(matches!(error, Some(CALM) | None), "{error:?}");
    is_well(&front, before);
}

/// A window of zero: the response waits, but not for ever, and not in memory.
#[test]
fn a_window_that_stays_shut_ends_the_stream() {
    let body = vec![b'x'; 8 << 20];
    let worker = Worker::new(move |request| {
        let is_large = request.head.starts_with("GET /large");
        ok(if is_large { &body } else { b"hi" })
    });
    let limits = Limits {
        write_ms: 300,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let (mut front, before) = started(&worker, configuration);
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
    let socket = crate::support::client::socket(front.address());
    let mut client = Http2::over(socket, &[0, 4, 0, 0, 0, 0]);
    for stream in 0..50 {
        client.get(stream * 2 + 1, "/large");
    }
    for _stream in 0..50 {
        client.wait(RST_STREAM);
    }
    assert_eq!(front.status("slow_readers").0, 50);
    is_well(&front, before);
    // The connection itself goes on.
    client.send(PING, 0, 0, &[1; 8]);
    assert_eq!(client.wait(PING).flags, ACK);
}

/// Windows as wide as they can be, and nobody reads: what waits is bounded for each stream, and the
/// connection ends.
#[test]
fn responses_that_nobody_reads_do_not_pile_up() {
    let body = vec![b'x'; 8 << 20];
    let worker = Worker::new(move |request| {
        let is_large = request.head.starts_with("GET /large");
        ok(if is_large { &body } else { b"hi" })
    });
    let limits = Limits {
        write_ms: 500,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let (mut front, before) = started(&worker, configuration);
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is as large as it can be.
    let socket = crate::support::client::socket(front.address());
    let mut client = Http2::over(socket, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    client.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    for stream in 0..100 {
        client.get(stream * 2 + 1, "/large");
    }
    let mut most = 0;
    front.until(|front| {
        most = front.memory().max(most);
        front.status("requests").1 == 0
    });
    let most = most.saturating_sub(before);
    assert!(most < 2 * MORE_KIB, "{most} KiB more");
    is_well(&front, before);
}

#[test]
fn there_are_no_more_streams_than_allowed() {
    let worker = Worker::raw(|connection| {
        connection.head();
        connection.head();
    });
    let limits = Http2Limits {
        concurrent_streams: 10,
        ..Http2Limits::default()
    };
    let configuration = Configuration {
        http2: limits,
        ..Configuration::default()
    };
    let mut front = Front::http(&worker, configuration);
    let mut client = Http2::plain(front.address());
    for stream in 0..11 {
        client.get(stream * 2 + 1, "/");
    }
    let refused = client.wait(RST_STREAM);
    // REFUSED_STREAM: it may be sent again (RFC 9113 section 8.7).
    assert_eq!((refused.stream, refused.error()), (21, 7));
    front.until(|front| front.status("requests").0 == 10);
}

/// A connection on which nothing happens ends, with a word.
#[test]
fn a_connection_without_streams_ends() {
    let worker = echo();
    let limits = Limits {
        idle_ms: 200,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let front = Front::http(&worker, configuration);
    let mut client = Http2::plain(front.address());
    client.get(1, "/");
    client.body(1);
    assert_eq!(client.end(), Some(0));
}
