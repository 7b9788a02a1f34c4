//! Streams: their states, their numbers and how many there may be (RFC 9113 section 5).

use super::{Expected, STREAMS, Setup, answered, case, frame, get, get_held, post_held, reset};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PRIORITY, PROTOCOL_ERROR,
    REFUSED_STREAM, RST_STREAM, STREAM_CLOSED, WINDOW_UPDATE, WITH_PRIORITY, request,
};

/// `CANCEL`
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// 5.1: idle
#[test]
fn nothing_but_a_head_opens_a_stream() {
    let wrong = Expected::Connection(PROTOCOL_ERROR);
    let window = 1_u32.to_be_bytes();
    Setup::new().run(&[
        case("DATA", [frame(DATA, END_STREAM, 1, b"x")], wrong),
        case("RST_STREAM", [frame(RST_STREAM, 0, 1, &CANCEL)], wrong),
        case(
            "WINDOW_UPDATE",
            [frame(WINDOW_UPDATE, 0, 1, &window)],
            wrong,
        ),
        case(
            "CONTINUATION",
            [frame(CONTINUATION, END_HEADERS, 1, &[])],
            wrong,
        ),
        case(
            "PRIORITY",
            [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
            Expected::Ignored,
        ),
    ]);
}

/// 5.1: half-closed (remote)
#[test]
fn nothing_follows_the_end_of_a_request() {
    let closed = Expected::Connection(STREAM_CLOSED);
    let window = 1_u32.to_be_bytes();
    let fields = request("GET", "/", &[]);
    let head = || frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    Setup::new().run(&[
        case(
            "DATA",
            [get_held(1), frame(DATA, END_STREAM, 1, b"x")],
            closed,
        ),
        case("HEADERS", [get_held(1), head()], closed),
        case(
            "DATA after the end of a body",
            [
                post_held(1),
                frame(DATA, END_STREAM, 1, b"x"),
                frame(DATA, 0, 1, b"x"),
            ],
            closed,
        ),
        case(
            "CONTINUATION",
            [get_held(1), frame(CONTINUATION, END_HEADERS, 1, &[])],
            Expected::Connection(PROTOCOL_ERROR),
        ),
        case(
            "WINDOW_UPDATE",
            [get_held(1), frame(WINDOW_UPDATE, 0, 1, &window)],
            Expected::Ignored,
        ),
        case(
            "PRIORITY",
            [get_held(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
            Expected::Ignored,
        ),
        case(
            "RST_STREAM",
            [get_held(1), frame(RST_STREAM, 0, 1, &CANCEL)],
            Expected::Ignored,
        ),
    ]);
}

/// 5.1: closed, by a `RST_STREAM` of the client
#[test]
fn nothing_follows_a_reset() {
    let closed = reset(STREAM_CLOSED);
    let cancel = || frame(RST_STREAM, 0, 1, &CANCEL);
    let fields = request("GET", "/", &[]);
    let head = || frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
    let window = 1_u32.to_be_bytes();
    Setup::new().run(&[
        case(
            "DATA",
            [post_held(1), cancel(), frame(DATA, END_STREAM, 1, b"x")],
            closed,
        ),
        case(
            "HEADERS",
            [post_held(1), cancel(), head()],
            Expected::Connection(STREAM_CLOSED),
        ),
        case(
            "CONTINUATION",
            [
                post_held(1),
                cancel(),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            Expected::Connection(PROTOCOL_ERROR),
        ),
        case(
            "WINDOW_UPDATE",
            [post_held(1), cancel(), frame(WINDOW_UPDATE, 0, 1, &window)],
            Expected::Ignored,
        ),
        case(
            "PRIORITY",
            [
                post_held(1),
                cancel(),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
            ],
            Expected::Ignored,
        ),
        case(
            "another RST_STREAM",
            [post_held(1), cancel(), cancel()],
            Expected::Ignored,
        ),
    ]);
}

/// 5.1: closed, by the end of request and response
#[test]
fn nothing_follows_a_response() {
    let setup = Setup::new();
    let fields = request("GET", "/", &[]);
    for (about, bytes, expected) in [
        (
            "DATA",
            frame(DATA, END_STREAM, 1, b"x"),
            reset(STREAM_CLOSED),
        ),
        (
            "HEADERS",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields),
            Expected::Connection(STREAM_CLOSED),
        ),
        (
            "WINDOW_UPDATE",
            frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
            Expected::Ignored,
        ),
        (
            "PRIORITY",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
            Expected::Ignored,
        ),
        (
            "RST_STREAM",
            frame(RST_STREAM, 0, 1, &CANCEL),
            Expected::Ignored,
        ),
    ] {
        let mut client = Http2::over(setup.session(), &[]);
        client.write(&get(1));
        assert_eq!(client.body(1), b"hi");
        client.write(&bytes);
        let judged = super::judge(&mut client, expected);
        assert_eq!(judged, Ok(()), "{about}");
    }
}

/// 5.1.1
#[test]
fn numbers_of_streams_are_odd_and_grow() {
    let wrong = Expected::Connection(PROTOCOL_ERROR);
    Setup::new().run(&[
        case("an even number", [get(2)], wrong),
        case("a smaller number", [get_held(5), get(3)], wrong),
        case(
            "a number in between, left out",
            [get_held(1), get(7)],
            Expected::Status {
                stream: 7,
                status: 200,
            },
        ),
    ]);
}

/// 5.1.2
#[test]
fn so_many_streams_are_open_at_a_time() {
    let held = || {
        (0..STREAMS)
            .flat_map(|number| get_held(number * 2 + 1))
            .collect()
    };
    let next = STREAMS * 2 + 1;
    let refused = Expected::Stream {
        stream: next,
        error: REFUSED_STREAM,
    };
    let setup = Setup::new();
    let mut client = Http2::over(setup.session(), &[]);
    client.write(&[held(), get(next)].concat());
    assert_eq!(super::answer(&mut client), Ok(refused));
    // Another one when one has ended.
    client.write(&[frame(RST_STREAM, 0, 1, &CANCEL), get(next + 2)].concat());
    let served = Expected::Status {
        stream: next + 2,
        status: 200,
    };
    assert_eq!(super::answer(&mut client), Ok(served));
}

/// 5.3: priorities are deprecated, and change nothing.
#[test]
fn priorities_are_tolerated() {
    let fields = request("GET", "/", &[]);
    let head = |priority: &[u8; 5]| {
        let flags = END_HEADERS | END_STREAM | WITH_PRIORITY;
        [frame(HEADERS, flags, 1, &[&priority[..], &fields].concat())]
    };
    let priority = |stream: u8, on: u8| frame(PRIORITY, 0, stream.into(), &[0, 0, 0, on, 9]);
    Setup::new().run(&[
        case(
            "HEADERS with a priority",
            head(&[0, 0, 0, 0, 9]),
            answered(200),
        ),
        case(
            "HEADERS that depend exclusively on a stream to come",
            head(&[0x80, 0, 0, 9, 9]),
            answered(200),
        ),
        case(
            "HEADERS that depend on themselves",
            head(&[0, 0, 0, 1, 9]),
            reset(PROTOCOL_ERROR),
        ),
        case(
            "PRIORITY of streams that depend on each other",
            [priority(1, 3), priority(3, 1)],
            Expected::Ignored,
        ),
        case(
            "PRIORITY that depends on itself",
            [get_held(1), priority(1, 1)],
            reset(PROTOCOL_ERROR),
        ),
    ]);
}
