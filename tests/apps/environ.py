"""Shows the environ as JSON: each value's type and repr, and the body that was read."""

import json


def app(environ, start_response):
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read()
    shown = {key: [type(value).__name__, repr(value)] for key, value in environ.items()}
    shown["(body)"] = ["bytes", repr(body)]
    shown["(length)"] = [type(length).__name__, repr(length)]
    text = json.dumps(shown, indent=0, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
