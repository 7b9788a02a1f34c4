"""The app of ../beside.py: a quick page, one that computes, and one that never comes."""
import time


def asleep():
    yield b"asleep"
    time.sleep(86_400)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/asleep":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return asleep()
    if path == "/compute":
        # About 50 ms of Python, whoever else runs meanwhile.
        for _ in range(1_000_000):
            pass
    body = b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
