"""One request by RFC 3875: its environment and standard input become a WSGI call, the response goes to standard
output. Run by a web server for each request; memory does not grow with a body's size."""

from __future__ import annotations

import io
import os

from . import exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, TextIO

#: What `run` ends with: a whole response was given, or none that is whole.
WHOLE, TORN = 0, 1


class Body(io.RawIOBase):
    """Standard input up to CONTENT_LENGTH: beyond it there may be nothing, or another's data (RFC 3875 section 4.2)."""

    def __init__(self, descriptor: int, length: Optional[int]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._left = length

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads what has come. A body that ends too early raises: nobody shall take half an upload for a whole."""
        most = len(buffer) if self._left is None else min(len(buffer), self._left)
        if most == 0:
            return 0
        part = os.read(self._descriptor, most)
        buffer[: len(part)] = part
        if self._left is not None:
            if not part:
                raise ConnectionResetError(f"the request's body ended {self._left} bytes too early")
            self._left -= len(part)
        return len(part)


class Output:
    """A transport to a descriptor, in CGI's form (RFC 3875 section 6)."""

    def __init__(self, descriptor: int) -> None:
        self.lost = False
        #: Whether anything was written.
        self.begun = False
        self._descriptor = descriptor
        self._head = b""

    def start(self, status: str, headers: list[exchange.Header], length: Optional[int]) -> None:
        """Keeps the head until the first part, which it goes out with."""
        fields = [("Status", status), *headers]
        if length is not None:
            fields.append(("Content-Length", str(length)))
        lines = [f"{name}: {value}\r\n" for name, value in fields]
        self._head = ("".join(lines) + "\r\n").encode("latin-1")

    def send(self, part: bytes) -> None:
        """Writes at once: there is no buffer that a part could stay in."""
        whole = self._head + part if self._head else part
        self._head = b""
        rest = memoryview(whole)
        self.begun = True
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # The web server has closed its end, for the client is gone.
            self.lost = True
            raise

    def finish(self) -> None:
        """A head without a body has waited till now."""
        if self._head:
            self.send(b"")

    def page(self, status: str, text: str, head_only: bool) -> None:
        """A response of our own."""
        body = f"{text}\n".encode()
        self.start(status, [("Content-Type", "text/plain; charset=utf-8")], len(body))
        self.send(b"" if head_only else body)


def content_length(variables: Mapping[bytes, bytes]) -> Optional[int]:
    """How many bytes the body has; None: as many as come. Raises ValueError for what is no length."""
    said = variables.get(b"CONTENT_LENGTH", b"").strip()
    if said:
        if not said.isdigit():
            raise ValueError(f"CONTENT_LENGTH is {said.decode('latin-1')!r}, which is not a number of bytes")
        return int(said)
    # Without a length there is no body (RFC 3875 section 4.1.2), but for web servers that take the chunks of a
    # body apart and pass it on with its end as the only limit.
    chunked = variables.get(b"HTTP_TRANSFER_ENCODING", b"").strip().lower() == b"chunked"
    return None if chunked else 0


def build(variables: Mapping[bytes, bytes]) -> exchange.Environ:
    """The environ but for its objects. All variables are passed on: web servers hand over settings in them."""
    # PEP 3333: bytes in the form of a latin-1 str.
    environ: exchange.Environ = {name.decode("latin-1"): value.decode("latin-1") for name, value in variables.items()}
    # The request's field Proxy, which libraries would take for the proxy to use (CVE-2016-1000110).
    environ.pop("HTTP_PROXY", None)
    # Some web servers give these twice.
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
    """Answers the request that this process was started for."""
    try:
        return _answer(app, source, output, errors)
    except OSError:
        if output.lost:
            # A client that left is no news.
            return WHOLE
        raise


def _answer(app: exchange.App, source: int, output: Output, errors: TextIO) -> int:
    environ = build(os.environb)
    head_only = environ["REQUEST_METHOD"] == "HEAD"
    try:
        length = content_length(os.environb)
    except ValueError as error:
        print(f"rcorn: error: {error}", file=errors)
        output.page("400 Bad Request", str(error), head_only)
        return WHOLE
    environ["wsgi.input"] = io.BufferedReader(Body(source, length))
    exchange.standard(environ, errors=errors, run_once=True)
    try:
        exchange.serve(app, environ, output)
    except (Exception, SystemExit):
        if output.lost:
            return WHOLE
        exchange.report(errors, "the app failed")
        if output.begun:
            print("rcorn: error: the response was cut off", file=errors)
            return TORN
        output.page("500 Internal Server Error", "Internal Server Error", head_only)
    return WHOLE
