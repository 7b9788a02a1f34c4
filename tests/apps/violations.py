"""Violations of PEP 3333, and what must be said about each: one table for the server and for `rcorn cgi`,
whose Python part repeats the rules. tests/blackbox/wsgi/violations.rs asks both for each path."""

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
    return CASES[path][0](environ, start_response)
