"""Well-behaved apps under wsgiref's validator, which raises when the server breaks PEP 3333."""

from wsgiref.validate import validator


def plain(environ, start_response):
    # The validator forbids read() without a size.
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = b"valid " + body
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def streamed(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for line in environ["wsgi.input"]:
        yield line
    yield b"end\n"


def written(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    return [b"returned"]


def choose(environ, start_response):
    apps = {"/streamed": streamed, "/written": written}
    return apps.get(environ["PATH_INFO"], plain)(environ, start_response)


app = validator(choose)
