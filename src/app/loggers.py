# Python's loggers gunicorn.error and gunicorn.access, which write into rcorn's own logs, and the configuration of all
# loggers by --log-config, --log-config-json and logconfig_dict. Loaded when somebody has imported the module logging.
import sys

DEFAULTS = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}


class LogStream:
    """A text stream that writes into a log of rcorn. Each write is one record: nothing is held back."""

    encoding, errors, closed = "utf-8", "backslashreplace", False

    def __init__(self, name, write):
        self.name = name
        self._write = write

    def write(self, text):
        self._write(text)
        return len(text)

    def flush(self):
        pass

    close = flush

    def isatty(self):
        return False

    def writable(self):
        return True


class Loggers:
    """gunicorn's two loggers. `write_error` and `write_access` write text into rcorn's logs; `write_record`: writes a
    record into an error log that is JSON; `send_error`: sends one to syslog; `has_access_log`: there is an access log; `access_changed` is called when
    somebody changed what becomes of its lines."""

    def __init__(self, level, write_error, write_record, send_error, write_access, has_access_log, access_changed):
        self.level = level
        self.write_error = write_error
        self.write_record = write_record
        self.send_error = send_error
        self.write_access = write_access
        self.has_access_log = has_access_log
        self.access_changed = access_changed
        self.error = self.access = None

    def set_up(self):
        import logging

        watched = _watched(logging, self.access_changed)
        self.error = _adopt(logging, "gunicorn.error", watched)
        self.error.setLevel(self.level.upper())
        self.error.addHandler(self.error_handler(logging))
        if self.send_error is not None:
            self.error.addHandler(self.syslog_handler(logging))
        self.access = _adopt(logging, "gunicorn.access", watched)
        self.access.setLevel(logging.INFO)
        if self.has_access_log:
            # A class of its own, because changes of it are noticed.
            kind = type("StreamHandler", (watched, logging.StreamHandler), {"__module__": "logging"})
            self.stream = LogStream("<rcorn access log>", self.write_access)
            self.formatter = logging.Formatter("%(message)s")
            self.access_handler = kind(self.stream)
            self.access_handler.setFormatter(self.formatter)
            self.access.addHandler(self.access_handler)

    def error_handler(self, logging):
        stream = LogStream("<rcorn error log>", self.write_error)
        generic = logging.Formatter(**_generic())
        if self.write_record is None:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(generic)
            return handler
        plain, write_record = logging.Formatter("%(message)s"), self.write_record

        class JsonHandler(logging.StreamHandler):
            """Leaves the form to rcorn, unless the app sets a formatter of its own."""

            def emit(self, record):
                if self.formatter is not generic:
                    return super().emit(record)
                try:
                    write_record(record.levelno, record.name, plain.format(record))
                except Exception:
                    self.handleError(record)

        JsonHandler.__name__ = JsonHandler.__qualname__ = "StreamHandler"
        handler = JsonHandler(stream)
        handler.setFormatter(generic)
        return handler

    def syslog_handler(self, logging):
        send_error = self.send_error

        class SysLogHandler(logging.Handler):
            """Leaves the form of a message, and the way to the server, to rcorn."""

            def emit(self, record):
                try:
                    send_error(record.levelno, self.format(record))
                except Exception:
                    self.handleError(record)

        return SysLogHandler()

    def needs_python(self):
        """Whether the lines of the access log must go through the logger: anything about it, or about its handler, is
        not as `set_up` left it. rcorn writes the lines itself otherwise, with the same result."""
        if self.access is None:
            return False
        import logging

        log, handler = self.access, self.access_handler
        return bool(
            len(log.handlers) != 1
            or log.handlers[0] is not handler
            or log.filters
            or log.propagate
            or log.disabled
            or not log.isEnabledFor(logging.INFO)
            or handler.filters
            or handler.level > logging.INFO
            or handler.formatter is not self.formatter
            or handler.stream is not self.stream
            or _overridden(log)
            or _overridden(handler)
        )


def _generic():
    form = DEFAULTS["formatters"]["generic"]
    return {"fmt": form["format"], "datefmt": form["datefmt"]}


def _watched(logging, changed):
    """A class that calls `changed` whenever an attribute of its objects, or a list in one, changes."""

    def noticing(name):
        method = getattr(list, name)

        def call(self, *args, **named):
            result = method(self, *args, **named)
            changed()
            return result

        return call

    mutators = "append clear extend insert pop remove reverse sort __delitem__ __iadd__ __imul__ __setitem__".split()
    List = type("list", (list,), {name: noticing(name) for name in mutators})
    # setLevel() and logging.disable() clear it.
    Cache = type("dict", (dict,), {"clear": lambda self: (dict.clear(self), changed())[0]})

    class Watched:
        def __setattr__(self, name, value):
            # dictConfig() disables all loggers that it does not name, unless told otherwise. Nobody means the logs of
            # the server by that.
            if name == "disabled" and value and sys._getframe(1).f_globals.get("__name__") == "logging.config":
                return
            if name in ("handlers", "filters") and type(value) is list:
                value = List(value)
            elif name == "_cache":
                value = Cache(value)
            super().__setattr__(name, value)
            changed()

    return Watched


def _adopt(logging, name, watched):
    """The logger of this name, without handlers, and watched."""
    log = logging.getLogger(name)
    kind = type(log)
    log.__class__ = type(kind.__name__, (watched, kind), {"__module__": kind.__module__})
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    # From now on watched, too.
    for attribute in ("handlers", "filters", "_cache"):
        if hasattr(log, attribute):
            setattr(log, attribute, getattr(log, attribute))
    return log


def _overridden(object):
    """Whether a method of a logger or handler was replaced in the object."""
    return any(callable(value) and hasattr(type(object), name) for name, value in vars(object).items())


def configure(mapping, as_json, as_ini):
    """Configures the loggers as the settings say, over gunicorn's defaults."""
    import json
    import logging.config

    if mapping is None and as_json:
        with open(as_json, encoding="utf-8") as file:
            mapping = json.load(file)
    if mapping is not None:
        logging.config.dictConfig({**DEFAULTS, **mapping})
    else:
        defaults = {**DEFAULTS, "__file__": as_ini, "here": as_ini.rpartition("/")[0]}
        logging.config.fileConfig(as_ini, defaults=defaults, disable_existing_loggers=False)
    access = logging.getLogger("gunicorn.access")
    if not access.handlers:
        # The configuration says nothing of it, and there is no access log: the root logger gets the lines.
        access.propagate = True


def reopen_files():
    """Opens the files of all handlers again by their names, as gunicorn does on USR1."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    for log in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(log, "handlers", ()):
            if isinstance(handler, logging.FileHandler):
                handler.acquire()
                try:
                    if handler.stream:
                        handler.close()
                        handler.stream = handler._open()
                finally:
                    handler.release()


def access_logger(format):
    """What writes the access log: called with the atoms of one request."""
    import logging

    log = logging.getLogger("gunicorn.access")
    return lambda atoms: log.info(format, Atoms(atoms))


class Atoms(dict):
    """What a line of the access log can show. Names in braces are looked up without regard to case; what is missing is a
    dash. Text is escaped, so that no client can forge a line: that of the other names by rcorn itself."""

    def __init__(self, atoms):
        super().__init__(
            (name, escaped(value) if name.startswith("{") else value) for name, value in atoms.items()
        )

    def __getitem__(self, name):
        return self.get(name.lower() if name.startswith("{") else name, "-")


def escaped(text):
    if not isinstance(text, str):
        return text
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text)
    return text.replace('"', '\\"')
