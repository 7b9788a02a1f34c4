"""The app of tests/blackbox/http/crowd.rs: requests as long as those of a small app."""

import os
import signal
import time

from gate import hold


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/gate":
        hold()
    elif path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        end = time.perf_counter() + 40e-6
        while time.perf_counter() < end:
            pass
    start_response("200 OK", [("Content-Length", "2")])
    # As a framework gives it, or as a plain app does.
    return iter([b"ok"]) if path == "/iterable" else [b"ok"]
