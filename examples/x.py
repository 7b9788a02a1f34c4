"""The smallest app: rcorn -w 4 --chdir examples x:logic"""


def logic(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"OK\n"]
