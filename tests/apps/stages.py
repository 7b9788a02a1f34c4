"""An app whose workers stay in the stage that a test wants."""

import os

import gate

if os.path.exists(os.environ["HOLD_IMPORT"]):
    gate.hold()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = b"x" * (16 * 1024 * 1024 if path == "/large" else 1)
    if path == "/stubborn":
        hold_against_all()
    elif path == "/hold":
        gate.hold()
    headers = [("Content-Length", str(len(body))), ("X-Pid", str(os.getpid()))]
    start_response("200 OK", headers)
    return [body]


def hold_against_all():
    """Catches the SystemExit that is raised at the time limit, and goes on waiting."""
    while True:
        try:
            return gate.hold()
        except BaseException:
            continue
