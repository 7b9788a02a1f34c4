"""What `rcorn cgi`, `rcorn invoke` and `rcorn pack` do inside the interpreter that rcorn starts. The orders come
from rcorn and are checked already; gives the exit code."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Optional


class Terminated(BaseException):
    """TERM came: the web server gives the request up. Raised so that the app's close() is called."""


def _terminate(number: int, frame: Optional[FrameType]) -> None:
    raise Terminated


def run(orders: dict[str, Any]) -> int:
    """Carries out one command."""
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
    """Takes standard input and output away from the app: what it prints goes to standard error, and would tear
    the response otherwise."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for descriptor in (source, target):
        os.set_blocking(descriptor, True)
    return source, target


def _prepare(orders: dict[str, Any]) -> None:
    """`sys.path` and `sys.argv` as an app finds them in the server."""
    # `python -c` puts an empty string first (unless PYTHONSAFEPATH): the directory of the moment.
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    sys.path[:0] = [orders["chdir"], *orders["pythonpath"]]
    sys.argv = list(orders["argv"])


def _load(orders: dict[str, Any]) -> tuple[Any, int]:
    """The app, or None and the exit code."""
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
    # Libraries would send their own requests where the client's field Proxy says (CVE-2016-1000110).
    os.environ.pop("HTTP_PROXY", None)
    _prepare(orders)
    output = cgi.Output(target)
    app, code = _load(orders)
    if app is None:
        try:
            # Some web servers take silence for a success.
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
        # The response ends here, and not when the app's threads and exit functions have.
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
                f"--{flag} names a file of JSON, or - for standard input",
            )
            return 1
        except ValueError as error:
            _error(f"the {flag} in {name} is not JSON: {error}", f"--{flag} names a file of JSON")
            return 1
    event, context = values
    try:
        events.shape(event)
    except events.UnknownEvent as error:
        _error(str(error), "examples of every shape are in examples/function")
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
        # A reader that left early (head) is no failure of ours.
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
