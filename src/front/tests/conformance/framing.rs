//! The preface, and frames as such (RFC 9113 sections 3.4 and 4).

use std::io::Write;

use super::{Expected, Setup, answered, case, frame, get, post_held};
use crate::support::frames::{
    COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, HEADERS,
    Http2, PING, PRIORITY, PROTOCOL_ERROR, SETTINGS, literal, request,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest frame that may be sent, in bytes: the front allows no more than it must.
const MAX_FRAME: usize = 16_384;

/// 3.4: what begins in another way ends.
#[test]
fn a_connection_begins_with_preface_and_settings() {
    let setup = Setup::new();
    let settings = frame(SETTINGS, 0, 0, &[]);
    for (about, bytes) in [
        (
            "no preface",
            b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec(),
        ),
        (
            "another preface",
            b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(),
        ),
        ("no preface, but settings", settings.clone()),
        (
            "PING before the settings",
            [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "a request before the settings",
            [PREFACE, &get(1), &settings].concat(),
        ),
        (
            "an ACK before the settings",
            [PREFACE, &frame(SETTINGS, 1, 0, &[])].concat(),
        ),
    ] {
        let mut client = Http2(setup.session());
        client.write(&bytes);
        let error = client.end();
        // It may end without a GOAWAY.
        assert!(
            matches!(error, None | Some(PROTOCOL_ERROR)),
            "{about}: {error:?}"
        );
    }
    setup.run(&[]);
}

/// 3.4: the preface may arrive in pieces.
#[test]
fn a_preface_in_pieces_is_one() {
    let setup = Setup::new();
    let mut client = Http2(setup.session());
    for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1)].concat() {
        client.0.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.body(1), b"hi");
}

/// 4.1 and 5.5: what is not known is ignored.
#[test]
fn what_is_not_known_is_ignored() {
    let reserved = 0x8000_0000;
    Setup::new().run(&[
        case(
            "a frame of an unknown type",
            [frame(0x16, 0xff, 0, &[0; 8])],
            Expected::Ignored,
        ),
        case(
            "one on a stream",
            [frame(0x16, 0, 1, &[0; 8])],
            Expected::Ignored,
        ),
        case(
            "unknown flags of PING",
            [frame(PING, 0xfe, 0, &[7; 8])],
            Expected::Ignored,
        ),
        case(
            "a reserved bit of PING",
            [frame(PING, 0, reserved, &[7; 8])],
            Expected::Ignored,
        ),
        case(
            "an unknown setting",
            [frame(SETTINGS, 0, 0, &[0, 0xff, 0, 0, 0, 1])],
            Expected::Ignored,
        ),
    ]);
}

/// 4.2
#[test]
fn frames_have_a_size() {
    let (full, long) = (vec![0; MAX_FRAME], vec![0; MAX_FRAME + 1]);
    let mut fields = request("GET", "/", &[]);
    fields.extend(literal("x-long", &"x".repeat(MAX_FRAME)));
    let flags = END_HEADERS | END_STREAM;
    let filler = MAX_FRAME - request("GET", "/", &[]).len() - literal("x-long", "").len() - 2;
    let mut fits = request("GET", "/", &[]);
    fits.extend(literal("x-long", &"x".repeat(filler)));
    assert_eq!(fits.len(), MAX_FRAME);
    Setup::new().run(&[
        case(
            "DATA of the largest size",
            [post_held(1), frame(DATA, 0, 1, &full)],
            Expected::Ignored,
        ),
        case(
            "HEADERS of the largest size",
            [frame(HEADERS, flags, 1, &fits)],
            answered(431),
        ),
        case(
            "longer DATA",
            [post_held(1), frame(DATA, 0, 1, &long)],
            Expected::Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "longer HEADERS",
            [frame(HEADERS, flags, 1, &fields)],
            Expected::Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "a longer frame of an unknown type",
            [frame(0x16, 0, 0, &long)],
            Expected::Connection(FRAME_SIZE_ERROR),
        ),
    ]);
}

/// 4.3, and RFC 7541 sections 2 to 6.
#[test]
fn heads_are_compressed_well_or_not_at_all() {
    let flags = END_HEADERS | END_STREAM;
    let with = |bytes: &[u8]| -> [Vec<u8>; 1] {
        let fields = [&request("GET", "/", &[])[..], bytes].concat();
        [frame(HEADERS, flags, 1, &fields)]
    };
    let before = |bytes: &[u8]| -> [Vec<u8>; 1] {
        let fields = [bytes, &request("GET", "/", &[])[..]].concat();
        [frame(HEADERS, flags, 1, &fields)]
    };
    let wrong = Expected::Connection(COMPRESSION_ERROR);
    Setup::new().run(&[
        case("index 0", with(&[0x80]), wrong),
        case(
            "an index beyond the tables",
            with(&[0xff, 0x80, 0x01]),
            wrong,
        ),
        case(
            "a name's index beyond the tables",
            with(&[0x7f, 0x80, 0x01, 1, b'x']),
            wrong,
        ),
        case("a field that ends early", with(&[0x00, 5, b'x']), wrong),
        case("an integer without an end", with(&[0xff; 12]), wrong),
        case(
            "Huffman code with the symbol of the end",
            with(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            wrong,
        ),
        case(
            "Huffman code with a padding of more than 7 bits",
            with(&[0, 1, b'x', 0x82, 0x1f, 0xff]),
            wrong,
        ),
        case(
            "Huffman code that is padded with zeros",
            with(&[0, 1, b'x', 0x81, 0x18]),
            wrong,
        ),
        case(
            "a table that becomes too large",
            before(&[0x3f, 0xff, 0xff, 0x03]),
            wrong,
        ),
        case(
            "another size of the table after a field",
            with(&[0x20]),
            wrong,
        ),
        case("a table of size 0", before(&[0x20]), answered(200)),
        case(
            "a table that changes its size twice",
            before(&[0x20, 0x3f, 0xe1, 0x1f]),
            answered(200),
        ),
    ]);
}

/// 4.3: nothing may come between the frames of a head.
#[test]
fn a_head_is_not_interrupted() {
    let begin = || frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[]));
    let end = || frame(CONTINUATION, END_HEADERS, 1, &[]);
    let between = |about, other| {
        let expected = Expected::Connection(PROTOCOL_ERROR);
        case(about, [begin(), other, end()], expected)
    };
    Setup::new().run(&[
        between("DATA", frame(DATA, 0, 1, b"x")),
        between("HEADERS of another stream", get(3)),
        between("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        between("PING", frame(PING, 0, 0, &[0; 8])),
        between("a frame of an unknown type", frame(0x16, 0, 0, &[])),
        between(
            "CONTINUATION of another stream",
            frame(CONTINUATION, 0, 3, &[]),
        ),
        case("nothing", [begin(), end()], answered(200)),
    ]);
}
