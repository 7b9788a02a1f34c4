"""The app of tests/trial/mixed.py: pages that wait, compute, stream, read and write. Each reply follows from its request, so
that a client can tell whether it is right byte by byte."""

import contextvars
import hashlib
import os
import socket
import tempfile
import threading

LOCAL = threading.local()
# What one request leaves here must not be seen by another. A worker with one thread has one context, as in gunicorn.
NUMBER = contextvars.ContextVar("number", default=None)
FILE = tempfile.TemporaryFile()
FILE.write(b"0123456789abcdef" * 16384)


def block(number, size):
    """Bytes that follow from a number."""
    seed = hashlib.sha256(b"%d" % number).digest()
    return (seed * (size // len(seed) + 1))[:size]


def pause(seconds):
    """Waits in a socket, as for a database."""
    if not hasattr(LOCAL, "pair"):
        LOCAL.pair = socket.socketpair()
    LOCAL.pair[0].settimeout(seconds)
    try:
        LOCAL.pair[0].recv(1)
    except TimeoutError:
        pass


def compute(number):
    digest = b"%d" % number
    for _ in range(2000):
        digest = hashlib.sha256(digest).digest()
    return digest.hex().encode()


def parts(number):
    for part in range(8):
        if part == 4:
            pause(0.002)
        yield block(number + part, 500)


class Closing:
    """Counts in `close()` as PEP 3333 requires it: once for each response."""

    def __init__(self, body):
        self.body = body

    def __iter__(self):
        return iter(self.body)

    def close(self):
        LOCAL.closed = getattr(LOCAL, "closed", 0) + 1


def app(environ, start_response):
    assert NUMBER.get() is None or not environ["wsgi.multithread"], "a context variable of another request"
    kind, _, number = environ["PATH_INFO"].lstrip("/").partition("/")
    number = int(number or 0)
    NUMBER.set(number)
    fields = [("X-Worker", str(os.getpid())), ("X-Thread", str(threading.get_native_id()))]
    if kind == "stream":
        start_response("200 OK", fields)
        return Closing(parts(number))
    if kind == "file":
        start_response("200 OK", [*fields, ("Content-Length", str(16384 * 16))])
        FILE.seek(0)
        return [os.pread(FILE.fileno(), 16384 * 16, 0)]
    if kind == "write":
        write = start_response("200 OK", fields)
        write(block(number, 700))
        write(block(number + 1, 300))
        return [block(number + 2, 100)]
    if kind == "echo":
        body = environ["wsgi.input"].read()
    elif kind == "wait":
        pause(0.02)
        body = block(number, 200)
    elif kind == "compute":
        body = compute(number)
    else:
        body = block(number, 40)
    assert NUMBER.get() == number, "the context of another request"
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
