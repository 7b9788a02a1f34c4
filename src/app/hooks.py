# The objects that the hooks of a gunicorn.conf.py receive, with the attributes of gunicorn's. They live in templates and
# workers. hooks.rs calls the methods whose name begins with an underscore.
import importlib
import logging
import os
import socket
import sys


def load(kind, place, directory, text):
    """Executes the configuration file in the directory where rcorn was started, as gunicorn does; returns its names."""
    here = os.getcwd()
    try:
        try:
            os.chdir(directory)
        except OSError:
            pass
        if kind == "module":
            return vars(importlib.import_module(place))
        if text is None:
            with open(place, "rb") as file:
                text = file.read()
        code = compile(text, place, "exec")
        # pickle finds the objects of the file by this name.
        module = sys.modules["__config__"] = type(sys)("__config__")
        module.__file__ = place
        exec(code, module.__dict__)
        return module.__dict__
    finally:
        os.chdir(here)


class Config:
    """The settings, each as an attribute."""

    is_ssl = False
    ssl_options = {}
    worker_class_str = "sync"

    def __init__(self, settings):
        self.settings = settings

    def __getattr__(self, name):
        if name == "settings":
            raise AttributeError(name)
        try:
            return self.settings[name]
        except KeyError:
            raise AttributeError("no configuration setting for: %s" % name) from None

    def set(self, name, value):
        """Changes the value that hooks see. rcorn itself has read its settings before."""
        self.settings[name.lower()] = value

    @property
    def env(self):
        return dict(pair.split("=", 1) for pair in self.raw_env)

    @property
    def address(self):
        return [_address(bind) for bind in self.bind]

    @property
    def proc_name(self):
        return self.settings["proc_name"] or self.settings["wsgi_app"] or "rcorn"


def _address(bind):
    bind = bind.split("://", 1)[-1]
    if bind.startswith("unix:"):
        return bind[5:]
    host, _, port = bind.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else bind


class Log:
    """rcorn's error log, with the methods of gunicorn's logger."""

    def __init__(self, write, cfg):
        self._write = write
        self.cfg = cfg
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")

    def _log(self, level, message, args, exc_info=None, **_):
        if args:
            mapping = len(args) == 1 and isinstance(args[0], dict) and args[0]
            message = str(message) % (mapping or args)
        if exc_info:
            import traceback

            if isinstance(exc_info, BaseException):
                exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
            elif not isinstance(exc_info, tuple):
                exc_info = sys.exc_info()
            message = "%s\n%s" % (message, "".join(traceback.format_exception(*exc_info)).rstrip())
        self._write(level, str(message))

    def debug(self, message, *args, **named):
        self._log("debug", message, args, **named)

    def info(self, message, *args, **named):
        self._log("info", message, args, **named)

    def warning(self, message, *args, **named):
        self._log("warning", message, args, **named)

    warn = warning

    def error(self, message, *args, **named):
        self._log("error", message, args, **named)

    def critical(self, message, *args, **named):
        self._log("critical", message, args, **named)

    def exception(self, message, *args, **named):
        named.setdefault("exc_info", True)
        self._log("error", message, args, **named)

    def log(self, level, message, *args, **named):
        name = level if isinstance(level, str) else logging.getLevelName(level)
        self._log(name.lower(), message, args, **named)

    def setup(self, cfg):
        pass

    def reopen_files(self):
        pass


class Application:
    def __init__(self, cfg):
        self.cfg = cfg
        self.callable = None

    def wsgi(self):
        return self.callable


class Heartbeat:
    """Stands for the file that gunicorn's workers touch. rcorn has its scoreboard instead."""

    def notify(self):
        pass

    def last_update(self):
        import time

        return time.monotonic()

    def close(self):
        pass


class Worker:
    wsgi = None

    def __init__(self, server, age):
        self.server = server
        self.age = age
        self.pid = "[booting]"
        self.ppid = server.pid
        self.app = server.app
        self.cfg = server.cfg
        self.log = server.log
        self.timeout = server.cfg.timeout / 2.0
        self.booted = self.aborted = False
        self.alive = True
        self.nr = 0
        self.max_requests = server.cfg.max_requests or sys.maxsize
        self.reloader = None
        self.tmp = Heartbeat()
        self._sockets = None

    def __str__(self):
        return "<Worker %s>" % self.pid

    @property
    def sockets(self):
        if self._sockets is None:
            self._sockets = [socket.socket(fileno=os.dup(number)) for number in self.server._listeners]
        return self._sockets

    def notify(self):
        self.tmp.notify()

    # Called by hooks.rs.

    def _post_fork(self, pid):
        self.pid = pid
        # multiprocessing waits at exit for its children. These are children of the template.
        process = sys.modules.get("multiprocessing.process")
        if process is not None:
            process._children = set()
        self.server._call("post_fork", self.server, self)

    def _post_worker_init(self, app):
        self.wsgi = self.app.callable = app
        self.booted = True
        self.server._call("post_worker_init", self)
        return self.wsgi

    def _pre_request(self, environ):
        self.nr += 1
        request = Request(environ)
        self.server._call("pre_request", self, request)
        return request

    def _post_request(self, request, environ, status, headers, sent):
        hook = self.server._names["post_request"]
        given = (self, request or Request(environ), environ, Response(status, headers, sent))
        try:
            hook(*given[: self.server._post_request_arity])
        except Exception:
            self.log.exception("Exception in post_request hook")

    def _worker_int(self):
        self.alive = False
        self.server._call_safely("worker_int", self)

    def _abort_request(self):
        self.aborted, self.alive = True, False
        self.server._call("worker_abort", self)

    def _abort_idle(self):
        if not self.aborted:
            self.aborted, self.alive = True, False
            self.server._call_safely("worker_abort", self)

    def _worker_abort(self, *_):
        self.aborted, self.alive = True, False
        self.server._call_safely("worker_abort", self)
        os._exit(1)

    def _worker_exit(self):
        self.alive = False
        self.server._call_safely("worker_exit", self.server, self)


class Server:
    master_name = "Master"
    reexec_pid = 0
    systemd = False
    worker_age = 0

    def __init__(self, names, settings, write, pid, listeners):
        self._names = {name: value for name, value in names.items() if callable(value)}
        self._listeners = listeners
        self.cfg = Config(settings)
        self.log = Log(write, self.cfg)
        self.app = Application(self.cfg)
        self.pid = pid
        self.master_pid = 0
        self.num_workers = self.cfg.workers
        self.timeout = self.cfg.timeout
        self.proc_name = self.cfg.proc_name
        self.address = self.cfg.address
        self.WORKERS = {}
        self.START_CTX = {"args": list(sys.argv), "cwd": os.getcwd(), 0: sys.executable}
        self._forking = None
        hook = self._names.get("post_request")
        if hook:
            self._post_request_arity = _arity(hook)

    @property
    def LISTENERS(self):
        return [socket.socket(fileno=os.dup(number)) for number in self._listeners]

    # Called by hooks.rs.

    def _has(self, name):
        return name in self._names

    def _call(self, name, *args):
        hook = self._names.get(name)
        if hook is not None:
            hook(*args)

    def _call_safely(self, name, *args):
        try:
            self._call(name, *args)
        except BaseException:
            self.log.exception("Exception in %s hook", name)

    def _on_starting(self):
        try:
            self._call("on_starting", self)
        except SystemExit:
            raise
        except BaseException:
            self.log.exception("Exception in on_starting hook")
        self._call_safely("nworkers_changed", self, self.num_workers, None)

    def _on_exit(self):
        self._call_safely("on_exit", self)
        # As at the end of an interpreter: ends daemonic processes and waits for the others.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            try:
                util._exit_function()
            except BaseException:
                self.log.exception("Exception at the end of multiprocessing")

    def _pre_fork(self, age):
        self._forking = worker = Worker(self, age)
        self.worker_age = age
        self._call_safely("pre_fork", self, worker)
        return worker

    def _forked(self, pid):
        worker, self._forking = self._forking, None
        worker.pid = pid
        self.WORKERS[pid] = worker

    def _child_exit(self, age, pid):
        worker = self.WORKERS.pop(pid, None)
        if worker is None:
            worker = Worker(self, age)
            worker.pid = pid
        worker.alive = False
        self._call_safely("child_exit", self, worker)

    def _workers_changed(self, now, before):
        self.num_workers = now
        self._call_safely("nworkers_changed", self, now, before)


def _arity(hook):
    """How many of its four arguments a post_request hook takes."""
    import inspect

    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):
        return 4
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return 4
    return min(4, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))


class Request:
    """gunicorn's request object, made from the environ."""

    def __init__(self, environ):
        self._environ = environ

    method = property(lambda self: self._environ["REQUEST_METHOD"])
    uri = property(lambda self: self._environ.get("RAW_URI", ""))
    query = property(lambda self: self._environ.get("QUERY_STRING", ""))
    scheme = property(lambda self: self._environ.get("wsgi.url_scheme", "http"))
    body = property(lambda self: self._environ["wsgi.input"])
    remote_addr = property(lambda self: (self._environ.get("REMOTE_ADDR", ""), self._environ.get("REMOTE_PORT", "")))
    peer_addr = remote_addr
    fragment = ""
    trailers = ()

    @property
    def proxy_protocol_info(self):
        environ = self._environ
        if "PROXY_PROTOCOL" not in environ:
            return None
        return {
            "proxy_protocol": environ["PROXY_PROTOCOL"],
            "client_addr": environ["REMOTE_ADDR"],
            "client_port": int(environ["REMOTE_PORT"]),
            "proxy_addr": environ["PROXY_ADDR"],
            "proxy_port": int(environ["PROXY_PORT"]),
        }

    @property
    def path(self):
        return self.uri.split("?", 1)[0]

    @property
    def version(self):
        return tuple(int(part) for part in self._environ["SERVER_PROTOCOL"].split("/")[1].split("."))

    @property
    def headers(self):
        found = []
        for name, value in self._environ.items():
            if name.startswith("HTTP_"):
                found.append((name[5:].replace("_", "-"), value))
            elif name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
                found.append((name.replace("_", "-"), value))
        return found


class Response:
    """gunicorn's response object, after the response was sent."""

    headers_sent = True

    def __init__(self, status, headers, sent):
        self.status = status
        self.status_code = int(status.split(" ", 1)[0])
        self.headers = headers
        self.sent = sent
        self.response_length = None
        for name, value in headers:
            if name.lower() == "content-length":
                self.response_length = int(value)
