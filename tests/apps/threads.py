"""The app of tests/blackbox/wsgi/threads.rs: one case a path."""

import contextvars
import json
import sys
import threading

from gate import hold

context = contextvars.ContextVar("context", default="empty")
local = threading.local()
is_over = threading.Event()


def answer(start_response, body):
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def info(environ, start_response):
    """What a thread sees of itself, and what the request before has left behind."""
    thread = threading.current_thread()
    local.count = getattr(local, "count", 0) + 1
    seen = {
        "name": thread.name,
        "is_main": thread is threading.main_thread(),
        "starts_daemons": threading.Thread().daemon,
        "count": local.count,
        "context": context.get(),
        "multithread": environ["wsgi.multithread"],
    }
    context.set("set by another request")
    return answer(start_response, json.dumps(seen).encode())


def held(environ, start_response):
    hold()
    return answer(start_response, b"held")


def held_parts(environ, start_response):
    """The context lasts to the end of the response."""
    context.set("own")
    start_response("200 OK", [])

    def parts():
        yield b"before "
        hold()
        yield context.get().encode()

    return parts()


def fails(environ, start_response):
    raise ValueError("on purpose")


def panics(environ, start_response):
    """What a panic of rcorn's own code becomes in Python. Where such an exception is taken, PyO3 panics again."""
    kinds = [kind for kind in BaseException.__subclasses__() if kind.__name__ == "PanicException"]
    raise kinds[0]("provoked")


def interval(environ, start_response):
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    seen = {"switch_interval": sys.getswitchinterval(), "has_gil": has_gil}
    return answer(start_response, json.dumps(seen).encode())


def computes(environ, start_response):
    """Runs Python until another request has come through, without a call that would release the GIL."""
    is_over.clear()
    start_response("200 OK", [])
    yield b"computes "
    while not is_over.is_set():
        pass
    yield b"no more"


def ends(environ, start_response):
    is_over.set()
    return answer(start_response, b"ended")


def loops(environ, start_response):
    while True:
        pass


def app(environ, start_response):
    case = globals().get(environ["PATH_INFO"].strip("/"))
    if case is None:
        return answer(start_response, environ["QUERY_STRING"].encode())
    return case(environ, start_response)
