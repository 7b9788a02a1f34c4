"""Answers one CGI request (RFC 3875): the environment and standard input become a WSGI call, and the response is
written to standard output. A web server starts this for each request. Bodies are streamed, not held in memory."""

from __future__ import annotations

import io
import os

from . import exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, TextIO

#: Exit codes of `run`: the response is complete, or it was cut off.
COMPLETE, CUT_OFF = 0, 1


class Body(io.RawIOBase):
    """Standard input up to CONTENT_LENGTH; the data after it, if any, is not ours (RFC 3875 section 4.2)."""

    def __init__(self, descriptor: int, length: Optional[int]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._left = length

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads available bytes. Raises if the body ends early, so that a truncated upload is not taken for a complete one."""
        most = len(buffer) if self._left is None else min(len(buffer), self._left)
        if most == 0:
            return 0
        part = os.read(self._descriptor, most)
        buffer[: len(part)] = part
        if self._left is not None:
            if not part:
                raise ConnectionResetError(f"the request body ended {self._left} bytes early")
            self._left -= len(part)
        return len(part)


class Output:
    """A transport that writes a CGI response to a descriptor (RFC 3875 section 6)."""

    def __init__(self, descriptor: int) -> None:
        self.lost = False
        #: Whether anything was written.
        self.begun = False
        self._descriptor = descriptor
        self._head = b""

    def start(self, status: str, headers: list[exchange.Header], length: Optional[int]) -> None:
        """Keeps the header until the first part, and sends both together."""
        fields = [("Status", status), *headers]
        if length is not None:
            fields.append(("Content-Length", str(length)))
        lines = [f"{name}: {value}\r\n" for name, value in fields]
        self._head = ("".join(lines) + "\r\n").encode("latin-1")

    def send(self, part: bytes) -> None:
        """Writes at once, without a buffer."""
        whole = self._head + part if self._head else part
        self._head = b""
        rest = memoryview(whole)
        self.begun = True
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # The web server has closed its end because the client is gone.
            self.lost = True
            raise

    def finish(self) -> None:
        """Sends the header if there was no body."""
        if self._head:
            self.send(b"")

    def page(self, status: str, text: str, head_only: bool) -> None:
        """Sends a response of rcorn's own."""
        body = f"{text}\n".encode()
        self.start(status, [("Content-Type", "text/plain; charset=utf-8")], len(body))
        self.send(b"" if head_only else body)


def content_length(variables: Mapping[bytes, bytes]) -> Optional[int]:
    """The length of the body in bytes; None if only its end delimits it. Raises ValueError if the variable is malformed."""
    said = variables.get(b"CONTENT_LENGTH", b"").strip()
    if said:
        if not said.isdigit():
            raise ValueError(f"CONTENT_LENGTH is {said.decode('latin-1')!r}, which is not a number of bytes")
        return int(said)
    # Without a length there is no body (RFC 3875 section 4.1.2), except from web servers that decode a chunked body and
    # delimit it by its end.
    chunked = variables.get(b"HTTP_TRANSFER_ENCODING", b"").strip().lower() == b"chunked"
    return None if chunked else 0


def build(variables: Mapping[bytes, bytes]) -> exchange.Environ:
    """The environ without its wsgi objects. All variables are included, because web servers pass settings in them."""
    # PEP 3333: bytes decoded as latin-1.
    environ: exchange.Environ = {name.decode("latin-1"): value.decode("latin-1") for name, value in variables.items()}
    # The request field Proxy, which libraries would read as the proxy to use (CVE-2016-1000110, httpoxy).
    environ.pop("HTTP_PROXY", None)
    # Some web servers also set these.
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ.pop("HTTP_CONTENT_TYPE", None)
    for name, default in (
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", ""),
        ("QUERY_STRING", ""),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PROTOCOL", "HTTP/1.0"),
        ("REMOTE_ADDR", ""),
    ):
        environ.setdefault(name, default)
    if not environ.get("CONTENT_LENGTH", "").strip():
        environ.pop("CONTENT_LENGTH", None)
    secure = environ.get("HTTPS", "").lower() in ("on", "1", "yes") or environ.get("REQUEST_SCHEME") == "https"
    environ["wsgi.url_scheme"] = "https" if secure else "http"
    environ.setdefault("SERVER_PORT", "443" if secure else "80")
    if "REQUEST_URI" in environ:
        environ["RAW_URI"] = environ["REQUEST_URI"]
    return environ


def run(app: exchange.App, source: int, output: Output, errors: TextIO) -> int:
    """Answers the request and returns the exit code."""
    try:
        return _answer(app, source, output, errors)
    except OSError:
        if output.lost:
            # A client that disconnected is not an error.
            return COMPLETE
        raise


def _answer(app: exchange.App, source: int, output: Output, errors: TextIO) -> int:
    environ = build(os.environb)
    head_only = environ["REQUEST_METHOD"] == "HEAD"
    try:
        length = content_length(os.environb)
    except ValueError as error:
        print(f"rcorn: error: {error}", file=errors)
        output.page("400 Bad Request", str(error), head_only)
        return COMPLETE
    environ["wsgi.input"] = io.BufferedReader(Body(source, length))
    exchange.standard(environ, errors=errors, run_once=True)
    try:
        exchange.serve(app, environ, output)
    except (Exception, SystemExit):
        if output.lost:
            return COMPLETE
        exchange.report(errors, "the app failed")
        if output.begun:
            print("rcorn: error: the response was cut off", file=errors)
            return CUT_OFF
        output.page("500 Internal Server Error", "Internal Server Error", head_only)
    return COMPLETE
