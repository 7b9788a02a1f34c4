"""Leaves a child behind that lives until the test opens the pipe "end". /HOW/RESPONSE: how it is forked, and how the
request is answered. The body is the child's pid."""

import ctypes
import multiprocessing
import os
import pty
import sys
import threading


def linger():
    os.close(os.open("end", os.O_RDONLY))
    os._exit(0)


def fork():
    pid = os.fork()
    if pid == 0:
        linger()
    return pid


def in_thread():
    pids = []
    thread = threading.Thread(target=lambda: pids.append(fork()))
    thread.start()
    thread.join()
    return pids[0]


def process():
    child = multiprocessing.get_context("fork").Process(target=linger)
    child.start()
    # The worker does not wait for it at its end.
    multiprocessing.process._children.discard(child)
    return child.pid


def by_c():
    """Python does not know of this fork: none of its hooks run."""
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        linger()
    return pid


def terminal():
    pid, _control = pty.fork()
    if pid == 0:
        linger()
    return pid


def grandchild():
    reader, writer = os.pipe()
    if os.fork() == 0:
        pid = os.fork()
        if pid == 0:
            linger()
        os.write(writer, b"%d" % pid)
        os._exit(0)
    os.wait()
    return int(os.read(reader, 20))


FORKS = {function.__name__: function for function in (fork, in_thread, process, by_c, terminal, grandchild)}


def app(environ, start_response):
    how, _, response = environ["PATH_INFO"][1:].partition("/")
    if how not in FORKS:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]
    sys.stdout.flush()
    pid = b"%d" % FORKS[how]()
    if response == "torn":
        start_response("200 OK", [("Content-Length", "100")])
        return torn(pid)
    if response == "length":
        start_response("200 OK", [("Content-Length", str(len(pid)))])
    else:
        start_response("200 OK", [])
    return [pid] if response == "length" else iter([pid])


def torn(part):
    yield part
    raise ValueError("torn on purpose")
