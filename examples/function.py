"""An app is any callable, here a function that reads the request: rcorn function:app"""

from urllib.parse import parse_qs


def app(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    name = query.get("name", ["world"])[0]
    body = f"Hello, {name}!\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
