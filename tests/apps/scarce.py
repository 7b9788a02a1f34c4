"""An app in a process that may have few descriptors, and that can take all of them itself."""

import os
import resource
import select
import threading

import gate

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def take_all():
    """Until the test opens the gate."""
    opened = os.open(os.environ["GATE_OPENED"], os.O_RDONLY | os.O_NONBLOCK)
    taken = [opened]

    def give_back():
        select.select([opened], [], [])
        for number in taken:
            os.close(number)

    thread = threading.Thread(target=give_back)
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        thread.start()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = b"opened"
    if path == "/take":
        take_all()
        # More than the kernel holds for a client that does not read.
        body = bytes(12 << 20)
    else:
        if path == "/gate":
            gate.hold()
        with open(os.devnull, "rb"):
            pass
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
