# The objects that the hooks of a gunicorn.conf.py receive, with the attributes of gunicorn's. They live in templates and
# workers. hooks.rs calls the methods whose name begins with an underscore.
import _signal as signal
import atexit
import base64
import importlib
import logging
import os
import socket
import sys
import threading

import _rcorn_loggers as loggers

HOOKS = """on_starting on_reload when_ready pre_fork post_fork post_worker_init worker_int worker_abort pre_exec pre_request
post_request child_exit worker_exit nworkers_changed on_exit""".split()
# Those that gunicorn has and rcorn does not call.
OTHER_HOOKS = "ssl_context on_dirty_starting dirty_post_fork dirty_worker_init dirty_worker_exit".split()


# How many functions for the exit there were before the configuration file.
exit_functions = 0


def load(kind, place, directory, text):
    """Executes the configuration file in the directory where rcorn was started, as gunicorn does; returns its names."""
    global exit_functions
    here = os.getcwd()
    exit_functions = atexit._ncallbacks()
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


class SafeAtoms(loggers.Atoms):
    """Values of a line of the access log, all of them escaped."""

    def __init__(self, atoms):
        dict.__init__(self, ((name, loggers.escaped(value)) for name, value in atoms.items()))


class Setting:
    """One setting, as gunicorn's `cfg.settings` has it."""

    def __init__(self, name, value):
        self.name = name
        self.value = self.default = value

    def get(self):
        return self.value

    def set(self, value):
        self.value = value

    def copy(self):
        return Setting(self.name, self.value)

    def __repr__(self):
        return "<%s with value %r>" % (self.name, self.value)


class Config:
    """The settings, each as an attribute. What a hook changes is seen by hooks; rcorn itself has read its settings
    before."""

    prog = "rcorn"
    usage = "%(prog)s [OPTIONS] [APP_MODULE]"
    paste_global_conf = {}

    def __init__(self, values, hooks):
        values = {**values, **hooks}
        for name in (*HOOKS, *OTHER_HOOKS):
            values[name] = values.get(name) or _no_hook
        self.settings = {name: Setting(name, value) for name, value in _as_gunicorn(values).items()}
        self.env_orig = dict(os.environ)

    def __getattr__(self, name):
        if name == "settings":
            raise AttributeError(name)
        try:
            return self.settings[name].get()
        except KeyError:
            raise AttributeError("No configuration setting for: %s" % name) from None

    def __setattr__(self, name, value):
        if name in self.__dict__.get("settings", ()):
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def set(self, name, value):
        try:
            self.settings[name.lower()].set(value)
        except KeyError:
            raise AttributeError("No configuration setting for: %s" % name) from None

    @property
    def env(self):
        return dict(pair.split("=", 1) for pair in self.raw_env)

    @property
    def address(self):
        return [_address(bind) for bind in self.bind]

    @property
    def proc_name(self):
        return self.settings["proc_name"].get() or self.settings["wsgi_app"].get() or "rcorn"

    @property
    def uid(self):
        return self.user

    @property
    def gid(self):
        return self.group

    @property
    def worker_class_str(self):
        return self.settings["worker_class"].get()

    @property
    def worker_class(self):
        return Worker

    @property
    def logger_class(self):
        return Logger if self.statsd_host is None else Statsd

    @property
    def is_ssl(self):
        return self.certfile or self.keyfile

    @property
    def ssl_options(self):
        names = "keyfile certfile ssl_version cert_reqs ca_certs suppress_ragged_eofs do_handshake_on_connect ciphers"
        return {name: self.settings[name].get() for name in names.split() if name in self.settings}

    def forwarded_allow_networks(self):
        return _networks(self.forwarded_allow_ips)

    def proxy_allow_networks(self):
        return _networks(self.proxy_allow_ips)


def _no_hook(*_):
    """Stands for a hook that the file does not define."""


def _address(bind):
    bind = bind.split("://", 1)[-1]
    if bind.startswith("unix:"):
        return bind[5:]
    host, _, port = bind.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else bind


def _as_gunicorn(values):
    """Gives settings that rcorn keeps in another form the types that they have in gunicorn."""
    for name in ("forwarded_allow_ips", "proxy_allow_ips", "uwsgi_allow_ips", "http_protocols"):
        if isinstance(values[name], str):
            values[name] = [part.strip() for part in values[name].split(",") if part]
    user, group = values["user"], values["group"]
    values["user"] = os.geteuid() if user is None else _number(user, "pwd", "getpwnam", "pw_uid")
    values["group"] = os.getegid() if group is None else _number(group, "grp", "getgrnam", "gr_gid")
    values["default_proc_name"] = values["wsgi_app"] or values["default_proc_name"]
    values["logconfig_dict"] = values["logconfig_dict"] or {}
    values["pythonpath"] = ",".join(values["pythonpath"]) or None
    # `auto`: the app may be imported before the fork.
    values["preload_app"] = bool(values["preload_app"])
    return values


def _number(name, module, function, field):
    """The number of a user or group."""
    name = str(name)
    if name.isdigit():
        return int(name)
    return getattr(getattr(importlib.import_module(module), function)(name), field)


def _networks(addresses):
    import ipaddress

    return [ipaddress.ip_network(address) for address in addresses if address != "*"]


class Logger:
    """gunicorn's logger object: it writes by the logger `gunicorn.error`, and so into rcorn's error log."""

    LOG_LEVELS = {name: getattr(logging, name.upper()) for name in "critical error warning info debug".split()}
    loglevel = logging.INFO
    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    atoms_wrapper_class = SafeAtoms
    logfile = None

    def __init__(self, cfg):
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_handlers, self.access_handlers = [], []
        self.lock = threading.Lock()
        self.setup(cfg)

    def setup(self, cfg):
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get(str(cfg.loglevel).lower(), logging.INFO)

    def debug(self, msg, *args, **kwargs):
        self.error_log.debug(msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.error_log.info(msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.error_log.warning(msg, *args, **kwargs)
        loggers.count_record("warning")

    warn = warning

    def error(self, msg, *args, **kwargs):
        self.error_log.error(msg, *args, **kwargs)
        loggers.count_record("error")

    def critical(self, msg, *args, **kwargs):
        self.error_log.critical(msg, *args, **kwargs)
        loggers.count_record("critical")

    def exception(self, msg, *args, **kwargs):
        self.error_log.exception(msg, *args, **kwargs)
        loggers.count_record("exception")

    def log(self, lvl, msg, *args, **kwargs):
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        self.error_log.log(lvl, msg, *args, **kwargs)

    @property
    def access_log_enabled(self):
        cfg = self.cfg
        return bool(cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json)

    def now(self):
        import time

        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def atoms(self, resp, req, environ, request_time):
        """The values that a format of the access log can name."""
        import datetime

        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        sent = getattr(resp, "sent", None)
        microseconds = request_time // datetime.timedelta(microseconds=1)
        atoms = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": _user(environ) or "-",
            "t": self.now(),
            "r": " ".join((environ["REQUEST_METHOD"], environ["RAW_URI"], environ["SERVER_PROTOCOL"])),
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": microseconds // 1000000,
            "D": microseconds,
            "M": microseconds // 1000,
            "L": "%d.%06d" % divmod(microseconds, 1000000),
            "p": "<%s>" % os.getpid(),
        }
        for letter, values in (("i", getattr(req, "headers", req)), ("o", resp.headers), ("e", environ)):
            values = values.items() if hasattr(values, "items") else values
            atoms.update(("{%s}%s" % (name.lower(), letter), value) for name, value in values)
        return atoms

    def access(self, resp, req, environ, request_time):
        if self.access_log_enabled:
            atoms = self.atoms(resp, req, environ, request_time)
            line, safe_atoms = self.cfg.access_log_format, self.atoms_wrapper_class(atoms)
            if line.strip() == "json":
                # As rcorn's own records come to this logger.
                line, safe_atoms["json"] = "%(json)s", _json_record(atoms, environ, request_time)
            self.access_log.info(line, safe_atoms)

    def reopen_files(self):
        loggers.reopen_files()

    def close_on_exec(self):
        """Python's files are closed at an exec anyway (PEP 446)."""


class Statsd(Logger):
    """gunicorn's logger with a statsd server: its metrics are sent by the arbiter, which adds prefix and tags."""

    def gauge(self, name, value):
        loggers.send_metric("%s:%s|g" % (name, value))

    def increment(self, name, value, sampling_rate=1.0):
        loggers.send_metric("%s:%s|c|@%s" % (name, value, sampling_rate))

    def decrement(self, name, value, sampling_rate=1.0):
        loggers.send_metric("%s:-%s|c|@%s" % (name, value, sampling_rate))

    def timer(self, name, value):
        loggers.send_metric("%s:%s|ms" % (name, value))

    def histogram(self, name, value):
        loggers.send_metric("%s:%s|h" % (name, value))

    def debug(self, msg, *args, **kwargs):
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.log(logging.INFO, msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        extra = kwargs.get("extra") or {}
        metric, value = extra.get("metric"), extra.get("value")
        send = {"gauge": self.gauge, "counter": self.increment, "histogram": self.histogram, "timer": self.timer}
        send = send.get(extra.get("mtype"))
        if metric and value is not None and send:
            send(metric, value)
        if msg:
            super().log(lvl, msg, *args, **kwargs)


def _json_record(atoms, environ, request_time):
    """The record of a request with `access_log_format: json`: rcorn's own members."""
    import datetime
    import json

    members = {
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "remote_addr": environ.get("REMOTE_ADDR", ""),
        "user": _user(environ) or None,
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "path": environ.get("PATH_INFO", ""),
        "query": environ.get("QUERY_STRING", ""),
        "protocol": environ["SERVER_PROTOCOL"],
        "status": int(atoms["s"]),
        "bytes": atoms["B"],
        "duration": request_time.total_seconds(),
        "host": environ.get("HTTP_HOST"),
        "referer": environ.get("HTTP_REFERER"),
        "user_agent": environ.get("HTTP_USER_AGENT"),
        "pid": os.getpid(),
    }
    members = {name: _as_utf8(value) if isinstance(value, str) else value for name, value in members.items()}
    return json.dumps(members, separators=(",", ":"))


def _as_utf8(text):
    """Text of an environ, whose characters are bytes, as what the client probably meant."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _user(environ):
    """The user of HTTP Basic authentication (RFC 7617)."""
    scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials.strip()).split(b":", 1)[0].decode()
    except ValueError:
        return None


class Application:
    logger = prog = None
    usage = Config.usage

    def __init__(self, cfg):
        self.cfg = cfg
        self.app_uri = cfg.wsgi_app
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
        self._alive = True
        self.nr = 0
        self.max_requests = server.cfg.max_requests or sys.maxsize
        self.reloader = None
        self.tmp = Heartbeat()
        self._sockets = None

    def __str__(self):
        return "<Worker %s>" % self.pid

    @property
    def alive(self):
        return self._alive

    @alive.setter
    def alive(self, value):
        """A hook that sets it to False lets the worker leave after its request, as gunicorn's does."""
        self._alive = value
        if not value and self.pid == os.getpid():
            self.server._leave()

    @property
    def sockets(self):
        if self._sockets is None:
            self._sockets = [socket.socket(fileno=os.dup(number)) for number in self.server._listeners]
        return self._sockets

    def notify(self):
        self.tmp.notify()

    def is_parent_alive(self):
        return os.getppid() == self.ppid

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

    def _pre_request(self, environ, fields, number):
        """Returns the request object, and its header fields if the hook changed them."""
        request = Request(self.cfg, environ, fields, number)
        self.server._call("pre_request", self, request)
        self.nr += 1
        return request, request._apply(environ)

    def _post_request(self, request, environ, status, headers, sent):
        hook = self.server._names["post_request"]
        given = (self, request, environ, Response(request, status, headers, sent))
        try:
            hook(*given[: self.server._post_request_arity])
        except Exception:
            self.log.exception("Exception in post_request hook")

    def _worker_int(self):
        self._alive = False
        self.server._call_safely("worker_int", self)

    def _abort_request(self):
        self.aborted, self._alive = True, False
        self.server._call("worker_abort", self)

    def _abort_idle(self):
        if not self.aborted:
            self.aborted, self._alive = True, False
            self.server._call_safely("worker_abort", self)

    def _worker_abort(self, *_):
        self.aborted, self._alive = True, False
        self.server._call_safely("worker_abort", self)
        os._exit(1)

    def _worker_exit(self):
        self._alive = False
        self.server._call_safely("worker_exit", self.server, self)


class Server:
    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4
    SIGNALS = [getattr(signal, "SIG" + name) for name in "HUP QUIT INT TERM TTIN TTOU USR1 USR2 WINCH".split()]
    master_name = "Master"
    reexec_pid = 0
    systemd = False
    worker_age = 0
    pidfile = dirty_arbiter = dirty_pidfile = None
    dirty_arbiter_pid = 0
    worker_class = Worker

    def __init__(self, names, settings, pid, listeners, leave):
        self._leave = leave
        self._names = {name: names[name] for name in HOOKS if callable(names.get(name))}
        self._listeners = listeners
        self.cfg = Config(settings, self._names)
        self.log = self.cfg.logger_class(self.cfg)
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

    def kill_worker(self, pid, sig):
        os.kill(pid, sig)

    def kill_workers(self, sig):
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)

    # Called by hooks.rs.

    def _has(self, name):
        return name in self._names

    def _has_exit_functions(self):
        return atexit._ncallbacks() > exit_functions

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
        worker._alive = False
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


class Field:
    """An attribute of a request that comes from the environ, until a hook sets it."""

    def __init__(self, get):
        self.get = get

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, request, owner):
        if request is None:
            return self
        changed = request._changed
        return changed[self.name] if self.name in changed else self.get(request._environ)

    def __set__(self, request, value):
        request._changed[self.name] = value


def _remote_addr(environ):
    address, port = environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", "")
    return (address, int(port)) if port else address


def _version(environ):
    return tuple(int(part) for part in environ["SERVER_PROTOCOL"].split("/")[1].split("."))


class Request:
    """gunicorn's request object. The environ is made before `pre_request`, unlike gunicorn's: what the hook changes is
    applied to it."""

    method = Field(lambda environ: environ["REQUEST_METHOD"])
    uri = Field(lambda environ: environ.get("RAW_URI", ""))
    path = Field(lambda environ: environ.get("RAW_URI", "").split("?", 1)[0])
    query = Field(lambda environ: environ.get("QUERY_STRING", ""))
    scheme = Field(lambda environ: environ.get("wsgi.url_scheme", "http"))
    version = Field(_version)
    remote_addr = Field(_remote_addr)
    peer_addr = Field(_remote_addr)
    body = Field(lambda environ: environ["wsgi.input"])
    fragment = ""
    unreader = None
    must_close = False

    def __init__(self, cfg, environ, fields, number):
        self.cfg = cfg
        self.headers = fields
        self.trailers = []
        self.req_number = number
        self._environ = environ
        self._changed = {}
        self._original = tuple(fields)

    @property
    def limit_request_line(self):
        return self.cfg.limit_request_line

    @property
    def limit_request_fields(self):
        return self.cfg.limit_request_fields

    @property
    def limit_request_field_size(self):
        return self.cfg.limit_request_field_size

    @property
    def max_buffer_headers(self):
        return self.limit_request_fields * (self.limit_request_field_size + 2) + 4

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

    def force_close(self):
        self.must_close = True

    def should_close(self):
        if self.must_close:
            return True
        for name, value in self.headers:
            if name == "CONNECTION":
                value = value.lower().strip(" \t")
                if value in ("close", "keep-alive"):
                    return value == "close"
        return self.version <= (1, 0)

    # Called by the worker object.

    def _apply(self, environ):
        """Applies the changes of a hook to the environ; returns the header fields if they are changed."""
        for name, value in self._changed.items():
            if name == "path":
                from urllib.parse import unquote_to_bytes

                environ["PATH_INFO"] = unquote_to_bytes(value.encode("latin-1")).decode("latin-1")
            elif name == "version":
                environ["SERVER_PROTOCOL"] = "HTTP/%d.%d" % value
            elif name in KEYS:
                environ[KEYS[name]] = value
        headers = self.headers
        if len(headers) == len(self._original) and tuple(headers) == self._original:
            return None
        forwarder = self.cfg.forwarder_headers
        before, after = _variables(self._original, forwarder), _variables(headers, forwarder)
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                if name in after:
                    environ[name] = after[name]
                else:
                    environ.pop(name, None)
        return list(headers)


KEYS = {
    "method": "REQUEST_METHOD",
    "uri": "RAW_URI",
    "query": "QUERY_STRING",
    "scheme": "wsgi.url_scheme",
    "body": "wsgi.input",
}


def _variables(fields, forwarder):
    """The variables of an environ for header fields. Those in `forwarder` override variables of
    their own names, which a client's field must not be confused with (`SCRIPT-NAME` beside a
    proxy's `SCRIPT_NAME`)."""
    found = {}
    for name, value in fields:
        name = name.upper()
        is_forwarder = name in forwarder
        name = name.replace("-", "_")
        if is_forwarder:
            # These have decided how the target was divided, before the hook.
            if name not in ("SCRIPT_NAME", "PATH_INFO"):
                found[name] = value
            continue
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = "HTTP_" + name
        if name in found:
            value = (found[name] + "; " if name == "HTTP_COOKIE" else found[name] + ",") + value
        found[name] = value
    return found


class Response:
    """gunicorn's response object, after the response was sent."""

    headers_sent = True
    upgrade = False
    version = "rcorn"
    sock = None

    def __init__(self, req, status, headers, sent):
        self.req = req
        self.cfg = req.cfg
        self.status = status
        self.status_code = int(status.split(" ", 1)[0])
        self.sent = sent
        self.response_length = None
        self.chunked = self.must_close = False
        for name, value in headers:
            name = name.lower()
            if name == "content-length":
                self.response_length = int(value)
            elif name == "transfer-encoding":
                self.chunked = True
            elif name == "connection":
                self.must_close = value.lower() == "close"
        # The app's own: rcorn's come last.
        while headers and headers[-1][0].lower() in ("connection", "date", "server", "transfer-encoding"):
            headers.pop()
        self.headers = headers

    def should_close(self):
        return self.must_close

    def is_chunked(self):
        return self.chunked

    def force_close(self):
        self.must_close = True
