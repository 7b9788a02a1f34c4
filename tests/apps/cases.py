"""One app with one case of WSGI a path; tests/blackbox/wsgi asks for each."""

import io
import os
import sys
import tempfile

from gate import hold

OK = "200 OK"
PLAIN = [("Content-Type", "text/plain")]
CASES = {}
CLOSED = {"count": 0}


def case(function):
    CASES["/" + function.__name__] = function
    return function


class Body:
    """An iterable that counts its close()."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        CLOSED["count"] += 1


@case
def hello(environ, start_response):
    start_response(OK, PLAIN)
    return [b"OK\n"]


@case
def types(environ, start_response):
    start_response(OK, PLAIN)
    lines = [f"{key}={type(value).__name__}:{value}" for key, value in sorted(environ.items())]
    return ["\n".join(lines).encode("latin-1", "replace")]


@case
def read_all(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response(OK, PLAIN)
    return [body]


@case
def read_pieces(environ, start_response):
    source = environ["wsgi.input"]
    pieces = []
    while True:
        piece = source.read(7)
        if not piece:
            break
        assert len(piece) <= 7
        pieces.append(piece)
    assert source.read(7) == b"" and source.read() == b"" and source.readline() == b""
    start_response(OK, PLAIN)
    return pieces


@case
def read_mixed(environ, start_response):
    source = environ["wsgi.input"]
    out = [source.read(0), source.readline(), b"|", source.readline(2), b"|", source.read(3), b"|"]
    out.append(next(source))
    out.append(b"|")
    out.extend(source.readlines(1))
    out.append(b"|")
    out.extend(source)
    start_response(OK, PLAIN)
    return out


@case
def ignore_body(environ, start_response):
    start_response(OK, PLAIN)
    return [b"ignored"]


@case
def read_or_not(environ, start_response):
    """Goes on when the body cannot be read, as many frameworks do."""
    try:
        body = environ["wsgi.input"].read()
    except OSError as error:
        body = type(error).__name__.encode()
    start_response(OK, PLAIN)
    return [body]


@case
def read_then_report(environ, start_response):
    """Reads a body that the client tears; what reading raises goes to the log."""
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        print(f"reading raised {type(error).__name__}: {error}", file=environ["wsgi.errors"])
        raise
    print("reading gave a whole body", file=environ["wsgi.errors"])
    start_response(OK, PLAIN)
    return []


@case
def write(environ, start_response):
    write = start_response(OK, PLAIN)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


@case
def generator(environ, start_response):
    start_response(OK, PLAIN)
    return (b"%d " % number for number in range(5))


@case
def held_generator(environ, start_response):
    """The first part must be on the wire while the second is not made yet."""
    start_response(OK, PLAIN)

    def parts():
        yield b"first"
        hold()
        yield b"second"

    return parts()


@case
def lazy_start(environ, start_response):
    def parts():
        start_response(OK, PLAIN)
        yield b""
        yield b"lazy"

    return parts()


@case
def tuple_body(environ, start_response):
    start_response(OK, PLAIN)
    return (b"a", b"b", b"c")


@case
def closing(environ, start_response):
    start_response(OK, PLAIN)
    return Body([b"x"])


@case
def closing_raises(environ, start_response):
    def parts():
        yield b"x"
        raise RuntimeError("midway on purpose")

    start_response(OK, PLAIN)
    return Body(parts())


@case
def closing_large(environ, start_response):
    start_response(OK, PLAIN)
    return Body([b"x" * 65536 for _ in range(1024)])


@case
def closed(environ, start_response):
    start_response(OK, PLAIN)
    return [str(CLOSED["count"]).encode()]


@case
def close_raises(environ, start_response):
    class Broken(Body):
        def close(self):
            raise RuntimeError("close raised on purpose")

    start_response(OK, PLAIN)
    return Broken([b"whole"])


@case
def raises(environ, start_response):
    raise ValueError("raised on purpose")


@case
def raises_after_start(environ, start_response):
    start_response(OK, PLAIN)
    raise ValueError("raised on purpose")


@case
def raises_before_first_part(environ, start_response):
    start_response(OK, PLAIN)

    def parts():
        raise ValueError("raised on purpose")
        yield b"never"

    return parts()


@case
def raises_midway(environ, start_response):
    start_response(OK, PLAIN)

    def parts():
        yield b"half"
        raise ValueError("raised on purpose")

    return parts()


@case
def exc_info_before(environ, start_response):
    start_response(OK, PLAIN)
    try:
        raise ValueError("handled")
    except ValueError:
        start_response("500 Sorry", [("X-Mended", "yes")], sys.exc_info())
    return [b"mended"]


@case
def exc_info_keyword(environ, start_response):
    try:
        raise ValueError("handled")
    except ValueError:
        start_response(status="503 Later", headers=[], exc_info=sys.exc_info())
    return [b"later"]


@case
def exc_info_after(environ, start_response):
    write = start_response(OK, PLAIN)
    write(b"sent")
    try:
        raise KeyError("too late on purpose")
    except KeyError:
        start_response("500 Sorry", [], sys.exc_info())
    return [b"never"]


@case
def twice(environ, start_response):
    start_response(OK, PLAIN)
    start_response(OK, PLAIN)
    return [b"never"]


@case
def exits(environ, start_response):
    sys.exit("on purpose")


def returning(name, value):
    def app(environ, start_response):
        start_response(OK, PLAIN)
        return value

    CASES["/" + name] = app


returning("returns_str", "text")
returning("returns_none", None)
returning("returns_dict", {"a": 1})
returning("returns_bytes", b"text")
returning("returns_no_bytes", b"")
returning("returns_int", 5)
returning("returns_strs", [b"a", "b"])
returning("returns_empty", [])


@case
def no_reason(environ, start_response):
    start_response("202", [])
    return [b"ok"]


@case
def never_starts(environ, start_response):
    return [b"x"]


def starting(name, status, headers):
    def app(environ, start_response):
        start_response(status, headers)
        return [b"never"]

    CASES["/" + name] = app


starting("bad_status_code", "OK", [])
starting("bad_status_type", b"200 OK", [])
starting("bad_status_newline", "200 OK\r\nX: y", [])
starting("bad_header_crlf", OK, [("X-Bad", "a\r\nSet-Cookie: b")])
starting("bad_header_lf", OK, [("X-Bad", "a\nb")])
starting("bad_header_wide", OK, [("X-Bad", "\u20ac")])
starting("bad_header_int", OK, [("X-Bad", 5)])
starting("bad_header_name", OK, [("X Bad", "a")])
starting("bad_headers_type", OK, {"X": "y"})
starting("bad_length", OK, [("Content-Length", "many")])


@case
def latin1_header(environ, start_response):
    start_response(OK, PLAIN + [("X-Name", "caf\xe9")])
    return [b"ok"]


@case
def too_short(environ, start_response):
    start_response(OK, [("Content-Length", "10")])
    return [b"short"]


@case
def too_long(environ, start_response):
    start_response(OK, [("Content-Length", "4")])
    return [b"longer"]


@case
def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


@case
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return [b"must not be sent"]


@case
def large(environ, start_response):
    start_response(OK, PLAIN)
    return [bytes([65 + number % 26]) * 1024 for number in range(10240)]


@case
def own_fields(environ, start_response):
    fields = [("Server", "mine"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Connection", "close")]
    start_response(OK, fields)
    return [b"x"]


def make_file(text):
    file = tempfile.TemporaryFile()
    file.write(text)
    file.seek(0)
    return file


def wrapping(name, make, length=None):
    def app(environ, start_response):
        fields = PLAIN + ([("Content-Length", str(length))] if length is not None else [])
        start_response(OK, fields)
        return environ["wsgi.file_wrapper"](make(), 4096)

    CASES["/" + name] = app


def offset_file():
    file = make_file(b"0123456789" * 1000)
    file.read(5)
    return file


def named_file():
    file = tempfile.NamedTemporaryFile()
    file.write(b"named" * 100)
    file.seek(0)
    return file


class OnlyRead:
    def __init__(self):
        self.left = [b"only ", b"read"]

    def read(self, size=-1):
        return self.left.pop(0) if self.left else b""


wrapping("file", lambda: make_file(b"0123456789" * 100000))
wrapping("file_offset", offset_file)
wrapping("file_named", named_file)
wrapping("file_bytesio", lambda: io.BytesIO(b"from memory"))
wrapping("file_only_read", OnlyRead)
wrapping("file_longer_than_said", lambda: make_file(b"0123456789"), 4)
wrapping("file_shorter_than_said", lambda: make_file(b"0123456789"), 400)
wrapping("file_empty", lambda: make_file(b""))


def gzip_file():
    import gzip

    packed = tempfile.TemporaryFile()
    with gzip.GzipFile(fileobj=packed, mode="wb") as writer:
        writer.write(b"unpacked")
    packed.seek(0)
    return gzip.GzipFile(fileobj=packed, mode="rb")


wrapping("file_gzip", gzip_file)


@case
def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("said by the app\n")
    stream.writelines(["and ", "more\n"])
    stream.flush()
    start_response(OK, PLAIN)
    return []


KEPT = []


@case
def keep(environ, start_response):
    """Keeps what belongs to this request, to misuse it in the next."""
    KEPT.append((start_response, environ["wsgi.input"]))
    start_response(OK, PLAIN)
    return [b"kept"]


@case
def use_kept(environ, start_response):
    start, source = KEPT.pop()
    said = []
    for misuse in (lambda: start(OK, []), source.read):
        try:
            said.append(repr(misuse()))
        except Exception as error:
            said.append(type(error).__name__)
    start_response(OK, PLAIN)
    return [" ".join(said).encode()]


@case
def held(environ, start_response):
    hold()
    start_response(OK, PLAIN)
    return [b"held"]


@case
def pid(environ, start_response):
    start_response(OK, PLAIN)
    return [str(os.getpid()).encode()]


def app(environ, start_response):
    chosen = CASES.get(environ["PATH_INFO"])
    if chosen is None:
        start_response("404 Not Found", PLAIN)
        return [b"no such case"]
    return chosen(environ, start_response)
