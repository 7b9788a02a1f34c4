"""Calls a WSGI app exactly as PEP 3333 requires and passes its response to a transport.

Uses only the standard library of CPython 3.9 or later. Called by `cgi` and `function`. Violations of PEP 3333 are
reported in the same words as by the server.
"""

from __future__ import annotations

import sys
from wsgiref.util import FileWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, Iterable, Optional, Protocol, TextIO, Union

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    Header = tuple[str, str]
    Environ = dict[str, Any]
    App = Callable[[Environ, Callable[..., Callable[[bytes], None]]], Iterable[bytes]]

    class Transport(Protocol):
        """Receives a response."""

        #: Whether the client is gone. An exception is then not the fault of the app.
        lost: bool

        def start(self, status: str, headers: list[Header], length: Optional[int]) -> None:
            """Called once, with status and headers. `length` is that of the whole body, if known."""

        def send(self, part: bytes) -> None:
            """Sends a part of the body, which is never empty, before it returns."""

        def finish(self) -> None:
            """Called when the response is complete."""


#: Fields of a single connection (RFC 9110 section 7.6.1), which PEP 3333 forbids to apps.
HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    " transfer-encoding upgrade".split()
)
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_FIXES = {
    "str": ": encode it, as in text.encode('utf-8')",
    "NoneType": ": is there a missing 'return'?",
    "bytes": ": put it into a list, as in [body]",
    "int": ": was a bytes object returned instead of a list of bytes?",
    "dict": ": serialise it, as in [json.dumps(value).encode('utf-8')]",
    "coroutine": ": this looks like an async (ASGI) app, which rcorn does not serve",
}


def is_token(text: str) -> bool:
    """Whether the text is a token, as the name of a field must be (RFC 9110 section 5.6.2)."""
    return bool(text) and _TOKEN.issuperset(text)


def _is_value(text: str) -> bool:
    """Whether the text is latin-1 without control characters other than tab."""
    return all(sign == "\t" or (sign >= " " and sign != "\x7f" and sign <= "\xff") for sign in text)


def check_status(status: object) -> int:
    """The number of a status such as '200 OK'. Raises TypeError or ValueError."""
    if not isinstance(status, str):
        kind = type(status).__qualname__
        raise TypeError(f"start_response: the status is of type '{kind}'; it must be a str such as '200 OK'")
    number = status[:3]
    why = None
    # The reason may be missing: PEP 3333 requires one, but gunicorn does not.
    if any(sign > "\xff" for sign in status):
        why = "it has characters beyond latin-1"
    elif not (len(number) == 3 and number.isascii() and number.isdigit() and status[3:4] in (" ", "")):
        why = "it does not begin with three digits and a space"
    elif not 200 <= int(number) < 600:
        why = "a final status lies between 200 and 599"
    elif not _is_value(status):
        why = "its reason has control characters"
    if why is not None:
        form = "it must be three digits, a space and a reason, such as '200 OK'"
        raise ValueError(f"start_response: bad status {status!r}: {why}; {form}")
    return int(number)


def check_headers(headers: object) -> list[Header]:
    """The fields of a response without hop-by-hop fields. Raises TypeError or ValueError."""
    if not isinstance(headers, list):
        kind = type(headers).__qualname__
        raise TypeError(
            f"start_response: the headers are of type '{kind}'; they must be a list of (name, value) tuples"
        )
    kept: list[Header] = []
    for field in headers:
        pair = isinstance(field, tuple) and len(field) == 2 and all(isinstance(part, str) for part in field)
        if not pair:
            raise TypeError(f"start_response: bad header {field!r}; each must be a tuple of two str: (name, value)")
        name, value = field
        if not is_token(name):
            why = "the name is not a token (RFC 9110 section 5.6.2)"
        elif any(sign > "\xff" for sign in value):
            why = "the value has characters beyond latin-1; encode it (RFC 8187) or drop them"
        elif not _is_value(value):
            why = "the value has control characters, such as a line end"
        else:
            if name.lower() not in HOP_BY_HOP:
                kept.append((name, value))
            continue
        raise ValueError(f"start_response: bad header {name!r}: {why}")
    return kept


def _declared_length(headers: list[Header]) -> Optional[int]:
    length = None
    for name, value in headers:
        if name.lower() != "content-length":
            continue
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"start_response: bad header {name!r}: its value is not a number of bytes")
        if length is not None and length != int(value):
            raise ValueError(f"start_response: bad header {name!r}: it is given twice with different values")
        length = int(value)
    return length


class Exchange:
    """The state of one call of the app."""

    def __init__(self, transport: Transport, head_only: bool) -> None:
        self._transport = transport
        self._head_only = head_only
        self._status = ""
        self._headers: list[Header] = []
        self._length: Optional[int] = None
        self._bodyless = head_only
        self._sent = 0
        self._excess = 0
        #: Whether start_response was called.
        self.declared = False
        #: Whether the transport has the header.
        self.started = False
        self._over = False

    def start_response(
        self, status: str, headers: list[Header], exc_info: Union[ExcInfo, tuple[None, None, None], None] = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's start_response."""
        if self._over:
            raise AssertionError("start_response was called after its request had ended")
        if exc_info:
            try:
                if self.started and exc_info[1] is not None:
                    # Too late to replace the response: re-raise the app's exception.
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # Avoids a reference cycle through the frame.
        elif self.declared:
            raise AssertionError("start_response was called a second time without exc_info")
        # A declaration that fails halfway must not be sent.
        self.declared = False
        number = check_status(status)
        kept = check_headers(headers)
        length = _declared_length(kept)
        if number in (204, 205):
            # RFC 9110 sections 8.6 and 15.3.6.
            kept = [field for field in kept if field[0].lower() != "content-length"]
        self._bodyless = self._head_only or number in (204, 205, 304)
        self._length = None if self._bodyless else length
        self._status, self._headers = status if len(status) > 3 else status + " ", kept
        self.declared = True
        return self.write

    def write(self, part: bytes) -> None:
        """PEP 3333's write()."""
        if self._over:
            raise AssertionError("write() was called after its request had ended")
        if not isinstance(part, bytes):
            raise TypeError(f"write() takes one bytes object, not '{type(part).__qualname__}'")
        self._send(part)

    def _start(self, length: Optional[int]) -> None:
        if not self.declared:
            raise AssertionError("the app gave a body before it called start_response")
        if not self.started:
            known = None if self._bodyless or self._length is not None else length
            self.started = True
            self._transport.start(self._status, self._headers, known)

    def _send(self, part: bytes) -> None:
        # The header is sent with the first byte of the body (PEP 3333).
        if not part:
            return
        self._start(None)
        if self._bodyless:
            return
        if self._length is not None:
            room = self._length - self._sent
            if len(part) > room:
                self._excess += len(part) - room
                part = part[:room]
        if part:
            self._sent += len(part)
            self._transport.send(part)

    def send(self, result: Iterable[bytes]) -> None:
        """Sends the iterable that the app returned."""
        try:
            # Their items cannot be sent. Without any there is nothing to send, as an app may well say it.
            if isinstance(result, (str, bytes)) and len(result) > 0:
                raise TypeError
            parts = iter(result)
        except TypeError:
            if hasattr(type(result), "__iter__") and not isinstance(result, (str, bytes)):
                # An error of the app's own.
                raise
            raise _returned(result) from None
        if type(result) in (list, tuple):
            # Check all items first, so that a wrong one is found before anything is sent.
            for position, part in enumerate(result):
                _check_part(part, position)
            if not self.declared:
                raise AssertionError("the app returned without calling start_response")
            if not self.started:
                self._start(sum(map(len, result)))
        for position, part in enumerate(parts):
            if position == 0 and isinstance(result, dict) and not isinstance(part, bytes):
                # It was meant to be JSON.
                raise _returned(result)
            _check_part(part, position)
            self._send(part)
        if not self.declared:
            raise AssertionError("the app returned without calling start_response")
        self._start(0)
        missing = 0 if self._length is None else self._length - self._sent
        if missing > 0:
            raise AssertionError(f"the app declared Content-Length: {self._length} but gave {missing} bytes less")

    def end(self) -> None:
        """Marks the request as ended: nothing can be sent any more."""
        self._over = True

    def excess(self) -> Optional[str]:
        """A warning about bytes beyond the declared length; None if there were none."""
        if not self._excess:
            return None
        return f"the app declared Content-Length: {self._length} but gave {self._excess} bytes more; they were not sent"


def _returned(result: object) -> TypeError:
    kind = type(result).__qualname__
    fix = _FIXES.get(kind, "")
    return TypeError(f"the app returned {kind}; it must return an iterable of bytes{fix}")


def _check_part(part: object, position: int) -> None:
    if not isinstance(part, bytes):
        kind = type(part).__qualname__
        fix = _FIXES.get(kind, "")
        raise TypeError(f"the app's reply has a '{kind}' as item {position}; each item must be bytes{fix}")


def serve(app: App, environ: Environ, transport: Transport) -> Exchange:
    """Calls the app and passes its response to the transport.

    Raises the app's exception, or an exception about its violation of PEP 3333. `close()` of the iterable is always
    called; an exception that it raises after a complete response is only reported.
    """
    exchange = Exchange(transport, environ["REQUEST_METHOD"] == "HEAD")
    result: Any = None
    try:
        try:
            result = app(environ, exchange.start_response)
            exchange.send(result)
            transport.finish()
        finally:
            exchange.end()
    except BaseException:
        _close(result, environ["wsgi.errors"])
        raise
    _close(result, environ["wsgi.errors"])
    excess = exchange.excess()
    if excess:
        print(f"rcorn: warning: {excess}", file=environ["wsgi.errors"])
    return exchange


def _close(result: object, errors: TextIO) -> None:
    close = getattr(result, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        report(errors, "close() of the app's response raised")


def report(errors: TextIO, what: str) -> None:
    """Writes the current exception with the app's frames, without those of this package."""
    import traceback

    kind, value, frames = sys.exc_info()
    inner = frames
    while inner is not None and inner.tb_frame.f_globals.get("__package__") == __package__:
        inner = inner.tb_next
    # An exception of our own checks has no frame of the app.
    lines = traceback.format_exception(kind, value, inner if inner is not None else None)
    print(f"rcorn: error: {what}\n" + "".join(lines).rstrip(), file=errors, flush=True)


def standard(environ: Environ, *, errors: TextIO, run_once: bool) -> Environ:
    """Adds the keys that every request has."""
    environ.update(
        {
            "wsgi.version": (1, 0),
            "wsgi.errors": errors,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": run_once,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }
    )
    return environ
