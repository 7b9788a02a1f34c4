"""An app for function services that also runs in the server:

rcorn greet:app
rcorn invoke greet:app --event aws-http-v2.json
rcorn pack greet:app --output greet.zip
"""

from urllib.parse import parse_qs


def app(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    name = query.get("name", ["world"])[0]
    event = environ.get("function.event")
    where = "a function" if event else "a server"
    body = f"Hello, {name}! This is {where}.\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
