"""Converts events of API gateways to requests. The shape of an event is recognised by its contents:

==========================================  ===================================================================
shape                                       recognised by
==========================================  ===================================================================
AWS Application Load Balancer               `requestContext.elb`; multi-value with `multiValueHeaders`
AWS HTTP API (payload 2.0), function URL    `version` "2.0" and `requestContext.http`
JD Cloud API gateway                        `detail` with `httpMethod` and `path`
AWS REST API, HTTP API (payload 1.0)        `httpMethod` and `path`
==========================================  ===================================================================

The shapes differ in what is still percent-encoded. Paths are, except those of HTTP APIs. Query strings are encoded in
the parameters of an ALB and in `rawQueryString`, and decoded in all other parameters.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Optional

    Event = Mapping[str, Any]

ALB, ALB_MULTI, V1, V2, JD = "alb", "alb-multi", "v1", "v2", "jd"

_LOOKED_FOR = (
    "looked for 'requestContext.elb' (AWS ALB), 'requestContext.http' with version \"2.0\" (AWS HTTP API, function"
    " URL), 'detail' with 'httpMethod' and 'path' (JD Cloud API gateway), 'httpMethod' and 'path' (AWS REST API)"
)


class UnknownEvent(ValueError):
    """The event has no known shape."""


class Request:
    """A request, independent of the shape of its event."""

    def __init__(self) -> None:
        self.method = "GET"
        #: The requested path, percent-encoded, and the length of the prefix that becomes SCRIPT_NAME.
        self.raw_path = "/"
        self.script = 0
        #: Percent-encoded.
        self.query = ""
        self.headers: list[tuple[str, str]] = []
        self.body = ""
        self.base64 = False
        self.peer = ""
        self.protocol = "HTTP/1.1"
        #: For events without an X-Forwarded-Proto.
        self.scheme = "https"


def shape(event: object) -> str:
    """The shape of an event. Raises UnknownEvent."""
    if not isinstance(event, dict):
        raise UnknownEvent(f"the event is a {type(event).__name__}, not an object; {_LOOKED_FOR}")
    context = _part(event, "requestContext")
    if isinstance(context.get("elb"), dict):
        return ALB_MULTI if isinstance(event.get("multiValueHeaders"), dict) else ALB
    if str(event.get("version")) == "2.0" and isinstance(context.get("http"), dict):
        return V2
    if _has_request(_part(event, "detail")):
        return JD
    if _has_request(event):
        return V1
    keys = ", ".join(sorted(map(str, event))) or "nothing"
    raise UnknownEvent(f"the event has no known shape: its keys are {keys}; {_LOOKED_FOR}")


def read(event: Event) -> tuple[str, Request]:
    """The shape of an event and its request."""
    found = shape(event)
    readers = {ALB: _alb, ALB_MULTI: _alb, V1: _v1, V2: _v2, JD: _jd}
    return found, readers[found](event)


def _part(event: Event, name: str) -> Mapping[str, Any]:
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def _has_request(event: Event) -> bool:
    return isinstance(event.get("httpMethod"), str) and isinstance(event.get("path"), str)


def _common(event: Event) -> Request:
    request = Request()
    body = event.get("body")
    request.body = body if isinstance(body, str) else ""
    request.base64 = bool(event.get("isBase64Encoded"))
    request.headers = list(_pairs(event, "headers", "multiValueHeaders"))
    return request


def _pairs(event: Event, single: str, multiple: str) -> Iterable[tuple[str, str]]:
    """Names and values of a map. Some events also have a map of lists, which is complete and takes precedence."""
    for name, value in (_part(event, multiple) or _part(event, single)).items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield str(name), str(one)


def _alb(event: Event) -> Request:
    request = _common(event)
    request.method = str(event.get("httpMethod") or "GET")
    request.raw_path = str(event.get("path") or "/")
    request.query = "&".join(
        f"{name}={value}" for name, value in _pairs(event, "queryStringParameters", "multiValueQueryStringParameters")
    )
    request.scheme = "http"
    # The balancer appends the address it saw; the client may have written everything before it.
    forwarded = [value for name, value in request.headers if name.lower() == "x-forwarded-for"]
    request.peer = _without_port(forwarded[-1].split(",")[-1].strip()) if forwarded else ""
    return request


def _v1(event: Event) -> Request:
    request = _common(event)
    context = _part(event, "requestContext")
    request.method = event["httpMethod"]
    path = event["path"] or "/"
    stage = str(context.get("stage") or "")
    # Only HTTP APIs set a version.
    if "version" in event:
        request.raw_path = _encoded(path)
        request.script = _stage(request.raw_path, stage, context)
    else:
        asked = str(context.get("path") or path)
        request.raw_path = path
        if asked != path and asked.endswith(path):
            request.raw_path, request.script = asked, len(asked) - len(path)
        elif stage and asked == f"/{stage}" and path == "/":
            request.raw_path, request.script = f"{asked}/", len(asked)
    if not request.script:
        resource = str(event.get("resource") or "")
        request.script = _mapping(request.raw_path, resource, _part(event, "pathParameters"))
    request.query = urlencode(list(_pairs(event, "queryStringParameters", "multiValueQueryStringParameters")))
    request.peer = str(_part(context, "identity").get("sourceIp") or "")
    request.protocol = str(context.get("protocol") or request.protocol)
    return request


def _v2(event: Event) -> Request:
    request = _common(event)
    context = _part(event, "requestContext")
    http = _part(context, "http")
    request.method = str(http.get("method") or "GET")
    path = str(event.get("rawPath") or http.get("path") or "/")
    if ".lambda-url." in str(context.get("domainName")):
        request.raw_path = path
    else:
        request.raw_path = _encoded(path)
        request.script = _stage(request.raw_path, str(context.get("stage") or ""), context)
        if not request.script:
            _, _, route = str(event.get("routeKey") or "").partition(" ")
            request.script = _mapping(request.raw_path, route, _part(event, "pathParameters"))
    request.query = str(event.get("rawQueryString") or "")
    cookies = event.get("cookies")
    if isinstance(cookies, list):
        # Cookies may be here instead of in the headers, or in both places.
        request.headers = [(name, value) for name, value in request.headers if name.lower() != "cookie"]
        request.headers += [("Cookie", str(cookie)) for cookie in cookies]
    request.peer = str(http.get("sourceIp") or "")
    request.protocol = str(http.get("protocol") or request.protocol)
    return request


def _jd(event: Event) -> Request:
    detail = _part(event, "detail")
    request = _common(detail)
    request.method = detail["httpMethod"]
    request.raw_path = detail["path"] or "/"
    request.query = urlencode(list(_pairs(detail, "queryParameters", "")))
    request.peer = str(_part(detail, "requestContext").get("sourceIp") or "").strip()
    request.scheme = "http"
    return request


def _encoded(path: str) -> str:
    """Percent-encodes a decoded path."""
    return quote(path, safe="/!$&'()*+,;=:@~")


def _stage(path: str, stage: str, context: Mapping[str, Any]) -> int:
    """The length of the stage at the start of an HTTP API's path. With a custom domain there is none."""
    own_domain = ".execute-api." not in str(context.get("domainName") or ".execute-api.")
    prefix = f"/{stage}"
    if own_domain or stage in ("", "$default") or not f"{path}/".startswith(f"{prefix}/"):
        return 0
    return len(prefix)


def _mapping(path: str, route: str, parameters: Mapping[str, Any]) -> int:
    """The length of the part of a path before the route: the base path that a custom domain maps to the API. The
    parameters of the route show where the route begins."""
    if not route.startswith("/"):
        return 0
    filled = re.sub(r"\{([^}+]*)\+?\}", lambda found: str(parameters.get(found[1], found[0])), route)
    for candidate in (filled, _encoded(filled), _encoded(unquote(filled))):
        if path.endswith(candidate):
            return len(path) - len(candidate)
    return 0


def _without_port(address: str) -> str:
    """Removes a port, which an ALB can be configured to keep: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def decoded(path: str) -> str:
    """A percent-encoded path as PEP 3333 requires it: its bytes decoded as latin-1."""
    return unquote_to_bytes(path).decode("latin-1")


def below(request: Request, base: Optional[str]) -> int:
    """The length of SCRIPT_NAME in the raw path: that of `base` if the path is below it, else the one from the event."""
    wanted = "/" + base.strip("/") if base and base.strip("/") else ""
    if wanted and f"{request.raw_path}/".startswith(f"{wanted}/"):
        return len(wanted)
    return request.script
