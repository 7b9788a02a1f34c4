"""A process that the app forks tries to speak with the client in its parent's stead."""

import os


def wait(pid):
    return b"child: %d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def app(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)


def hints(environ, start_response):
    pid = os.fork()
    if pid == 0:
        environ["wsgi.early_hints"]([("Link", "</child.css>")])
        os._exit(9)
    start_response("200 OK", [])
    return [wait(pid)]


def body(environ, start_response):
    """The client waits for 100 Continue."""
    pid = os.fork()
    if pid == 0:
        try:
            environ["wsgi.input"].read()
        except OSError:
            os._exit(5)
        os._exit(9)
    ended = wait(pid)
    received = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [ended, b" ", received]


def write(environ, start_response):
    send = start_response("200 OK", [])
    pid = os.fork()
    if pid == 0:
        send(b"child")
        os._exit(9)
    return [wait(pid)]


def generator(environ, start_response):
    """The child's generator ends first."""
    start_response("200 OK", [])
    yield b"one "
    pid = os.fork()
    if pid == 0:
        return
    yield wait(pid)


def returned(environ, start_response):
    start_response("200 OK", [])
    pid = os.fork()
    if pid == 0:
        return [b"child"]
    return [wait(pid)]


def held(environ, start_response):
    """Forks while rcorn's helper thread sends what waits."""
    send = start_response("200 OK", [])
    ended = set()
    for _ in range(100):
        send(b".")
        send(b".")
        pid = os.fork()
        if pid == 0:
            send(b"child")
            os._exit(9)
        ended.add(wait(pid))
    return sorted(ended)


PATHS = {
    "/hints": hints,
    "/body": body,
    "/write": write,
    "/generator": generator,
    "/returned": returned,
    "/held": held,
}
