//! Each type of frame (RFC 9113 section 6).

use super::{Expected, Setup, answered, case, frame, get, get_held, post_held};
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY,
    HEADERS, Http2, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS,
    request,
};

pub(super) const MALFORMED: Expected = Expected::Connection(PROTOCOL_ERROR);
pub(super) const WRONG_SIZE: Expected = Expected::Connection(FRAME_SIZE_ERROR);
pub(super) const WRONG_WINDOW: Expected = Expected::Connection(FLOW_CONTROL_ERROR);

/// 6.1
#[test]
fn data() {
    let padded = |length, rest: &[u8]| frame(DATA, PADDED, 1, &[&[length], rest].concat());
    Setup::new().run(&[
        case("on no stream", [frame(DATA, 0, 0, b"x")], MALFORMED),
        case(
            "with padding",
            [post_held(1), padded(2, b"x\0\0")],
            Expected::Ignored,
        ),
        case(
            "with nothing but padding",
            [post_held(1), padded(2, b"\0\0")],
            Expected::Ignored,
        ),
        case(
            "with more padding than payload",
            [post_held(1), padded(3, b"\0\0")],
            MALFORMED,
        ),
        case(
            "without the length of its padding",
            [post_held(1), frame(DATA, PADDED, 1, &[])],
            MALFORMED,
        ),
    ]);
}

/// 6.2
#[test]
fn headers() {
    let fields = request("GET", "/", &[]);
    let flags = END_HEADERS | END_STREAM;
    let padded = |length: u8, padding: usize| {
        let payload = [&[length][..], &fields, &vec![0; padding]].concat();
        [frame(HEADERS, flags | PADDED, 1, &payload)]
    };
    Setup::new().run(&[
        case(
            "on no stream",
            [frame(HEADERS, flags, 0, &fields)],
            MALFORMED,
        ),
        case("with padding", padded(9, 9), answered(200)),
        case("with more padding than payload", padded(255, 0), MALFORMED),
        case(
            "without the priority that is announced",
            [frame(HEADERS, flags | 0x20, 1, &[0; 4])],
            MALFORMED,
        ),
    ]);
}

/// 6.3
#[test]
fn priority() {
    Setup::new().run(&[
        case(
            "on no stream",
            [frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9])],
            MALFORMED,
        ),
        case(
            "of another size",
            [get_held(1), frame(PRIORITY, 0, 1, &[0; 4])],
            WRONG_SIZE,
        ),
    ]);
}

/// 6.4
#[test]
fn rst_stream() {
    Setup::new().run(&[
        case(
            "on no stream",
            [frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])],
            MALFORMED,
        ),
        case(
            "of another size",
            [get_held(1), frame(RST_STREAM, 0, 1, &[0; 3])],
            WRONG_SIZE,
        ),
        case(
            "with an unknown error",
            [get_held(1), frame(RST_STREAM, 0, 1, &[0xff; 4])],
            Expected::Ignored,
        ),
    ]);
}

/// 6.5
#[test]
fn settings() {
    let set = |id: u16, value: u32| {
        let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        [frame(SETTINGS, 0, 0, &payload)]
    };
    Setup::new().run(&[
        case(
            "ACK with a payload",
            [frame(SETTINGS, ACK, 0, &[0; 6])],
            WRONG_SIZE,
        ),
        case("on a stream", [frame(SETTINGS, 0, 1, &[])], MALFORMED),
        case(
            "of half a setting",
            [frame(SETTINGS, 0, 0, &[0; 3])],
            WRONG_SIZE,
        ),
        case(
            "SETTINGS_HEADER_TABLE_SIZE of 0",
            set(1, 0),
            Expected::Ignored,
        ),
        case("SETTINGS_ENABLE_PUSH of 0", set(2, 0), Expected::Ignored),
        case("SETTINGS_ENABLE_PUSH of 2", set(2, 2), MALFORMED),
        case(
            "SETTINGS_INITIAL_WINDOW_SIZE of the most",
            set(4, 0x7fff_ffff),
            Expected::Ignored,
        ),
        case(
            "SETTINGS_INITIAL_WINDOW_SIZE of more",
            set(4, 0x8000_0000),
            WRONG_WINDOW,
        ),
        case(
            "SETTINGS_MAX_FRAME_SIZE of the least",
            set(5, 16_384),
            Expected::Ignored,
        ),
        case("SETTINGS_MAX_FRAME_SIZE of less", set(5, 16_383), MALFORMED),
        case(
            "SETTINGS_MAX_FRAME_SIZE of the most",
            set(5, 16_777_215),
            Expected::Ignored,
        ),
        case(
            "SETTINGS_MAX_FRAME_SIZE of more",
            set(5, 16_777_216),
            MALFORMED,
        ),
    ]);
}

/// 6.5.3: they are acknowledged, and in force then.
#[test]
fn settings_are_acknowledged() {
    let setup = Setup::new();
    let mut client = Http2::over(setup.session(), &[]);
    // SETTINGS_INITIAL_WINDOW_SIZE (4), twice: the last one counts.
    let twice = [0, 4, 0, 0, 0, 100, 0, 4, 0, 0, 0, 1];
    client.write(&[frame(SETTINGS, 0, 0, &twice), get(1)].concat());
    // The first ACK is that of the connection's begin.
    for _exchange in 0..2 {
        let frame = client.wait(SETTINGS);
        assert_eq!((frame.flags, frame.payload.len()), (ACK, 0));
    }
    let data = client.wait(DATA);
    assert_eq!((&data.payload[..], data.flags), (&b"h"[..], 0));
}

/// 6.6: only servers push.
#[test]
fn push_promise() {
    let fields = request("GET", "/", &[]);
    let promise = [&[0, 0, 0, 2][..], &fields].concat();
    Setup::new().run(&[
        case(
            "on a stream",
            [get_held(1), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            MALFORMED,
        ),
        case(
            "on no stream",
            [frame(PUSH_PROMISE, END_HEADERS, 0, &promise)],
            MALFORMED,
        ),
    ]);
}

/// 6.7. That a PING is answered with its payload each case shows.
#[test]
fn ping() {
    Setup::new().run(&[
        case(
            "an answer to nothing",
            [frame(PING, ACK, 0, &[1; 8])],
            Expected::Ignored,
        ),
        case(
            "on a stream",
            [get_held(1), frame(PING, 0, 1, &[1; 8])],
            MALFORMED,
        ),
        case("of another size", [frame(PING, 0, 0, &[1; 7])], WRONG_SIZE),
    ]);
}

/// 6.8
#[test]
fn goaway() {
    Setup::new().run(&[
        case(
            "on a stream",
            [get_held(1), frame(GOAWAY, 0, 1, &[0; 8])],
            MALFORMED,
        ),
        case(
            "of another size",
            [frame(GOAWAY, 0, 0, &[0; 7])],
            WRONG_SIZE,
        ),
    ]);
}

/// 6.8: what was asked before is answered.
#[test]
fn a_goaway_of_the_client_ends_the_connection_when_all_is_answered() {
    let setup = Setup::new();
    let mut client = Http2::over(setup.session(), &[]);
    client.write(&[get(1), frame(GOAWAY, 0, 0, &[0; 8])].concat());
    assert_eq!(client.body(1), b"hi");
    assert!(matches!(client.end(), None | Some(0)));
}

/// 6.10
#[test]
fn continuation() {
    let fields = request("GET", "/", &[]);
    let (one, rest) = fields.split_at(7);
    let (two, three) = rest.split_at(20);
    let begin = || frame(HEADERS, END_STREAM, 1, one);
    Setup::new().run(&[
        case(
            "several",
            [
                begin(),
                frame(CONTINUATION, 0, 1, two),
                frame(CONTINUATION, END_HEADERS, 1, three),
            ],
            answered(200),
        ),
        case(
            "on no stream",
            [begin(), frame(CONTINUATION, END_HEADERS, 0, rest)],
            MALFORMED,
        ),
        case(
            "after a whole head",
            [get_held(1), frame(CONTINUATION, END_HEADERS, 1, &[])],
            MALFORMED,
        ),
        case(
            "after DATA",
            [
                post_held(1),
                frame(DATA, 0, 1, b"x"),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            MALFORMED,
        ),
        case(
            "after the last one",
            [
                begin(),
                frame(CONTINUATION, END_HEADERS, 1, rest),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            MALFORMED,
        ),
    ]);
}
