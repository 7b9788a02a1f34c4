"""Takes the client's socket after `Upgrade: websocket`, or does not. What is spoken on it is not WebSocket: lines, which
come back."""

HELLO = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def speak(socket):
    socket.sendall(HELLO)
    with socket.makefile("rb") as lines:
        for line in lines:
            if line == b"end\n":
                break
            socket.sendall(b"said: " + line)
    socket.sendall(b"bye\n")


def returns(environ, start_response):
    """As flask-sock with a Werkzeug: the response is for nobody."""
    speak(environ["werkzeug.socket"])
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"not sent"]


def stops(environ, start_response):
    """As flask-sock with gunicorn."""
    speak(environ["gunicorn.socket"])
    raise StopIteration()


def raises(environ, start_response):
    speak(environ["gunicorn.socket"])
    raise ValueError("raised after the socket was taken")


def generates(environ, start_response):
    start_response("200 OK", [])
    speak(environ["gunicorn.socket"])
    yield b"not sent"


def closes(environ, start_response):
    socket = environ["gunicorn.socket"]
    speak(socket)
    socket.close()
    return []


def keeps(environ, start_response):
    """Leaves the socket to a thread, which waits for more."""
    import threading

    socket = environ["gunicorn.socket"]
    speak(socket)
    threading.Thread(target=socket.recv, args=(1,), daemon=True).start()
    return []


def late(environ, start_response):
    start_response("200 OK", [])
    yield b"begun "
    try:
        environ["gunicorn.socket"].send(b"x")
    except AssertionError as error:
        yield str(error).encode()


KEPT = []


def looks(environ, start_response):
    """Only looks at it."""
    repr(environ)
    KEPT.append(environ.get("gunicorn.socket"))
    same = environ.get("gunicorn.socket") is environ.get("werkzeug.socket")
    body = str(("gunicorn.socket" in environ, same)).encode()
    start_response("426 Upgrade Required", [("Content-Length", str(len(body)))])
    return [body]


def after(environ, start_response):
    """Uses that of a request that has ended."""
    try:
        KEPT[0].send(b"x")
        body = b"sent"
    except AssertionError as error:
        body = str(error).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


PATHS = {"/" + f.__name__: f for f in (returns, stops, raises, generates, closes, keeps, late, looks, after)}


def app(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
