//! The settings, one row each. The comment of a row is its documentation everywhere: here, in `--help` and in
//! the manual. Its first paragraph is what `--help` shows.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::allow::AllowList;
use super::amount::{Mode, Seconds, Size};
use super::app::AppRef;
use super::choice::{
    DrainMode, HeaderMap, Level, LogTarget, Preload, Protocol, ProxyProtocol, ReloadEngine,
    UpgradeMode,
};
use super::config::{ConfigFile, Mapping};
use super::origin::{Origin, Origins};
use super::table::{Effect, Flag, Section, Setting, first, settings};
use super::value::{Bounds, Value};
use super::workers::Workers;

settings! {
    /// Read settings from this file: `rcorn.yaml`, or a `gunicorn.conf.py`. Also `file:PATH` and `python:MODULE`.
    ///
    /// What ends in `.yaml` or `.yml` is YAML, all else is Python. The default is `rcorn.yaml` or `.yml`, else `gunicorn.conf.py`, in
    /// the directory that rcorn was started in, where there is one.
    config: Option<ConfigFile> = None => App, Reload, flag "config" 'c';

    /// Look at the settings, import the app, and leave: with 0 if all is well.
    check_config: bool = false => App, Boot, flag "check-config" sets "true";

    /// Print the settings, check them as `--check-config` does, and leave.
    print_config: bool = false => App, Boot, flag "print-config" sets "true";

    /// The app to serve, as `MODULE:CALLABLE` or `MODULE:FACTORY(LITERALS)`. `MODULE` alone means
    /// `MODULE:application`.
    wsgi_app: Option<AppRef> = None => App, Reload;

    /// Work in this directory. It is also the first place where modules are looked for. The default is the directory
    /// that rcorn was started in.
    chdir: PathBuf = PathBuf::new() => App, Reload, named "DIR", flag "chdir";

    /// Directories to look for modules in, before the others.
    pythonpath: Vec<PathBuf> = Vec::new() => App, Reload, split ',', named "DIRS", flag "pythonpath";

    /// Set an environment variable for the app. May be repeated.
    raw_env: Vec<(String, String)> = Vec::new() => App, Reload, flag "env" 'e';

    /// The Python to run the app with. The default is the one of the virtual environment that rcorn is
    /// installed in or that is active, else `python3`.
    python: Option<PathBuf> = None => App, Reload, flag "python";

    /// Import the app once, before the workers are forked. It saves memory and time. By default this is done
    /// unless the imported app turns out to be unsafe to fork; `--no-preload` lets each worker import it.
    preload_app: Preload = Preload::Auto => App, Reload,
        flag "preload" sets "on", flag "no-preload" sets "off";

    /// Load the app anew whenever a Python file of it changes. For development: an app that cannot be loaded
    /// answers with its traceback until the next change.
    ///
    /// Watched are the Python files below `chdir` and `pythonpath`, and those that the app loads from elsewhere, unless
    /// they were installed. A reload waits for nothing and is never undone: `reload_watch` and `reload_probe` do
    /// not count. `preload_app` is no hindrance.
    reload: bool = false => App, Reload, flag "reload" sets "true";

    /// How `reload` finds changes. `inotify` hears of them from the kernel, `poll` looks at all files once a second:
    /// for network file systems. `auto` is `inotify` wherever that works.
    reload_engine: ReloadEngine = ReloadEngine::Auto => App, Reload, flag "reload-engine";

    /// Another file for `reload` to watch, whatever its kind. It may be a path, a pattern such as
    /// `templates/**/*.html`, or a directory with all that is in it, and need not exist yet. May be repeated.
    reload_extra_files: Vec<PathBuf> = Vec::new() => App, Reload, named "FILE", flag "reload-extra-file";

    /// Listen here: `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `unix:PATH`, `unix:@NAME` or `fd://N`. May be repeated.
    /// With `uwsgi://` before it the uwsgi protocol is spoken there: `uwsgi://HOST:PORT`, `uwsgi://unix:PATH`.
    /// With `PORT` in the environment the default is `0.0.0.0:PORT`.
    bind: Vec<Address> = vec![Address::tcp("127.0.0.1", 8000)] => Sockets, Reload, split ',',
        variable "PORT", flag "bind" 'b';

    /// How many connections may wait to be accepted.
    backlog: u32 = 2048 => Sockets, Reload, bounds Bounds::between(0, 0x7fff_ffff), flag "backlog";

    /// Give each worker a listening socket of its own.
    reuse_port: bool = false => Sockets, Reload, flag "reuse-port" sets "true";

    /// What is spoken where `bind` does not say `uwsgi://`. `uwsgi` is the protocol of nginx's `uwsgi_pass`.
    ///
    /// A connection carries one request. The variables that the proxy sends (`uwsgi_param`) are put into the environ
    /// as they are; `REMOTE_ADDR`, `HTTPS` or `REQUEST_SCHEME`, `PATH_INFO` and `SCRIPT_NAME` are believed.
    protocol: Protocol = Protocol::Http => Sockets, Reload, flag "protocol";

    /// How many workers serve.
    ///
    /// At least one: with none nobody would answer, and connections would wait for ever.
    ///
    /// `auto` takes as many as this process may use CPUs: the quota of its control group (`cpu.max`), its
    /// affinity, or what the machine has, whichever is least.
    workers: Workers = Workers::Count(1) => Workers, Reload, bounds Bounds::between(1, 4096),
        variable "WEB_CONCURRENCY", flag "workers" 'w';

    /// The kind of workers. There is one: `sync`.
    worker_class: String = "sync".to_owned() => Workers, Reload, named "CLASS", flag "worker-class" 'k';

    /// Replace a worker after this many requests; 0 keeps it.
    max_requests: u64 = 0 => Workers, Reload, flag "max-requests";

    /// Add a random number up to this one to `max_requests`, anew for each worker.
    max_requests_jitter: u64 = 0 => Workers, Reload, flag "max-requests-jitter";

    /// Replace a worker that has grown beyond this; 0 keeps it. Looked at after requests, once a second at most.
    max_worker_memory: Size = Size::new(0) => Workers, Reload, flag "max-worker-memory";

    /// Replace a worker after this time; 0 keeps it.
    max_worker_age: Seconds = Seconds::new(0) => Workers, Reload, flag "max-worker-age";

    /// Kill a worker whose app takes longer than this for one request; 0 lets it run.
    timeout: Seconds = Seconds::new(30) => Workers, Reload, flag "timeout" 't';

    /// Kill a worker that is not ready after this time; 0 lets it go on.
    boot_timeout: Seconds = Seconds::new(60) => Workers, Reload, flag "boot-timeout";

    /// The time that workers have to finish what they do when rcorn stops or reloads.
    graceful_timeout: Seconds = Seconds::new(30) => Workers, Reload, flag "graceful-timeout";

    /// Undo a reload when new workers die within this time.
    reload_watch: Seconds = Seconds::new(5) => Workers, Reload, flag "reload-watch";

    /// Ask the first worker of a reload for this path before it replaces anybody. A status of 400 or above undoes
    /// the reload.
    reload_probe: Option<String> = None => Workers, Reload, named "PATH", flag "reload-probe";

    /// What a stop does with connections that wait to be accepted. `queue` serves them, `immediate` does not, `delay`
    /// goes on as before for `drain_delay` and then serves them.
    drain_mode: DrainMode = DrainMode::Queue => Workers, Reload, flag "drain-mode";

    /// How long a stop is put off, so that load balancers find out. More than 0 implies the drain mode `delay`, whose
    /// own default is 5 seconds.
    drain_delay: Seconds = Seconds::new(0) => Workers, Reload, flag "drain-delay";

    /// Keep an idle connection open for this time; 0 closes it after each response.
    ///
    /// Longer than proxies keep theirs: a proxy must never send a request on a connection that is being closed.
    keepalive: Seconds = Seconds::new(75) => Http, Reload, flag "keep-alive";

    /// Close a connection after this many requests; 0 keeps it.
    max_keepalive_requests: u64 = 0 => Http, Reload, flag "max-keepalive-requests";

    /// The time a client has to send the head of a request; 0 is for ever.
    header_timeout: Seconds = Seconds::new(20) => Http, Reload, flag "header-timeout";

    /// The longest pause while a client sends a body; 0 is for ever.
    ///
    /// On the whole a body may take this time, and a second more for each 500 bytes: who sends a byte now and then is
    /// cut, too.
    body_timeout: Seconds = Seconds::new(30) => Http, Reload, flag "body-timeout";

    /// The longest pause while a client takes a response; 0 is for ever.
    ///
    /// On the whole it may take this time, and a second more for each 500 bytes. What counts is what the client has
    /// acknowledged, not what waits in the kernel.
    write_timeout: Seconds = Seconds::new(30) => Http, Reload, flag "write-timeout";

    /// How many connections a worker holds at once, most of them waiting. With one more the longest idle is closed; when none is
    /// idle, one whose request has not come to its end. So, too, where the limit of open files (`ulimit -n`) is nearly
    /// reached: its last 8 to 64 are left to the app.
    worker_connections: u32 = 1000 => Http, Reload, bounds Bounds::between(1, 1_000_000), flag "worker-connections";

    /// Let a body up to this size arrive before the app is called. Of larger ones so much is awaited, and the rest
    /// streamed.
    request_buffer: Size = Size::new(1 << 20) => Http, Reload, bounds Bounds::between(0, 1 << 30),
        flag "request-buffer";

    /// Send a response up to this size while the worker goes on. Larger ones hold it until no more than this is left.
    /// A file (`wsgi.file_wrapper`) holds no worker, whatever its size.
    response_buffer: Size = Size::new(1 << 20) => Http, Reload, bounds Bounds::between(0, 1 << 30),
        flag "response-buffer";

    /// The longest request line, at most 8190; 0 is 1 MiB.
    limit_request_line: Size = Size::new(4094) => Http, Reload, bounds Bounds::lowered_to(8190),
        flag "limit-request-line";

    /// The most header fields of a request, at most 32768; 0 is 32768.
    limit_request_fields: u32 = 100 => Http, Reload, bounds Bounds::lowered_to(32768), flag "limit-request-fields";

    /// The longest header field; 0 is 8190.
    limit_request_field_size: Size = Size::new(8190) => Http, Reload, bounds Bounds::lowered_to(1 << 20),
        flag "limit-request-field_size", flag "limit-request-field-size";

    /// Refuse HTTP/1.1 requests without a `Host` field; `--no-require-host` accepts them.
    require_host: bool = true => Http, Reload, flag "no-require-host" sets "false";

    /// Accept header fields that go on in the next line.
    permit_obsolete_folding: bool = false => Http, Reload, flag "permit-obsolete-folding" sets "true";

    /// Accept methods in lower case, with `#`, or of a length that no method has.
    permit_unconventional_http_method: bool = false => Http, Reload,
        flag "permit-unconventional-http-method" sets "true";

    /// Accept other versions than HTTP/1.0 and HTTP/1.1.
    permit_unconventional_http_version: bool = false => Http, Reload,
        flag "permit-unconventional-http-version" sets "true";

    /// Give the app all methods in upper case.
    casefold_http_method: bool = false => Http, Reload, flag "casefold-http-method" sets "true";

    /// What to do with header fields that have an underscore in their name.
    header_map: HeaderMap = HeaderMap::Drop => Http, Reload, flag "header-map";

    /// Send files by `sendfile`, a system call; `--no-sendfile` copies them instead. The variable takes `true`,
    /// `yes`, `y` or `1`; anything else says no.
    sendfile: bool = true => Http, Reload, variable "SENDFILE", flag "no-sendfile" sets "false";

    /// The proxies to believe: addresses, networks, or `*` for all. Peers on unix sockets are always believed.
    forwarded_allow_ips: AllowList = loopback() => Proxies, Reload,
        variable "FORWARDED_ALLOW_IPS", flag "forwarded-allow-ips";

    /// Header fields with an underscore that the app gets from a believed proxy.
    forwarder_headers: Vec<String> = vec!["SCRIPT_NAME".to_owned(), "PATH_INFO".to_owned()] => Proxies, Reload,
        split ',', named "NAMES", flag "forwarder-headers";

    /// Header fields with which a believed proxy says that the client came by HTTPS.
    secure_scheme_headers: Vec<(String, String)> = secure_schemes() => Proxies, Reload, split ',',
        flag "secure-scheme-headers";

    /// The peers that may speak uwsgi: addresses, networks, or `*` for all. Peers on unix sockets always may.
    uwsgi_allow_ips: AllowList = loopback() => Proxies, Reload, flag "uwsgi-allow-from";

    /// Take the client's address from a PROXY header, v1, v2 or (`auto`) both. The mere flag means `auto`.
    ///
    /// The header is looked for at the beginning of a connection, and nowhere else.
    ///
    /// A connection that begins with a request is served as it is. Whether the forwarding header fields are believed
    /// depends on who is connected (`forwarded_allow_ips`), not on whom the PROXY header names.
    proxy_protocol: ProxyProtocol = ProxyProtocol::Off => Proxies, Reload, flag "proxy-protocol" bare "auto";

    /// The peers that may send a PROXY header: addresses, networks, or `*` for all. Peers on unix sockets always may.
    proxy_allow_ips: AllowList = loopback() => Proxies, Reload, flag "proxy-allow-from";

    /// Write the pid here.
    pidfile: Option<PathBuf> = None => Host, Boot, named "FILE", flag "pid" 'p';

    /// Run in the background, once the addresses are bound. Services under systemd or supervisor need no such thing.
    daemon: bool = false => Host, Boot, flag "daemon" 'D' sets "true";

    /// Where `rcorn ctl` finds this instance. The default is a socket named after the pid in `$XDG_RUNTIME_DIR/rcorn`,
    /// `/run/rcorn` or `/tmp/rcorn-UID`. A second rcorn (USR2) has PATH with `.2`, until the first is gone.
    control_socket: Option<PathBuf> = None => Host, Boot, named "PATH", flag "control-socket";

    /// The permissions of the control socket. The peer must be root or our own user in any case.
    control_socket_mode: Mode = Mode::new(0o600) => Host, Boot, flag "control-socket-mode";

    /// Offer no control socket.
    control_socket_disable: bool = false => Host, Boot, flag "no-control-socket" sets "true";

    /// What USR2 does. `beside` starts a second rcorn with the same sockets, as gunicorn does; `in-place` turns this
    /// process into the new build, under the same pid.
    upgrade: UpgradeMode = UpgradeMode::Beside => Host, Reload, flag "upgrade";

    /// Permissions that files we make shall not have; octal with a leading zero.
    umask: Mode = Mode::new(0) => Host, Reload, flag "umask" 'm';

    /// The user to work as, by name or number.
    user: Option<String> = None => Host, Reload, named "USER", flag "user" 'u';

    /// The group to work as, by name or number.
    group: Option<String> = None => Host, Reload, named "GROUP", flag "group" 'g';

    /// Join all groups of the user too.
    initgroups: bool = false => Host, Reload, flag "initgroups" sets "true";

    /// The name in the titles of the processes.
    proc_name: Option<String> = None => Host, Reload, named "NAME", flag "name" 'n';

    /// Write the error log here; `-` is standard error.
    errorlog: LogTarget = LogTarget::Standard => Logs, Reload, flag "error-logfile", flag "log-file";

    /// Write the access log here; `-` is standard output. By default there is none.
    accesslog: Option<LogTarget> = None => Logs, Reload, flag "access-logfile";

    /// The form of a line in the access log.
    access_log_format: String = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#.to_owned()
        => Logs, Reload, named "FORMAT", flag "access-logformat";

    /// How much to write to the error log.
    loglevel: Level = Level::Info => Logs, Reload, flag "log-level";

    /// Configure Python's loggers by this file, before the app is imported. It is read by `logging.config.fileConfig`.
    ///
    /// The access log then goes to the logger `gunicorn.access`. The error log of rcorn itself keeps its form.
    logconfig: Option<PathBuf> = None => Logs, Reload, named "FILE", flag "log-config";

    /// Configure Python's loggers by this JSON file. It is given to `logging.config.dictConfig`.
    logconfig_json: Option<PathBuf> = None => Logs, Reload, named "FILE", flag "log-config-json";

    /// Configure Python's loggers by this mapping. It is given to `logging.config.dictConfig`, over gunicorn's own, and
    /// counts more than the two files.
    logconfig_dict: Option<Mapping> = None => Logs, Reload;

    /// Send what the app prints to the error log.
    capture_output: bool = false => Logs, Reload, flag "capture-output" sets "true";
}

fn loopback() -> AllowList {
    AllowList::of([
        IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST)),
        IpNet::from(std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
    ])
}

fn secure_schemes() -> Vec<(String, String)> {
    [
        ("X-FORWARDED-PROTOCOL", "ssl"),
        ("X-FORWARDED-PROTO", "https"),
        ("X-FORWARDED-SSL", "on"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
