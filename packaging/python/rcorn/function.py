"""Runs a WSGI app in a function service: takes an API gateway event, returns a response object.

    from rcorn.function import wsgi_run
    from x import logic

    def handler(event, context):
        return wsgi_run(event, context, logic)

`rcorn pack` writes such an entry point. `rcorn.events` lists the supported events. Uses only the standard library of
CPython 3.9 or later, and runs without rcorn's executable.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import sys

from . import events, exchange
from .events import UnknownEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Mapping, Optional

    Response = dict[str, Any]

__all__ = ["Context", "UnknownEvent", "wsgi_run"]

#: Textual media types besides text/*, *+json and *+xml.
_TEXTUAL = frozenset(
    "application/" + kind
    for kind in "ecmascript graphql javascript json ld+json toml x-javascript x-www-form-urlencoded x-yaml xml yaml".split()
)


class Context(dict):  # type: ignore[type-arg]
    """A context read from a file. Its items are also attributes, because services pass objects."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class _Collected:
    """A transport that collects the response."""

    lost = False

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[exchange.Header] = []
        self.parts: list[bytes] = []

    def start(self, status: str, headers: list[exchange.Header], length: Optional[int]) -> None:
        self.status, self.headers = status, headers

    def send(self, part: bytes) -> None:
        self.parts.append(part)

    def finish(self) -> None:
        pass


def wsgi_run(event: Mapping[str, Any], context: Any, app: exchange.App, *, base_path: Optional[str] = None) -> Response:
    """Calls the app with the request of an event and returns the response in the form its gateway expects.

    The app finds event and context in `environ['function.event']` and `environ['function.context']`. `base_path`, such
    as "/shop", becomes SCRIPT_NAME. Its default is the environment variable SCRIPT_NAME, else the stage or base path in
    the event.

    If the app raises, the response has status 500 and the traceback goes to standard error. Raises UnknownEvent for an
    event that is not an HTTP request.
    """
    shape, request = events.read(event)
    collected = _Collected()
    try:
        environ = _environ(request, base_path or os.environ.get("SCRIPT_NAME"))
    except ValueError as error:
        print(f"rcorn: error: {error}", file=sys.stderr)
        return _response(shape, "400 Bad Request", _PLAIN, b"Bad Request\n")
    environ["function.event"] = event
    environ["function.context"] = context
    try:
        exchange.serve(app, environ, collected)
    except (Exception, SystemExit):
        exchange.report(sys.stderr, "the app failed")
        body = b"" if request.method == "HEAD" else b"Internal Server Error\n"
        return _response(shape, "500 Internal Server Error", _PLAIN, body)
    return _response(shape, collected.status, collected.headers, b"".join(collected.parts))


_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]


def _environ(request: events.Request, base: Optional[str]) -> exchange.Environ:
    try:
        body = base64.b64decode(request.body, validate=True) if request.base64 else request.body.encode()
    except binascii.Error as error:
        raise ValueError(f"the event's body is not base64: {error}") from None
    script = events.below(request, base)
    environ: exchange.Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": events.decoded(request.raw_path[:script]),
        "PATH_INFO": events.decoded(request.raw_path[script:]),
        "QUERY_STRING": request.query.encode("utf-8", "surrogateescape").decode("latin-1"),
        "RAW_URI": request.raw_path + (f"?{request.query}" if request.query else ""),
        "REMOTE_ADDR": request.peer,
        "SERVER_PROTOCOL": request.protocol,
        "SERVER_SOFTWARE": "rcorn",
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        # A name with an underscore would be indistinguishable from one with a hyphen.
        if "_" in name or not exchange.is_token(name):
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ and key.startswith("HTTP_"):
            environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + _latin1(value)
        else:
            environ[key] = _latin1(value)
    if body or "CONTENT_LENGTH" in environ:
        # The length of the body as received: the gateway may have changed it.
        environ["CONTENT_LENGTH"] = str(len(body))
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")[0].strip().lower()
    scheme = forwarded if forwarded in ("http", "https") else request.scheme
    name, port = _host(environ.get("HTTP_HOST", ""))
    said = environ.get("HTTP_X_FORWARDED_PORT", "")
    environ["SERVER_NAME"] = name
    environ["SERVER_PORT"] = port or (said if said.isdigit() else "443" if scheme == "https" else "80")
    environ["wsgi.url_scheme"] = scheme
    environ["wsgi.input"] = io.BytesIO(body)
    return exchange.standard(environ, errors=sys.stderr, run_once=False)


def _latin1(text: str) -> str:
    """A text as PEP 3333 requires it; its bytes were UTF-8 unless it is latin-1."""
    try:
        text.encode("latin-1")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _host(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name or "localhost", port
    return host or "localhost", ""


def _response(shape: str, status: str, headers: list[exchange.Header], body: bytes) -> Response:
    text, encoded = _body(headers, body)
    response: Response = {"statusCode": int(status[:3])}
    grouped: dict[str, tuple[str, list[str]]] = {}
    for name, value in headers:
        grouped.setdefault(name.lower(), (name, []))[1].append(value)
    if shape in (events.ALB, events.ALB_MULTI):
        response["statusDescription"] = status
    if shape == events.ALB_MULTI:
        response["multiValueHeaders"] = dict(grouped.values())
    elif shape == events.V1:
        # The gateway merges both maps, so a name must be in only one.
        response["headers"] = {name: values[0] for name, values in grouped.values() if len(values) == 1}
        response["multiValueHeaders"] = {name: values for name, values in grouped.values() if len(values) > 1}
    else:
        cookies = grouped.pop("set-cookie", ("Set-Cookie", []))[1]
        response["headers"] = {name: ", ".join(values) for name, values in grouped.values()}
        if shape == events.V2:
            response["cookies"] = cookies
        else:
            # Cookies cannot be joined, and a name occurs only once in a map: so each gets a different spelling.
            response["headers"].update(zip(_spellings("Set-Cookie"), cookies))
    response["body"] = text
    response["isBase64Encoded"] = encoded
    return response


def _spellings(name: str) -> Iterator[str]:
    """Spellings of a name that differ in case, the usual one first."""
    letters = [place for place, sign in enumerate(name) if sign.isalpha()]
    for number in range(1 << len(letters)):
        signs = list(name)
        for bit, place in enumerate(letters):
            if number >> bit & 1:
                signs[place] = signs[place].swapcase()
        yield "".join(signs)


def _body(headers: list[exchange.Header], body: bytes) -> tuple[str, bool]:
    """The body as text, and whether that is base64. It is not if the type is textual or missing, there is no
    Content-Encoding, and the body is valid UTF-8, which is how a gateway encodes the text."""
    if not body:
        return "", False
    fields = {name.lower(): value.strip().lower() for name, value in headers}
    kind = fields.get("content-type", "text/plain").partition(";")[0].strip()
    textual = kind.startswith("text/") or kind.endswith(("+json", "+xml")) or kind in _TEXTUAL
    if textual and fields.get("content-encoding", "identity") in ("", "identity"):
        try:
            return body.decode("utf-8"), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii"), True
