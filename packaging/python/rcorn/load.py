"""Imports the app that an expression names, with the rules, messages and exit codes of the server."""

from __future__ import annotations

import sys

from . import exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Exit codes, as in the server: the import or the factory raised an exception; the name is wrong.
RAISED, WRONG_NAME = 3, 4


class LoadError(Exception):
    """The app cannot be loaded. The message is empty if the traceback is already on standard error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def load(expression: str) -> exchange.App:
    """Imports the app named by `module:attribute.path` or `module:factory('literal', name=1)`."""
    name, _, rest = expression.partition(":")
    path, call, arguments = rest.partition("(")
    try:
        # Not importlib.import_module: tracebacks of __import__ omit the import machinery.
        __import__(name)
        found: Any = sys.modules[name]
        for attribute in path.split("."):
            near = _candidates(found)
            try:
                found = getattr(found, attribute)
            except AttributeError:
                raise LoadError(WRONG_NAME, f"Failed to find attribute '{attribute}' in '{name}'.{near}") from None
            name = f"{name}.{attribute}"
        if call:
            _check_callable(name, found)
            found = _call(found, arguments)
            name += "()"
    except LoadError:
        raise
    except (Exception, SystemExit):
        exchange.report(sys.stderr, "the app could not be loaded")
        raise LoadError(RAISED, "") from None
    _check_callable(name, found)
    app: exchange.App = found
    return app


def _call(factory: Any, arguments: str) -> Any:
    import ast

    # rcorn has already checked that all arguments are literals.
    call = ast.parse(f"f({arguments}", mode="eval").body
    assert isinstance(call, ast.Call)
    values = [ast.literal_eval(value) for value in call.args]
    named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    return factory(*values, **named)


def _check_callable(name: str, found: object) -> None:
    if not callable(found):
        kind = type(found).__qualname__
        raise LoadError(
            WRONG_NAME,
            f"'{name}' is a {kind}, which is not callable; a WSGI app is a callable taking (environ, start_response)",
        )


def _candidates(module: object) -> str:
    """A hint that lists callables of the module."""
    names = []
    home = getattr(module, "__name__", None)
    for name, value in list(getattr(module, "__dict__", {}).items()):
        own = getattr(value, "__module__", None) == home or name in ("app", "application", "wsgi_app")
        if own and not name.startswith("_") and callable(value):
            names.append(name)
    return f" Callables there: {', '.join(sorted(names)[:8])}." if names else ""
