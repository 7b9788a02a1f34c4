"""Answers with what it got, and writes it down where RECORD says."""

import json
import os

RECORD = os.environ.get("RECORD")


def app(environ, start_response):
    # Of a torn or broken body no request comes; the server says what has to be said.
    body = environ["wsgi.input"].read()
    get = environ.get
    request = {
        "line": " ".join((environ["REQUEST_METHOD"], environ["RAW_URI"], environ["SERVER_PROTOCOL"])),
        "fields": {key: environ[key] for key in environ if key.startswith(("HTTP_", "CONTENT_"))},
        "body": body.decode("latin-1"),
        "client": f"{get('REMOTE_ADDR')}:{get('REMOTE_PORT')}",
        "id": get("PROBE") or get("HTTP_X_PROBE"),
    }
    text = json.dumps(request)
    if RECORD:
        with open(RECORD, "a") as record:
            record.write(text + "\n")
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text.encode()]
