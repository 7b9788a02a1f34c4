"""Hangs in every part of a request, and writes down what it sees of the end."""

import os
import sys
import threading
import time


def note(text):
    with open("notes", "a") as notes:
        notes.write(text + "\n")


class Noted:
    """A context manager that sees the exception."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, value, frames):
        note("%s: %s %s" % (self.name, kind.__name__, value))


def middleware(app):
    """As error trackers do it."""

    def wrapped(environ, start_response):
        try:
            return app(environ, start_response)
        except BaseException as error:
            note("tracker: %s %s" % (type(error).__name__, error))
            raise

    return wrapped


def hang():
    while True:
        time.sleep(100)


def call(environ, start_response):
    with Noted("call"):
        hang()


def loop(environ, start_response):
    with Noted("loop"):
        while True:
            pass


def joins(environ, start_response):
    """Waits for a thread that never ends."""
    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    with Noted("joins"):
        thread.join()


def lock(environ, start_response):
    held = threading.Lock()
    held.acquire()
    with Noted("lock"):
        held.acquire()


def reads(environ, start_response):
    """Between two pieces of the body."""
    environ["wsgi.input"].read(5)
    with Noted("reads"):
        hang()


def generates(environ, start_response):
    start_response("200 OK", [])
    with Noted("generates"):
        hang()
        yield b"never"


def streams(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    yield b"12345"
    with Noted("streams"):
        hang()


class Closes:
    def __iter__(self):
        return iter([b"whole"])

    def close(self):
        with Noted("closes"):
            hang()


def closes(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return Closes()


def answers(environ, start_response):
    """Has an answer of its own for what the hook raises."""
    try:
        hang()
    except RuntimeError as error:
        note("answers: %s" % error)
    start_response("503 Too Slow", [("Content-Length", "8")])
    return [b"too slow"]


def swallows(environ, start_response):
    while True:
        try:
            hang()
        except BaseException as error:
            note("swallows: %s" % type(error).__name__)


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


PATHS = {"/" + f.__name__: f for f in (call, loop, joins, lock, reads, generates, streams, closes, answers, swallows)}


def app(environ, start_response):
    return middleware(PATHS.get(environ["PATH_INFO"], hello))(environ, start_response)
