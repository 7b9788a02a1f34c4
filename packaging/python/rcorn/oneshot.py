"""Runs `rcorn cgi`, `rcorn invoke` and `rcorn pack` in the interpreter that rcorn starts. rcorn has already checked the
command line, which it passes as a dictionary."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Optional


class Terminated(BaseException):
    """The web server sent TERM. An exception, so that the app's close() is called."""


def _terminate(number: int, frame: Optional[FrameType]) -> None:
    raise Terminated


def run(orders: dict[str, Any]) -> int:
    """Runs one command and returns the exit code."""
    command = {"cgi": _cgi, "invoke": _invoke, "pack": _pack}[orders["command"]]
    try:
        return command(orders)
    except Terminated:
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _error(text: str, hint: str = "") -> None:
    print(f"rcorn: error: {text}" + (f"\n  hint: {hint}" if hint else ""), file=sys.stderr)


def _streams() -> tuple[int, int]:
    """Hides standard input and output from the app, and returns their descriptors. What the app prints goes to standard
    error: it would corrupt the response."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for descriptor in (source, target):
        os.set_blocking(descriptor, True)
    return source, target


def _prepare(orders: dict[str, Any]) -> None:
    """Sets `sys.path` and `sys.argv` as in the server."""
    # Unless PYTHONSAFEPATH is set, `python -c` puts an empty string first: the current directory.
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    sys.path[:0] = [orders["chdir"], *orders["pythonpath"]]
    sys.argv = list(orders["argv"])


def _load(orders: dict[str, Any]) -> tuple[Any, int]:
    """The app, or None with the exit code."""
    from . import load

    try:
        return load.load(orders["app"]), 0
    except load.LoadError as error:
        if str(error):
            _error(str(error))
        return None, error.code


def _cgi(orders: dict[str, Any]) -> int:
    from . import cgi

    source, target = _streams()
    # Libraries would send their own requests through the proxy in the client's field Proxy (CVE-2016-1000110, httpoxy).
    os.environ.pop("HTTP_PROXY", None)
    _prepare(orders)
    output = cgi.Output(target)
    app, code = _load(orders)
    if app is None:
        try:
            # Some web servers treat an empty response as a success.
            head_only = os.environ["REQUEST_METHOD"] == "HEAD"
            output.page("500 Internal Server Error", "Internal Server Error", head_only)
        except OSError:
            pass
        return code
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return cgi.run(app, source, output, sys.stderr)
    finally:
        # Ends the response now, not after the app's threads and exit functions.
        os.close(target)


def _invoke(orders: dict[str, Any]) -> int:
    import json

    from . import events, function

    source, target = _streams()
    _prepare(orders)
    values: list[Any] = []
    for flag in ("event", "context"):
        path = orders[flag]
        if path is None:
            values.append(None)
            continue
        name = "standard input" if path == "-" else path
        try:
            with open(source if path == "-" else path, "rb") as file:
                values.append(json.loads(file.read()))
        except OSError as error:
            _error(
                f"cannot read the {flag} from {name}: {error.strerror}",
                f"--{flag} names a JSON file, or - for standard input",
            )
            return 1
        except ValueError as error:
            _error(f"the {flag} in {name} is not JSON: {error}", f"--{flag} names a JSON file")
            return 1
    event, context = values
    try:
        events.shape(event)
    except events.UnknownEvent as error:
        _error(str(error), "examples/function has an example of each shape")
        return 1
    app, code = _load(orders)
    if app is None:
        return code
    if isinstance(context, dict):
        context = function.Context(context)
    response = function.wsgi_run(event, context, app)
    text = json.dumps(response) + "\n"
    try:
        with open(target, "w", encoding="ascii") as file:
            file.write(text)
    except BrokenPipeError:
        # A reader that stops early, such as head(1), is not an error.
        pass
    return 0


def _pack(orders: dict[str, Any]) -> int:
    from . import pack

    try:
        pack.run(orders)
    except pack.PackError as error:
        _error(str(error), error.hint)
        return error.code
    return 0
