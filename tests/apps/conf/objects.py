# What hooks see has gunicorn's attributes and types: the table was made by looking at gunicorn 27's objects in each hook.
# What differs is logged.
accesslog = "-"
access_log_format = "%({x-id}i)s %({x-gone}i)s %({x-a}i)s|"

SERVER = """
LISTENERS list|SIGNALS list|START_CTX dict|WORKERS dict|address list|app.app_uri str|app.cfg Config|cfg Config|log Logger
master_name str|master_pid int|num_workers int|pid int|pidfile NoneType|proc_name str|reexec_pid int|systemd bool
timeout int|worker_age int|worker_class type|APP_LOAD_ERROR int|WORKER_BOOT_ERROR int|dirty_arbiter NoneType
kill_worker method|kill_workers method|LISTENERS[0].getsockname() tuple|START_CTX["args"] list|START_CTX["cwd"] str
"""
SERVER += "|".join("log." + name for name in """
LOG_LEVELS dict|access_fmt str|access_handlers list|access_log.name str|access_log.handlers list|access_log_enabled bool
atoms method|atoms_wrapper_class type|cfg Config|critical method|datefmt str|debug method|error method|error_fmt str
error_handlers list|error_log.name str|error_log.level int|error_log.handlers[0].formatter Formatter|exception method
info method|lock lock|log method|logfile NoneType|loglevel int|now method|now() str|reopen_files method|setup method
syslog_fmt str|warning method|access method|close_on_exec method
""".replace("\n", "|").strip("|").split("|"))

CFG = """
address list|env dict|env_orig dict|uid int|gid int|is_ssl NoneType|logger_class type|proc_name str|settings dict
ssl_options dict|worker_class type|worker_class_str str|forwarded_allow_networks() list|proxy_allow_networks() list
set method|paste_global_conf dict|settings["bind"].get() list|settings["bind"].name str|settings["workers"].value int
settings["post_fork"].get() function|bind list|backlog int|workers int|threads int|worker_connections int|max_requests int
max_requests_jitter int|timeout int|graceful_timeout int|keepalive int|limit_request_line int|limit_request_fields int
limit_request_field_size int|reload bool|reload_engine str|reload_extra_files list|spew bool|check_config bool
print_config bool|preload_app bool|sendfile bool|reuse_port bool|chdir str|daemon bool|raw_env list|pidfile NoneType
worker_tmp_dir NoneType|user int|group int|umask int|initgroups bool|tmp_upload_dir NoneType|secure_scheme_headers dict
forwarded_allow_ips list|accesslog str|access_log_format str|errorlog str|loglevel str|capture_output bool
logconfig NoneType|logconfig_dict dict|logconfig_json NoneType|syslog_addr str|syslog bool|statsd_host NoneType
default_proc_name str|pythonpath NoneType|paste NoneType|proxy_protocol str|proxy_allow_ips list|uwsgi_allow_ips list
keyfile NoneType|certfile NoneType|ca_certs NoneType|forwarder_headers list|header_map str|http_protocols list
post_fork function|ssl_context function|permit_obsolete_folding bool|casefold_http_method bool|wsgi_app str|config str
"""

WORKER = """
aborted bool|age int|alive bool|app.callable function|booted bool|cfg Config|log Logger|max_requests int|nr int|pid int
ppid int|reloader NoneType|sockets list|sockets[0].getsockname() tuple|timeout float|wsgi function|notify method
is_parent_alive method|is_parent_alive() bool|tmp.notify method|tmp.last_update() float
"""

REQ = """
cfg Config|force_close method|fragment str|headers list|headers[0] tuple|headers[0][0] str|limit_request_field_size int
limit_request_fields int|limit_request_line int|max_buffer_headers int|method str|must_close bool|path str
peer_addr tuple|peer_addr[1] int|proxy_protocol_info NoneType|query str|remote_addr tuple|remote_addr[0] str
remote_addr[1] int|req_number int|scheme str|should_close method|should_close() bool|trailers list|uri str|version tuple
body.read method
"""

RESP = """
cfg Config|chunked bool|force_close method|headers list|headers[0] tuple|headers_sent bool|is_chunked method
is_chunked() bool|must_close bool|req Request|response_length int|sent int|should_close method|should_close() bool
status str|status_code int|upgrade bool|version str
"""


def look(log, hook, object, table):
    wrong = []
    rows = [row for row in table.replace("\n", "|").split("|") if row]
    for row in rows:
        expression, kind = row.rsplit(" ", 1)
        try:
            found = type(eval("object." + expression, {"object": object})).__name__
        except Exception as error:
            found = repr(error)
        if found.replace("builtin_function_or_method", "method") != kind:
            wrong.append("%s is %s, not %s" % (expression, found, kind))
    assert len(rows) > 15, rows
    log.info("looked in %s: %s", hook, "; ".join(wrong) or "as in gunicorn")


def when_ready(server):
    look(server.log, "when_ready", server, SERVER)
    look(server.log, "when_ready, cfg", server.cfg, CFG)


def post_fork(server, worker):
    look(worker.log, "post_fork", server, SERVER)


def post_worker_init(worker):
    look(worker.log, "post_worker_init, cfg", worker.cfg, CFG)


def pre_request(worker, req):
    look(worker.log, "pre_request", req, REQ)
    worker.log.info("nr %s of %s", worker.nr, req.req_number)
    req.headers.append(("X-ID", "17"))
    req.headers.remove(("X-GONE", "here"))
    if req.path == "/rewritten":
        req.path, req.method, req.query = "/other%20place", "PUT", "a=b"


def post_request(worker, req, environ, resp):
    look(worker.log, "post_request, worker", worker, WORKER)
    look(worker.log, "post_request, req", req, REQ)
    look(worker.log, "post_request, resp", resp, RESP)
    worker.log.info("nr %s, %s %s", worker.nr, resp.headers, resp.status_code)


def on_exit(server):
    look(server.log, "on_exit", server, SERVER)
