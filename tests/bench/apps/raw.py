"""The raw cells, selected by PATH_INFO with a dict look-up."""

import os

HELLO = b"Hello, World!"
TEN = b"x" * 10240
MEGABYTE = b"y" * 1048576
CHUNK = b"z" * 1024
STATIC = os.environ.get("BENCH_STATIC", "")
PLAIN = ("Content-Type", "text/plain")
FIELDS = [
    PLAIN,
    ("Content-Length", str(len(HELLO))),
    ("Cache-Control", "no-cache, private"),
    ("Vary", "Accept-Encoding, Cookie"),
    ("ETag", '"33a64df551425fcc55e4d42a148795d9f25f89d4"'),
    ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ("Set-Cookie", "session=abcdefghijklmnop; Path=/; HttpOnly; SameSite=Lax"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
]


def of_size(body):
    fields = [PLAIN, ("Content-Length", str(len(body)))]

    def page(environ, start_response):
        start_response("200 OK", list(fields))
        return [body]

    return page


def fields(environ, start_response):
    start_response("200 OK", list(FIELDS))
    return [HELLO]


def post(environ, start_response):
    left = int(environ.get("CONTENT_LENGTH") or 0)
    read, got = environ["wsgi.input"].read, 0
    while left > 0:
        data = read(min(left, 65536))
        if not data:
            break
        got += len(data)
        left -= len(data)
    body = b"%d" % got
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(body)))])
    return [body]


def chunks(environ, start_response):
    start_response("200 OK", [PLAIN])
    return (CHUNK for _ in range(20))


def static(environ, start_response):
    file = open(STATIC, "rb")
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", "1048576")])
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(file, 65536) if wrapper else Blocks(file)


class Blocks:
    """For servers without wsgi.file_wrapper."""

    def __init__(self, file):
        self.read, self.close = file.read, file.close

    def __iter__(self):
        return iter(lambda: self.read(65536), b"")


class Closing:
    """PEP 3333: a server calls close() on what the app returned."""

    count = 0

    def __iter__(self):
        return iter([HELLO])

    def close(self):
        Closing.count += 1


def closing(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(HELLO)))])
    return Closing()


def closed(environ, start_response):
    return of_size(b"%d" % Closing.count)(environ, start_response)


PAGES = {
    "/": of_size(HELLO), "/10k": of_size(TEN), "/1m": of_size(MEGABYTE), "/fields": fields, "/post": post,
    "/chunks": chunks, "/static": static, "/closing": closing, "/closed": closed,
}


def app(environ, start_response):
    return PAGES[environ["PATH_INFO"]](environ, start_response)


def hello(environ, start_response):
    """The app of the instruction budget: nothing but the answer."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\n"]
