"""The app of tests/blackbox/http: one case a path."""

import os
import time

from gate import hold

OK = "200 OK"
MIB = b"\xa5" * (1 << 20)


def hinted(environ, start_response):
    hints = environ["wsgi.early_hints"]
    hints([("Link", "</style.css>; rel=preload"), ("Content-Length", "7"), ("Connection", "close")])
    for wrong in ([("X", "a\r\nb")], [("X Y", "a")], [("X", 1)], "text"):
        try:
            hints(wrong)
            return answer(start_response, b"not refused")
        except (TypeError, ValueError):
            pass
    start_response(OK, [])
    hints([("Link", "</script.js>; rel=preload")])
    return [b"hinted"]


def hinted_late(environ, start_response):
    def parts():
        yield b"begun "
        try:
            environ["wsgi.early_hints"]([])
        except AssertionError as error:
            yield str(error).encode()

    start_response(OK, [])
    return parts()


def answer(start_response, body):
    start_response(OK, [("Content-Length", str(len(body)))])
    return [body]


def quick_parts(environ, start_response):
    start_response(OK, [])
    return (b"%02d" % number * 512 for number in range(20))


def held_parts(environ, start_response):
    """The third part is not made before the client has the second."""
    start_response(OK, [])

    def parts():
        yield b"first"
        yield b"second"
        hold()
        yield b"third"

    return parts()


def held_writes(environ, start_response):
    write = start_response(OK, [("Content-Length", "16")])
    write(b"first")
    write(b"second")
    hold()
    return [b"third"]


def download(environ, start_response):
    """A GiB by a generator."""
    start_response(OK, [("Content-Length", str(1 << 30))])
    return (MIB for _ in range(1 << 10))


def sparse(environ, start_response):
    """A file of as many MiB as the query says, without a block anywhere."""
    size = int(environ["QUERY_STRING"]) << 20
    file = os.fdopen(os.memfd_create("sparse"), "w+b")
    file.truncate(size)
    start_response(OK, [("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](file)


def list_of_bytes(environ, start_response):
    return answer(start_response, b"x" * int(environ["QUERY_STRING"]))


def upload(environ, start_response):
    total = 0
    while piece := environ["wsgi.input"].read(1 << 16):
        total += len(piece)
    return answer(start_response, str(total).encode())


def held(environ, start_response):
    hold()
    return answer(start_response, b"held")


def slow(environ, start_response):
    time.sleep(0.1)
    return answer(start_response, b"slow")


def app(environ, start_response):
    case = globals().get(environ["PATH_INFO"].strip("/"))
    if case is None:
        return answer(start_response, b"%d" % os.getpid())
    return case(environ, start_response)
