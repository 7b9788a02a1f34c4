//! Requests (RFC 9113 section 8): those that are malformed reach no worker.

use super::{Case, Expected, Setup, answered, case, frame, reset};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, literal, request,
};

const MALFORMED: Expected = reset(PROTOCOL_ERROR);
/// What is no name or value at all is an error of the connection for the library.
const NONE: Expected = Expected::Connection(PROTOCOL_ERROR);
const REFUSED: Expected = answered(400);

/// A request without a body, of these fields.
fn of(about: &'static str, fields: &[(&str, &str)], expected: Expected) -> Case {
    let fields: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect();
    case(
        about,
        [frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)],
        expected,
    )
}

/// A GET request with one more field.
fn with(about: &'static str, name: &str, value: &str, expected: Expected) -> Case {
    let fields = request("GET", "/", &[(name, value)]);
    case(
        about,
        [frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)],
        expected,
    )
}

/// Runs cases, and asserts that none of their requests has reached a worker.
fn refused(cases: &[Case]) {
    let setup = Setup::new();
    setup.run(cases);
    assert!(setup.worker.has_seen_all());
}

/// The head of a request that is not answered.
fn post(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = request("POST", "/held", fields);
    frame(HEADERS, END_HEADERS, 1, &fields)
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}

/// A head at the end of a request.
fn trailers(fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, fields)
}

/// 8.1. The library does not see that trailers have a pseudo-header field, which makes a request
/// malformed; it drops that field, and trailers are passed on to nobody.
#[test]
fn trailers_end_a_request() {
    let ok = literal("x-checksum", "1");
    let pseudo = literal(":path", "/other");
    let upper = literal("X-Checksum", "1");
    Setup::new().run(&[
        case(
            "a second head that does not end the stream",
            [
                post(&[]),
                data(0, b"x"),
                frame(HEADERS, END_HEADERS, 1, &ok),
            ],
            MALFORMED,
        ),
        case(
            "trailers with a pseudo-header field",
            [post(&[]), data(0, b"x"), trailers(&pseudo)],
            Expected::Ignored,
        ),
        case(
            "trailers with an uppercase name",
            [post(&[]), data(0, b"x"), trailers(&upper)],
            NONE,
        ),
        case(
            "trailers",
            [post(&[]), data(0, b"x"), trailers(&ok)],
            Expected::Ignored,
        ),
        case(
            "trailers without a body",
            [post(&[]), trailers(&ok)],
            Expected::Ignored,
        ),
        case(
            "trailers in several frames",
            [
                post(&[]),
                frame(HEADERS, END_STREAM, 1, &ok),
                frame(CONTINUATION, END_HEADERS, 1, &ok),
            ],
            Expected::Ignored,
        ),
    ]);
}

/// 8.1.1
#[test]
fn bodies_have_their_length() {
    let ok = literal("x-checksum", "1");
    Setup::new().run(&[
        case(
            "less than content-length",
            [post(&[("content-length", "5")]), data(END_STREAM, b"abc")],
            MALFORMED,
        ),
        case(
            "less than content-length, in several frames",
            [
                post(&[("content-length", "5")]),
                data(0, b"a"),
                data(0, b"bc"),
                data(END_STREAM, b""),
            ],
            MALFORMED,
        ),
        case(
            "less than content-length, with trailers",
            [
                post(&[("content-length", "5")]),
                data(0, b"abc"),
                trailers(&ok),
            ],
            MALFORMED,
        ),
        case(
            "more than content-length",
            [post(&[("content-length", "2")]), data(END_STREAM, b"abc")],
            MALFORMED,
        ),
        case(
            "more than content-length, in several frames",
            [
                post(&[("content-length", "2")]),
                data(0, b"ab"),
                data(END_STREAM, b"c"),
            ],
            MALFORMED,
        ),
        case(
            "as much as content-length",
            [
                post(&[("content-length", "3")]),
                data(0, b"ab"),
                data(END_STREAM, b"c"),
            ],
            Expected::Ignored,
        ),
    ]);
}

/// 8.1.1: a length without a body
#[test]
fn a_length_without_a_body() {
    refused(&[with(
        "a content-length and no body",
        "content-length",
        "5",
        MALFORMED,
    )]);
}

/// 8.2.1
#[test]
fn names_and_values_of_fields() {
    refused(&[
        with("uppercase", "X-Upper", "1", NONE),
        with("a name with a space", "x y", "1", NONE),
        with("a name with a colon", "x:y", "1", NONE),
        with("a name with a control character", "x\x01y", "1", NONE),
        with("a name with a line end", "x\r\ny", "1", NONE),
        with("no name", "", "1", NONE),
        with("a value with NUL", "x-nul", "a\0b", NONE),
        with("a value with LF", "x-lf", "a\nb", NONE),
        with(
            "a value with CR and a field",
            "x-cr",
            "a\rTransfer-Encoding: chunked",
            NONE,
        ),
    ]);
}

/// 8.2.2
#[test]
fn fields_of_a_connection() {
    refused(&[
        with("connection", "connection", "close", MALFORMED),
        with("keep-alive", "keep-alive", "5", MALFORMED),
        with("proxy-connection", "proxy-connection", "close", MALFORMED),
        with(
            "transfer-encoding",
            "transfer-encoding",
            "chunked",
            MALFORMED,
        ),
        with("upgrade", "upgrade", "h2c", MALFORMED),
        with("te other than trailers", "te", "gzip", MALFORMED),
        with(
            "te with more than trailers",
            "te",
            "trailers, deflate;q=0.5",
            MALFORMED,
        ),
    ]);
    Setup::new().run(&[with("te: trailers", "te", "trailers", answered(200))]);
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "shop.example");
const PATH: (&str, &str) = (":path", "/");

/// 8.3
#[test]
fn pseudo_header_fields() {
    let more = ("x-more", "1");
    refused(&[
        of("without :method", &[SCHEME, AUTHORITY, PATH], MALFORMED),
        of("without :scheme", &[METHOD, AUTHORITY, PATH], MALFORMED),
        of("without :path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
        of(
            "with two of :method",
            &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
            MALFORMED,
        ),
        of(
            "with two of :scheme",
            &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH],
            MALFORMED,
        ),
        of(
            "with two of :authority",
            &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
            MALFORMED,
        ),
        of(
            "with two of :path",
            &[METHOD, SCHEME, AUTHORITY, PATH, PATH],
            MALFORMED,
        ),
        of(
            "with an unknown one",
            &[METHOD, SCHEME, AUTHORITY, PATH, (":test", "1")],
            NONE,
        ),
        of(
            "with one of responses",
            &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
            MALFORMED,
        ),
        of(
            "with one after others",
            &[METHOD, SCHEME, AUTHORITY, more, PATH],
            MALFORMED,
        ),
        of("with no field at all", &[], MALFORMED),
    ]);
}

type Field = (&'static str, &'static str);

fn pseudo(
    method: &'static str,
    scheme: &'static str,
    authority: &'static str,
    path: &'static str,
) -> [Field; 4] {
    [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ]
}

/// 8.3.1
#[test]
fn what_pseudo_header_fields_say() {
    refused(&[
        of(
            "an empty path",
            &pseudo("GET", "https", "shop.example", ""),
            MALFORMED,
        ),
        of(
            "a path that does not begin with a slash",
            &pseudo("GET", "https", "shop.example", "a"),
            MALFORMED,
        ),
        of(
            "an asterisk for another method than OPTIONS",
            &pseudo("GET", "https", "shop.example", "*"),
            REFUSED,
        ),
        of(
            "a path with a space",
            &pseudo("GET", "https", "shop.example", "/a b"),
            MALFORMED,
        ),
        of(
            "an authority with a user",
            &pseudo("GET", "https", "user@shop.example", "/"),
            REFUSED,
        ),
        of(
            "an authority that is none",
            &pseudo("GET", "https", "a/b", "/"),
            MALFORMED,
        ),
        of(
            "a method that is none",
            &pseudo("G T", "https", "shop.example", "/"),
            NONE,
        ),
        of("no authority and no Host", &[METHOD, SCHEME, PATH], REFUSED),
        of(
            "another Host",
            &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "other.example")],
            REFUSED,
        ),
    ]);
}

/// 8.3.1
#[test]
fn what_may_be_said_otherwise() {
    Setup::new().run(&[
        of(
            "Host instead of :authority",
            &[METHOD, SCHEME, PATH, ("host", "shop.example")],
            answered(200),
        ),
        of(
            "OPTIONS of the server",
            &pseudo("OPTIONS", "https", "shop.example", "*"),
            answered(200),
        ),
        of(
            "another scheme",
            &pseudo("GET", "http", "shop.example", "/"),
            answered(200),
        ),
    ]);
}

/// 8.5: there is no proxy here.
#[test]
fn connect_is_refused() {
    let connect = (":method", "CONNECT");
    refused(&[
        of("CONNECT", &[connect, AUTHORITY], answered(501)),
        of(
            "CONNECT with a path",
            &[connect, SCHEME, AUTHORITY, PATH],
            MALFORMED,
        ),
        of("CONNECT without an authority", &[connect], answered(501)),
        of(
            "CONNECT of a protocol",
            &[connect, (":protocol", "websocket"), SCHEME, AUTHORITY, PATH],
            MALFORMED,
        ),
    ]);
}
