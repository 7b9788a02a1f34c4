"""Says which process answered, and which one imported the app."""

import os

IMPORTED_BY = os.getpid()


def app(environ, start_response):
    body = f"{os.getpid()} {IMPORTED_BY}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
