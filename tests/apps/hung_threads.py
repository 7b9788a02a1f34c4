"""The app of tests/blackbox/lifecycle/hung_threads.rs: one case a path."""

import time

from gate import hold


def sleeps():
    """In C, where no exception meets it."""
    time.sleep(1000)


def loops():
    while True:
        pass


def held():
    hold()


def quick():
    """Returns at once."""


def app(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    globals()[case]()
    body = case.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
