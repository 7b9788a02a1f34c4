"""An app that a test can hold at a place of its choice; the test's side is tests/support/gate.rs."""

import os


def hold():
    """Tells the test who is here, and waits until it opens the gate."""
    reached = os.open(os.environ["GATE_REACHED"], os.O_WRONLY)
    try:
        os.write(reached, b"%d\n" % os.getpid())
    finally:
        os.close(reached)
    opened = os.open(os.environ["GATE_OPENED"], os.O_RDONLY)
    try:
        os.read(opened, 1)
    finally:
        os.close(opened)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/call":
        hold()
    body = f"{os.getpid()}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(2 * len(body)))]
    write = start_response("200 OK", headers)
    if path == "/write":
        write(body)
        hold()
        return [body]
    return parts(path, body)


def parts(path, body):
    """The body in two halves, held in between on /body and in close() on /close."""
    try:
        yield body
        if path == "/body":
            hold()
        yield body
    finally:
        if path == "/close":
            hold()
