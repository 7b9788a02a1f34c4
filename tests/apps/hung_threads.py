"""The app of tests/blackbox/lifecycle/hung_threads.rs: one case a path."""

import os
import time

from gate import hold


class Hangs:
    def __del__(self):
        time.sleep(1000)


def hangs_later(environ):
    """When the response is out."""
    environ["hangs"] = Hangs()


def uploads(environ):
    hold()
    environ["wsgi.input"].read()
    return b"%d" % os.getpid()


def sleeps(environ):
    """In C, where no exception meets it."""
    time.sleep(1000)


def loops(environ):
    while True:
        pass


def held(environ):
    hold()


def quick(environ):
    """Returns at once."""


def app(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    body = globals()[case](environ) or case.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
