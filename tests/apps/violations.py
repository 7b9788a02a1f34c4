"""Violations of PEP 3333, and what must be said about each; and iterables that are none, with the body of each:
one table for the server and for `rcorn cgi`, whose Python part repeats the rules.
tests/blackbox/wsgi/violations.rs asks both for each path."""

import array
import collections
import itertools

OK = "200 OK"
PLAIN = [("Content-Type", "text/plain")]


def declared(status=OK, headers=PLAIN, result=(b"x",)):
    """An app that declares this and returns that."""

    def app(environ, start_response):
        start_response(status, headers)
        return result

    return app


def twice(environ, start_response):
    start_response(OK, PLAIN)
    start_response(OK, PLAIN)
    return [b"x"]


def undeclared(environ, start_response):
    yield b"x"


def written(environ, start_response):
    start_response(OK, PLAIN)("text")
    return []


class IterRaises:
    def __iter__(self):
        raise TypeError("of the app itself")


class OnlyItems:
    """An iterable by the old protocol alone."""

    def __getitem__(self, place):
        return [b"a", b"b"][place]


class LyingLength(list):
    def __len__(self):
        return 99


class Lengthless(list):
    def __len__(self):
        raise RuntimeError("on purpose")


class Part(bytes):
    pass


ANSWERED = {
    "/dict": (lambda: {b"a": 1, b"b": 2}, "ab"),
    "/empty_dict": (dict, ""),
    "/ordered_dict": (lambda: collections.OrderedDict([(b"a", 1)]), "a"),
    "/keys": (lambda: {b"a": 1}.keys(), "a"),
    "/values": (lambda: {1: b"b"}.values(), "b"),
    "/set": (lambda: {b"a"}, "a"),
    "/frozenset": (lambda: frozenset([b"a"]), "a"),
    "/deque": (lambda: collections.deque([b"a", b"b"]), "ab"),
    "/generator": (lambda: (part for part in (b"a", b"b")), "ab"),
    "/map": (lambda: map(str.encode, "ab"), "ab"),
    "/chain": (lambda: itertools.chain([b"a"], (b"b",)), "ab"),
    "/only_items": (OnlyItems, "ab"),
    "/lying_length": (lambda: LyingLength([b"a"]), "a"),
    "/lengthless": (lambda: Lengthless([b"a"]), "a"),
    "/list_of_parts": (lambda: [Part(b"a")], "a"),
    "/empty_str": (str, ""),
    "/empty_bytes": (bytes, ""),
    "/empty_bytearray": (bytearray, ""),
    "/empty_array": (lambda: array.array("B"), ""),
}

CASES = {
    "/status_type": (declared(status=200), "start_response: the status is of type 'int'; it must be a str"),
    "/status_digits": (declared(status="OK"), "bad status 'OK': it does not begin with three digits and a space"),
    "/status_range": (declared(status="100 Go on"), "a final status lies between 200 and 599"),
    "/status_line_end": (
        declared(status="200 a\nb"),
        "bad status '200 a\\nb': its reason has control characters",
    ),
    "/status_latin1": (declared(status="200 \u20ac"), "it has characters beyond latin-1"),
    "/headers_type": (declared(headers=tuple(PLAIN)), "start_response: the headers are of type 'tuple'; they must be a list"),
    "/header_pair": (declared(headers=["X-A: b"]), "bad header 'X-A: b'; each must be a tuple of two str: (name, value)"),
    "/header_name": (
        declared(headers=[("X A", "b")]),
        "bad header 'X A': the name is not a token (RFC 9110 section 5.6.2)",
    ),
    "/header_line_end": (
        declared(headers=[("X-A", "b\r\nX-B: c")]),
        "bad header 'X-A': the value has control characters, such as a line end",
    ),
    "/header_latin1": (
        declared(headers=[("X-A", "\u20ac")]),
        "bad header 'X-A': the value has characters beyond latin-1; encode it (RFC 8187) or drop them",
    ),
    "/length_digits": (
        declared(headers=[("Content-Length", "+1")]),
        "bad header 'Content-Length': its value is not a number of bytes",
    ),
    "/length_twice": (
        declared(headers=[("Content-Length", "1"), ("Content-Length", "2")]),
        "bad header 'Content-Length': it is given twice with different values",
    ),
    "/twice": (twice, "start_response was called a second time without exc_info"),
    "/returned_none": (declared(result=None), "it must return an iterable of bytes: is there a missing 'return'?"),
    "/returned_int": (declared(result=1), "the app returned int; it must return an iterable of bytes"),
    "/returned_str": (declared(result="text"), "the app returned str; it must return an iterable of bytes: encode it"),
    "/returned_bytes": (declared(result=b"text"), "the app returned bytes; it must return an iterable of bytes: put it into a list"),
    "/returned_dict": (declared(result={"a": 1}), "the app returned dict; it must return an iterable of bytes: serialise it"),
    "/returned_bytearray": (declared(result=bytearray(b"x")), "'int' as item 0; each item must be bytes"),
    "/returned_view": (declared(result=memoryview(b"x")), "'int' as item 0; each item must be bytes"),
    "/iter_raises": (declared(result=IterRaises()), "TypeError: of the app itself"),
    "/item_bytearray": (declared(result=[bytearray(b"x")]), "'bytearray' as item 0; each item must be bytes"),
    "/item_str": (
        declared(result=["text"]),
        "'str' as item 0; each item must be bytes: encode it, as in text.encode('utf-8')",
    ),
    "/item_int": (
        declared(result=[1]),
        "'int' as item 0; each item must be bytes",
    ),
    "/no_start": (undeclared, "the app gave a body before it called start_response"),
    "/never_started": (lambda environ, start_response: [], "the app returned without calling start_response"),
    "/written": (written, "write() takes one bytes object, not 'str'"),
}


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        table = "".join(f"{path}\t{said}\n" for path, (_, said) in CASES.items()).encode()
        start_response(OK, PLAIN)
        return [table]
    if path == "/answered":
        table = "".join(f"{path}\t{body}\n" for path, (_, body) in ANSWERED.items()).encode()
        start_response(OK, PLAIN)
        return [table]
    if path in ANSWERED:
        start_response(OK, PLAIN)
        return ANSWERED[path][0]()
    return CASES[path][0](environ, start_response)
