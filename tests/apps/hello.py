"""The smallest app, under the names that tests import it by."""


def app(environ, start_response):
    body = b"Hello, world!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = app


def create(greeting="Hello", *, mark="!"):
    """A factory, for `hello:create("Hi", mark="?")`."""

    def made(environ, start_response):
        body = f"{greeting}{mark}\n".encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return made
