"""Middleware around an app: rcorn middleware:app"""

import time


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from inside\n"]


class Timed:
    """Adds a header with the time that the app took."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        begun = time.perf_counter()

        def timed_start(status, headers, exc_info=None):
            taken = f"{(time.perf_counter() - begun) * 1000:.3f} ms"
            return start_response(status, headers + [("X-Taken", taken)], exc_info)

        return self.app(environ, timed_start)


class Mounted:
    """Mounts the app below a prefix, which it moves from PATH_INFO to SCRIPT_NAME (PEP 3333)."""

    def __init__(self, prefix, app):
        self.prefix = prefix
        self.app = app

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if not path.startswith(self.prefix):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not here\n"]
        environ["SCRIPT_NAME"] += self.prefix
        environ["PATH_INFO"] = path[len(self.prefix):]
        return self.app(environ, start_response)


app = Timed(Mounted("/hello", hello))
