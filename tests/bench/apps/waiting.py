"""An app that waits 20 ms in a socket, as for a database, and answers 13 bytes."""

import socket
import threading

HELLO = b"Hello, World!"
LOCAL = threading.local()


def app(environ, start_response):
    if not hasattr(LOCAL, "pair"):
        LOCAL.pair = socket.socketpair()
        LOCAL.pair[0].settimeout(0.02)
    try:
        LOCAL.pair[0].recv(1)
    except TimeoutError:
        pass
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]
