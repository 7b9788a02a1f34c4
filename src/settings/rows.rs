//! The settings, one row each. The doc comment of a row is its documentation everywhere: in
//! rustdoc, in `--help` (its first paragraph) and in the manual (all of it).
//!
//! To add a setting, add a row and the code that reads it; everything else follows from the row.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::allow::AllowList;
use super::amount::{Mode, Seconds, Size};
use super::app::AppRef;
use super::choice::{
    DrainMode, HeaderMap, Level, LogFormat, LogTarget, Preload, Protocol, ProxyProtocol,
    ReloadEngine, RequestId, RetireOldFirst, ServerHeader, SyslogFacility, UpgradeMode,
};
use super::compression::Compression;
use super::config::{ConfigFile, Mapping};
use super::origin::{Origin, Origins};
use super::refusal::Bounds;
use super::table::{
    Completes, Effect, Flag, InPython, Row, Section, Variable, VariableForm, first, settings,
};
use super::telemetry::{MetricText, StatsdAddress, SyslogAddress};
use super::tls::{Ciphers, ClientCertificates, TlsVersions};
use super::value::Value;
use super::workers::Workers;

/// A row of [`TABLE`].
pub type Setting = Row<Settings, Layer>;

settings! {
    /// Read settings from this file: a YAML file, or a `gunicorn.conf.py`.
    ///
    /// `PATH` and `file:PATH` name a file, `python:MODULE` a module. A file that ends in `.yaml` or
    /// `.yml` is YAML, any other is Python. The default is the first of `rcorn.yaml`, `rcorn.yml`
    /// and `gunicorn.conf.py` that exists in the directory in which rcorn was started.
    config: Option<ConfigFile> = None => App, Reload, flag "config" 'c';

    /// Check the settings, import the app, and exit. The exit status is 0 if both succeed.
    check_config: bool = false => App, Boot, flag "check-config" sets "true";

    /// Print the settings, check them as `--check-config` does, and exit.
    print_config: bool = false => App, Boot, flag "print-config" sets "true";

    /// The app to serve: `MODULE:CALLABLE` or `MODULE:FACTORY(LITERALS)`. `MODULE` alone means
    /// `MODULE:application`.
    wsgi_app: Option<AppRef> = None => App, Reload, positional "APP_MODULE";

    /// Change to this directory first. Modules are looked for in it before anywhere else. The
    /// default is the directory in which rcorn was started.
    chdir: PathBuf = PathBuf::new() => App, Reload, named "DIR", completes Directory, flag "chdir";

    /// Directories in which to look for modules, after `chdir` and before all others.
    pythonpath: Vec<PathBuf> = Vec::new() => App, Reload, split ',', named "DIRS",
        completes Directory, flag "pythonpath";

    /// Set an environment variable for the app. May be repeated.
    raw_env: Vec<(String, String)> = Vec::new() => App, Reload, flag "env" 'e';

    /// The Python that runs the app. The default is that of the virtual environment in which rcorn
    /// is installed, else that of the active virtual environment, else `python3` from `PATH`.
    python: Option<PathBuf> = None => App, Reload, in_python CommonName, flag "python";

    /// Import the app once and fork the workers from it, which saves memory and time. By default
    /// this is done if nobody can tell it from an import in each worker: the import is watched, and
    /// the log names what speaks against it. With `--no-preload` each worker imports the app
    /// itself.
    preload_app: Preload = Preload::Auto => App, Reload,
        flag "preload" sets "on", flag "no-preload" sets "off";

    /// Reload whenever one of the app's Python files changes. For development: an app that cannot
    /// be imported answers with its traceback until the next change.
    ///
    /// The files watched are the Python files below `chdir` and `pythonpath`, and those that the
    /// app loads from elsewhere, except installed packages. Such a reload is immediate and is never
    /// undone: `reload_watch` and `reload_probe` have no effect. `preload_app` may be on.
    reload: bool = false => App, Reload, flag "reload" sets "true";

    /// How `reload` notices changes. `inotify` is told by the kernel; `poll` checks all files once
    /// a second, for network file systems. `auto` uses `inotify` wherever it works.
    reload_engine: ReloadEngine = ReloadEngine::Auto => App, Reload, flag "reload-engine";

    /// Another file for `reload` to watch. It is a path, a pattern such as `templates/**/*.html`,
    /// or a directory with everything in it, and need not exist yet. May be repeated.
    reload_extra_files: Vec<PathBuf> = Vec::new() => App, Reload, named "FILE",
        flag "reload-extra-file";

    /// Listen on `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `unix:PATH`, `unix:@NAME` or `fd://N`. May be
    /// repeated. With `uwsgi://` in front, as in `uwsgi://HOST:PORT` or `uwsgi://unix:PATH`, the
    /// address speaks the uwsgi protocol; with `https://`, as in `https://:443`, TLS (`certfile`).
    /// With `PORT` in the environment the default is `0.0.0.0:PORT`.
    bind: Vec<Address> = vec![Address::tcp("127.0.0.1", 8000)] => Sockets, Reload, split ',',
        variable "PORT" as Port
            "The port to listen on, at all addresses: the default of `bind` is `0.0.0.0:PORT`.",
        flag "bind" 'b';

    /// How many connections may wait to be accepted (listen(2)).
    backlog: u32 = 2048 => Sockets, Reload, bounds Bounds::between(0, 0x7fff_ffff), flag "backlog";

    /// Bind with `SO_REUSEPORT`, so that other processes may bind the same address. The workers
    /// share one listening socket all the same.
    reuse_port: bool = false => Sockets, Reload, flag "reuse-port" sets "true";

    /// The protocol of addresses in `bind` without `uwsgi://`. `uwsgi` is what nginx's `uwsgi_pass`
    /// speaks.
    ///
    /// A uwsgi connection carries one request. The variables that the proxy sends (`uwsgi_param`)
    /// go into the environ unchanged; `REMOTE_ADDR`, `HTTPS` or `REQUEST_SCHEME`, `PATH_INFO` and
    /// `SCRIPT_NAME` are trusted.
    protocol: Protocol = Protocol::Http => Sockets, Reload, flag "protocol";

    /// The number of workers, at least one.
    ///
    /// `auto` starts one for each CPU that this process may use: the least of its control group's
    /// quota (`cpu.max`), its CPU affinity, and the CPUs of the machine.
    workers: Workers = Workers::Count(1) => Workers, Reload, bounds Bounds::between(1, 4096),
        variable "WEB_CONCURRENCY", flag "workers" 'w';

    /// The kind of workers: `sync`, or `gthread` for workers with threads.
    ///
    /// `sync` with more than one thread is `gthread`, as in gunicorn. A worker of gevent, eventlet
    /// or tornado, or one that is based on gunicorn's threaded worker, stands for threads, and a
    /// warning says so. Workers for ASGI apps are refused.
    worker_class: String = "sync".to_owned() => Workers, Reload, named "CLASS",
        flag "worker-class" 'k';

    /// The number of threads in which a worker runs requests.
    ///
    /// Each runs one request at a time, so a worker serves as many at a time as it has threads.
    /// They suit an app that waits, and the app must be thread-safe.
    threads: u32 = 1 => Workers, Reload, bounds Bounds::between(0, 1024), flag "threads";

    /// How long a request may wait for a free thread; 0 disables the limit. One that waits longer
    /// is answered with status 503 and `Retry-After`. Of no effect while `threads` is 1.
    queue_timeout: Seconds = Seconds::new(0) => Workers, Reload, flag "queue-timeout";

    /// How long a thread may run Python while others wait to. 0 leaves Python's own value, 5
    /// milliseconds (`sys.setswitchinterval`). Of no effect while `threads` is 1.
    switch_interval: Seconds = Seconds::new(0) => Workers, Reload, flag "switch-interval";

    /// Replace a worker after this many requests; 0 disables the limit.
    ///
    /// The replacement is ordered so early that it should be ready in time, but not before half of
    /// the requests are served; the worker leaves when it is ready. If it is late, the worker waits
    /// for it, for at most 10 seconds, and its clients wait for a worker that serves. Requests that
    /// other threads have begun by then are finished, and uploads of which more than 32 KiB have
    /// come. A worker serves on whose replacement cannot start, or during a reload or upgrade.
    max_requests: u64 = 0 => Workers, Reload, flag "max-requests";

    /// Add a random number, 0 to this, to the `max_requests` of each worker.
    max_requests_jitter: u64 = 0 => Workers, Reload, flag "max-requests-jitter";

    /// Replace a worker whose resident memory exceeds this; 0 disables the limit. It is checked
    /// after requests, at most once a second. Bodies on their way to a front do not count.
    max_worker_memory: Size = Size::new(0) => Workers, Reload, flag "max-worker-memory";

    /// Replace a worker after it has run this long; 0 disables the limit.
    max_worker_age: Seconds = Seconds::new(0) => Workers, Reload, flag "max-worker-age";

    /// Keep this many imported workers ready that serve nobody until one is missing.
    ///
    /// One of them serves at once when a worker dies or is replaced, or when one more is ordered,
    /// however long the import takes; another is imported meanwhile. It matters to apps that each
    /// worker imports itself (`preload_app`): where the import is shared, a new worker is as quick,
    /// and none is kept. See the guide "What workers share".
    spare_workers: u32 = 0 => Workers, Reload, bounds Bounds::between(0, 64),
        flag "spare-workers";

    /// Make a worker the template after this many requests; 0 never does. The other workers are
    /// replaced by forks of it. `rcorn ctl refork` does it at once.
    ///
    /// What requests have loaded and cached is then shared by all workers. It happens once after
    /// each import of the app, and only if the app is shared (`preload_app`) and serving has left
    /// nothing in the worker that must not be: connections, threads, locks and the like. See the
    /// guide "What workers share".
    refork: u64 = 0 => Workers, Reload, flag "refork";

    /// Whether a worker that is to be replaced leaves before its replacement is ready.
    ///
    /// It matters to `max_requests`, `max_worker_memory` and `max_worker_age`. `always` is
    /// gunicorn's way. `fallback` lets the old worker leave after three replacements could not
    /// start: an app may bind a port or take a lock at import that the old worker still holds.
    /// `never` lets it serve on until one starts. `auto` is `fallback` with one worker, and `never`
    /// with several. Replacements are tried again after pauses that grow to half a minute.
    retire_old_first: RetireOldFirst = RetireOldFirst::Auto => Workers, Reload,
        flag "retire-old-first";

    /// Kill a worker that takes longer than this for a request; 0 disables the limit.
    timeout: Seconds = Seconds::new(30) => Workers, Reload, flag "timeout" 't';

    /// How long the app may take to end a request that exceeds `timeout`.
    ///
    /// `SystemExit` is raised in it, so that `finally` blocks and context managers run; the client
    /// gets a 500 if nothing was sent, and the worker is replaced. After this time, or when C code
    /// never returns, the worker is killed. 0 kills it without the exception.
    abort_timeout: Seconds = Seconds::new(3) => Workers, Reload, flag "abort-timeout";

    /// Let a worker with threads serve on after a request that exceeded `timeout`.
    ///
    /// It does if the exception has ended the request. By default it is replaced. Of no effect
    /// while `threads` is 1.
    survive_timeout: bool = false => Workers, Reload, flag "survive-timeout" sets "true";

    /// Log where a request is, in Python, once it has taken this long; 0 disables it.
    ///
    /// It is logged while the request runs, once, with its request line and the stack of its
    /// thread; `rcorn ctl slow` shows the last ones. The GIL is not needed for that. Time that the
    /// app waits for its client does not count.
    slow_request: Seconds = Seconds::new(0) => Workers, Reload, flag "slow-request";

    /// Kill a worker that is not ready after this time; 0 disables the limit.
    boot_timeout: Seconds = Seconds::new(60) => Workers, Reload, flag "boot-timeout";

    /// How long workers may take to finish their requests when they leave.
    ///
    /// They leave at a stop, at a reload, when they are replaced, and when the arbiter was killed.
    /// Then this limit replaces `timeout`: it also ends a request that hangs.
    graceful_timeout: Seconds = Seconds::new(30) => Workers, Reload, flag "graceful-timeout";

    /// Undo a reload if new workers die within this time after it.
    reload_watch: Seconds = Seconds::new(5) => Workers, Reload, flag "reload-watch";

    /// Request this path from a reload's first worker before it replaces another. A status
    /// of 400 or above undoes the reload.
    reload_probe: Option<String> = None => Workers, Reload, named "PATH", flag "reload-probe";

    /// What a stop does with connections that wait to be accepted. `queue` serves them, `immediate`
    /// does not, `delay` keeps accepting for `drain_delay` and then serves them.
    drain_mode: DrainMode = DrainMode::Queue => Workers, Reload, flag "drain-mode";

    /// How long to keep accepting before a stop, so that load balancers notice. 0 stands for 5
    /// seconds with the `drain_mode` `delay`, and for no delay with the others.
    drain_delay: Seconds = Seconds::new(0) => Workers, Reload, flag "drain-delay";

    /// Keep an idle connection open this long; 0 closes it after each response.
    ///
    /// Make it longer than your proxy keeps idle connections: a proxy must never send a request on
    /// a connection that is being closed.
    keepalive: Seconds = Seconds::new(75) => Http, Reload, flag "keep-alive";

    /// Close a connection after this many requests; 0 disables the limit.
    max_keepalive_requests: u64 = 0 => Http, Reload, flag "max-keepalive-requests";

    /// The `Server` field of responses; `off` sends none.
    ///
    /// An app that sets the field itself overrides it.
    server_header: ServerHeader = ServerHeader::Text("rcorn".to_owned()) => Http, Reload,
        flag "server-header";

    /// How long a client may take to send the head of a request; 0 disables the limit.
    header_timeout: Seconds = Seconds::new(20) => Http, Reload, flag "header-timeout";

    /// The longest pause while a client sends a body; 0 disables the limit.
    ///
    /// A body as a whole may take this time plus one second for each 500 bytes, so a client that
    /// sends a byte now and then is cut off, too.
    body_timeout: Seconds = Seconds::new(30) => Http, Reload, flag "body-timeout";

    /// The longest pause while a client receives a response; 0 disables the limit.
    ///
    /// A response as a whole may take this time plus one second for each 500 bytes. What counts is
    /// what the client has acknowledged, not what waits in the kernel.
    write_timeout: Seconds = Seconds::new(30) => Http, Reload, flag "write-timeout";

    /// The most connections of one worker, most of them idle. Beyond it the worker closes the
    /// connection that has been idle longest; if none is idle, one whose request is still
    /// incomplete.
    ///
    /// It also does so when the limit of open files (`ulimit -n`) is nearly reached: the last 8 to
    /// 64 descriptors are left to the app.
    worker_connections: u32 = 1000 => Http, Reload, bounds Bounds::between(1, 1_000_000),
        flag "worker-connections";

    /// Receive a body up to this size before the app is called. Of a larger body this much is
    /// received first and the rest while the app reads it.
    request_buffer: Size = Size::new(1 << 20) => Http, Reload, bounds Bounds::between(0, 1 << 30),
        flag "request-buffer";

    /// Send a response up to this size in the background. A larger one occupies the worker until no
    /// more than this is left. A file (`wsgi.file_wrapper`) never occupies it. With TLS, a body of
    /// up to this size, at most 8 MiB, is in memory that the worker shares with the front.
    response_buffer: Size = Size::new(1 << 20) => Http, Reload, bounds Bounds::between(0, 1 << 30),
        flag "response-buffer";

    /// The longest request line, at most 8190; 0 means 1 MiB.
    limit_request_line: Size = Size::new(4094) => Http, Reload, bounds Bounds::lowered_to(8190),
        flag "limit-request-line";

    /// The most header fields in a request, at most 32768; 0 means 32768.
    limit_request_fields: u32 = 100 => Http, Reload, bounds Bounds::lowered_to(32768),
        flag "limit-request-fields";

    /// The longest header field, with name, colon, value and line end; 0 means 8190.
    limit_request_field_size: Size = Size::new(8190) => Http, Reload,
        bounds Bounds::lowered_to(1 << 20),
        flag "limit-request-field_size", flag "limit-request-field-size";

    /// Refuse HTTP/1.1 requests without a `Host` field. `--no-require-host` accepts them.
    require_host: bool = true => Http, Reload, flag "no-require-host" sets "false";

    /// Accept header fields that continue on the next line (RFC 9112, section 5.2).
    permit_obsolete_folding: bool = false => Http, Reload,
        flag "permit-obsolete-folding" sets "true";

    /// Accept unusual methods: in lower case, with `#`, or not of 3 to 20 characters.
    permit_unconventional_http_method: bool = false => Http, Reload,
        flag "permit-unconventional-http-method" sets "true";

    /// Accept versions other than HTTP/1.0 and HTTP/1.1.
    permit_unconventional_http_version: bool = false => Http, Reload,
        flag "permit-unconventional-http-version" sets "true";

    /// Convert methods to upper case.
    casefold_http_method: bool = false => Http, Reload, flag "casefold-http-method" sets "true";

    /// What to do with header fields whose names contain an underscore. `drop` hides them from the
    /// app, `refuse` refuses the request, `dangerous` passes them on.
    header_map: HeaderMap = HeaderMap::Drop => Http, Reload, flag "header-map";

    /// Send files with sendfile(2); `--no-sendfile` copies them instead.
    sendfile: bool = true => Http, Reload,
        variable "SENDFILE" as YesOrNo
            "The default of `sendfile`: `true`, `yes`, `y` or `1` for yes, anything else for no.",
        flag "no-sendfile" sets "false";

    /// The proxies to trust: addresses, networks, or `*` for all. Unix sockets are always trusted.
    forwarded_allow_ips: AllowList = loopback() => Proxies, Reload,
        variable "FORWARDED_ALLOW_IPS", flag "forwarded-allow-ips";

    /// Header fields with an underscore to accept from trusted proxies.
    forwarder_headers: Vec<String> = vec!["SCRIPT_NAME".to_owned(), "PATH_INFO".to_owned()]
        => Proxies, Reload, split ',', named "NAMES", flag "forwarder-headers";

    /// Header fields by which a trusted proxy says that the client used HTTPS.
    secure_scheme_headers: Vec<(String, String)> = secure_schemes() => Proxies, Reload, split ',',
        in_python Dict, flag "secure-scheme-headers";

    /// The peers that may speak uwsgi: addresses, networks, or `*` for all. Unix sockets always
    /// may.
    uwsgi_allow_ips: AllowList = loopback() => Proxies, Reload, flag "uwsgi-allow-from";

    /// Take the client's address from a PROXY header: v1, v2, or (`auto`) either. The flag without
    /// a value means `auto`.
    ///
    /// The header is expected at the beginning of a connection only; a connection that begins with
    /// a request is served as it is. Whether forwarding header fields are trusted depends on the
    /// peer (`forwarded_allow_ips`), not on the address in the PROXY header.
    proxy_protocol: ProxyProtocol = ProxyProtocol::Off => Proxies, Reload,
        flag "proxy-protocol" bare "auto";

    /// The peers that may send a PROXY header. Addresses, networks, or `*` for all; unix sockets
    /// always may.
    proxy_allow_ips: AllowList = loopback() => Proxies, Reload, flag "proxy-allow-from";

    /// Speak TLS with this certificate, a PEM file.
    ///
    /// The server's own comes first, then the chain, without the root. TLS is spoken on the
    /// addresses in `bind` that begin with `https://`; if none does, on all that have a port, as in
    /// gunicorn. A process of its own speaks it, the front, without Python: the private key is in
    /// no process that runs the app, and connections outlive reloads and workers.
    ///
    /// Files of certificates are read before privileges are dropped, and again when they change,
    /// without a reload. One that cannot be used is an error in the log, and the one before stays.
    /// See the guide "Without a proxy".
    certfile: Option<PathBuf> = None => Tls, Reload, named "FILE", flag "certfile";

    /// The private key of `certfile`, a PEM file without a passphrase. The default is `certfile`,
    /// which may have both.
    keyfile: Option<PathBuf> = None => Tls, Reload, named "FILE", flag "keyfile";

    /// Another certificate and its key, for other names. May be repeated:
    /// `--certificate blog.pem=blog.key`.
    ///
    /// Which one a client gets depends on the name that it asks for (SNI); one that asks for none,
    /// or for a name that no certificate has, gets the first.
    certificates: Vec<(String, String)> = Vec::new() => Tls, Reload, flag "certificate";

    /// A file with the OCSP response of `certfile`, in DER, to send along. It is read again when it
    /// changes.
    ocsp_staple: Option<PathBuf> = None => Tls, Reload, named "FILE", flag "ocsp-staple";

    /// The authorities that client certificates must come from, a PEM file.
    ca_certs: Option<PathBuf> = None => Tls, Reload, named "FILE", flag "ca-certs";

    /// Whether clients must have a certificate of `ca_certs`: `none`, `optional`, `required`.
    ///
    /// gunicorn's numbers 0, 1 and 2 mean the same. The app finds the certificate in its environ,
    /// under the names of Apache: `SSL_CLIENT_VERIFY`, `SSL_CLIENT_CERT` and others.
    cert_reqs: ClientCertificates = ClientCertificates::None => Tls, Reload, flag "cert-reqs";

    /// The versions of TLS: `TLS` for 1.2 and 1.3, `TLSv1_2` or `TLSv1_3` for one alone. Older ones
    /// are refused.
    ssl_version: TlsVersions = TlsVersions::All => Tls, Reload, flag "ssl-version";

    /// The cipher suites, best first, with colons between them.
    ///
    /// Their names are those of OpenSSL or of the standard. As with OpenSSL, a list without suites
    /// of TLS 1.3 leaves those as they are. The default is what rustls finds safe.
    ciphers: Option<Ciphers> = None => Tls, Reload, flag "ciphers";

    /// Speak HTTP/2 with clients that ask for it (ALPN). `--no-http2` speaks HTTP/1.1 only.
    http2: bool = true => Tls, Reload, flag "no-http2" sets "false";

    /// Speak HTTP/2 without TLS as well, with clients that begin with it.
    ///
    /// It is for balancers and other clients that know of it (prior knowledge); there is no upgrade
    /// from HTTP/1.1. The front then serves the addresses with a port that do not speak TLS, too.
    h2c: bool = false => Tls, Reload, flag "h2c" sets "true";

    /// The most requests that an HTTP/2 connection may have at a time.
    http2_max_concurrent_streams: u32 = 100 => Tls, Reload, bounds Bounds::between(1, 10_000),
        flag "http2-max-concurrent-streams";

    /// The bytes of a body that an HTTP/2 client may send ahead (RFC 9113).
    http2_initial_window_size: u32 = 65_535 => Tls, Reload,
        bounds Bounds::between(1, 0x7fff_ffff), flag "http2-initial-window-size";

    /// The most bytes that the header fields of an HTTP/2 request may take.
    http2_max_header_list_size: u32 = 65_536 => Tls, Reload, bounds Bounds::between(1024, 1 << 20),
        flag "http2-max-header-list-size";

    /// Redirect from the addresses without TLS to that with TLS, with status 308.
    ///
    /// It needs an address with TLS, such as `https://:443`, and one without, such as `:80`. Unix
    /// sockets and addresses that speak uwsgi stay as they are.
    redirect_https: bool = false => Tls, Reload, flag "redirect-https" sets "true";

    /// Answer `/.well-known/acme-challenge/` with files of this directory. It needs
    /// `redirect_https`, and is for `certbot certonly --webroot`, whose directory it is.
    ///
    /// `certbot --webroot-path /srv/acme` writes below `/srv/acme/.well-known/acme-challenge`, so
    /// `/srv/acme` is what to give here.
    acme_directory: Option<PathBuf> = None => Tls, Reload, named "DIR", completes Directory,
        flag "acme-directory";

    /// Tell clients to come by TLS only, for this many seconds.
    ///
    /// Or the whole value of `Strict-Transport-Security`, such as
    /// `max-age=31536000; includeSubDomains`. It is sent with responses over TLS, unless the app
    /// sets the field itself.
    hsts: Option<String> = None => Tls, Reload, flag "hsts";

    /// Compress responses with the first of these encodings that the client takes.
    ///
    /// Those of `zstd`, `br` and `gzip`, with commas between them and the preferred one first;
    /// `off` compresses nothing. If a client prefers one by its weights (`q=`), it gets that.
    ///
    /// The front does it, so it has an effect on the addresses that the front serves only (TLS,
    /// `h2c`). Responses that have an encoding already, or `Cache-Control: no-transform`, are left
    /// alone. What an app has sent of a stream is not held back. A secret in a response that also
    /// has what a client sends can be guessed from the length (BREACH): see the guide "Without a
    /// proxy". The flag without a value means `zstd,br,gzip`.
    compress: Compression = Compression::default() => Tls, Reload,
        flag "compress" bare "zstd,br,gzip";

    /// The media types of responses to compress, such as `application/json` or `text/*`.
    compress_types: Vec<String> = compressed_types() => Tls, Reload, split ',', named "TYPES",
        flag "compress-types";

    /// Do not compress a response that is smaller than this, if its length is known.
    compress_min_size: Size = Size::new(1024) => Tls, Reload, flag "compress-min-size";

    /// How much to compress: from 1, which is fast, to 9, which is small.
    ///
    /// It is the level of gzip. That of zstd is half of it, rounded up, and that of br the same,
    /// but at most 4: what is above takes too long, and too much memory, for a response that is
    /// made for one client.
    compress_level: u32 = 5 => Tls, Reload, bounds Bounds::between(1, 9), flag "compress-level";

    /// The number of processes that speak TLS. Each uses all CPUs; one is enough for most sites.
    fronts: u32 = 1 => Tls, Reload, bounds Bounds::between(1, 64), flag "fronts";

    /// Answer requests below a path with files of a directory. May be repeated:
    /// `--static /static=/srv/shop/static --static /media=/srv/media`.
    ///
    /// This comes before the app, and no Python runs for it.
    /// Only what lies below the directory can be had: no hidden files, no symbolic links that lead
    /// out, no listing. A single file may be named too: `/robots.txt=/srv/shop/robots.txt`. Ranges
    /// and conditional requests are answered. Beside `app.css` rcorn looks for `app.css.br`,
    /// `app.css.zst` and `app.css.gz`, and sends the one that the client accepts. Of several
    /// prefixes the longest decides. Relative directories are seen from `chdir`. The hooks for
    /// requests are not called.
    static_files: Vec<(String, String)> = Vec::new() => Files, Reload, flag "static";

    /// The `Cache-Control` of static files whose path matches a pattern. May be repeated:
    /// `--static-cache-control '/static/img/*=max-age=3600'`.
    ///
    /// The first pattern that matches the path of the request decides. In a pattern `*` stands for
    /// any characters, slashes among them, `?` for one, and `[...]` for one of a set. Files that no
    /// pattern matches and that have a hash of their contents in their name
    /// (`app.55e7cbb9ba48.css`) get `public, max-age=31536000, immutable`.
    static_cache_control: Vec<(String, String)> = Vec::new() => Files, Reload,
        flag "static-cache-control";

    /// Answer a request for a directory with the file of this name in it. By default it gets 404.
    static_index: Option<String> = None => Files, Reload, named "NAME", flag "static-index";

    /// Let the app answer requests for static files that do not exist.
    static_fallthrough: bool = false => Files, Reload, flag "static-fallthrough" sets "true";

    /// Write the arbiter's pid to this file.
    pidfile: Option<PathBuf> = None => Host, Boot, named "FILE", flag "pid" 'p';

    /// Go into the background once the addresses are bound. Not needed under systemd or supervisor.
    daemon: bool = false => Host, Boot, flag "daemon" 'D' sets "true";

    /// The socket by which `rcorn ctl` reaches this instance. The default is named after the pid,
    /// in `$XDG_RUNTIME_DIR/rcorn`, `/run/rcorn` or `/tmp/rcorn-UID`. A second rcorn (USR2) appends
    /// `.2` to PATH until the first has ended.
    control_socket: Option<PathBuf> = None => Host, Boot, named "PATH", flag "control-socket";

    /// The permissions of the control socket. Whatever they are, only root and rcorn's own user are
    /// answered.
    control_socket_mode: Mode = Mode::new(0o600) => Host, Boot, flag "control-socket-mode";

    /// Open no control socket.
    control_socket_disable: bool = false => Host, Boot, flag "no-control-socket" sets "true";

    /// What USR2 does. `beside` starts a second rcorn on the same sockets, as gunicorn does;
    /// `in-place` replaces this process with the new build, under the same pid.
    upgrade: UpgradeMode = UpgradeMode::Beside => Host, Reload, in_python CommonName,
        flag "upgrade";

    /// The file mode creation mask (umask(2)); octal with a leading zero.
    umask: Mode = Mode::new(0) => Host, Reload, flag "umask" 'm';

    /// Run the workers as this user, given by name or number.
    user: Option<String> = None => Host, Reload, named "USER", completes User, flag "user" 'u';

    /// Run the workers as this group, given by name or number.
    group: Option<String> = None => Host, Reload, named "GROUP", flag "group" 'g';

    /// Join the user's supplementary groups, too.
    initgroups: bool = false => Host, Reload, flag "initgroups" sets "true";

    /// The name in the process titles. The default is the name of the app.
    proc_name: Option<String> = None => Host, Reload, named "NAME", flag "name" 'n';

    /// Write the error log to this file; `-` is standard error.
    errorlog: LogTarget = LogTarget::Standard => Logs, Reload,
        flag "error-logfile", flag "log-file";

    /// Write the access log to this file; `-` is standard output. By default there is none.
    accesslog: Option<LogTarget> = None => Logs, Reload, flag "access-logfile";

    /// The format of a line in the access log, in gunicorn's syntax, or `json`.
    ///
    /// `json` writes one object for each request, with time, client, user, method, target, path,
    /// query, protocol, status, bytes, duration in seconds, host, referer, user agent and process.
    /// Numbers are numbers, and what a request does not have is null. A format that is JSON itself
    /// (`{"path":"%(U)s","bytes":%(B)s}`) is escaped so that each line stays JSON, whatever the
    /// client sends.
    access_log_format: String = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#
        .to_owned() => Logs, Reload, named "FORMAT", flag "access-logformat";

    /// The least severe level that is written to the error log.
    loglevel: Level = Level::Info => Logs, Reload, flag "log-level";

    /// The form of the error log: `gunicorn` or `json`.
    ///
    /// `json` writes one object for each record, with time, process, level and message, also for
    /// what an app writes to `wsgi.errors`. What an app prints stays as it is, unless
    /// `capture_output` is on.
    log_format: LogFormat = LogFormat::Gunicorn => Logs, Reload, flag "log-format";

    /// Give each request an id, `on` or `off`. The flag without a value means `on`.
    ///
    /// It is that of the header field `X-Request-ID`, if a trusted proxy sends one of at most 128
    /// letters, digits and `-_.:+/=@~`; else 32 hexadecimal digits are made. The app finds it in
    /// its environ as `HTTP_X_REQUEST_ID`, whatever the client sent. The response has it, unless
    /// the app sets the field itself; also that to a request that is refused, to a health check or
    /// for a static file. So have records of the error log about a request, JSON lines of the
    /// access log, and what the log and the status say of requests in progress. In JSON it is the
    /// member `request_id`.
    request_id: RequestId = RequestId::Off => Logs, Reload, flag "request-id" bare "on";

    /// Configure Python's loggers from this file, before the app is imported. It is read by
    /// `logging.config.fileConfig`.
    ///
    /// The access log then goes to the logger `gunicorn.access`. rcorn's own error log keeps its
    /// format.
    logconfig: Option<PathBuf> = None => Logs, Reload, named "FILE", flag "log-config";

    /// Configure Python's loggers from this JSON file. It is passed to `logging.config.dictConfig`.
    logconfig_json: Option<PathBuf> = None => Logs, Reload, named "FILE", flag "log-config-json";

    /// Configure Python's loggers with this mapping. It is merged into gunicorn's default
    /// configuration and passed to `logging.config.dictConfig`, and takes precedence over both
    /// files.
    logconfig_dict: Option<Mapping> = None => Logs, Reload;

    /// Write what the app prints to the error log.
    ///
    /// Each line, of standard output or standard error, is a record with time, process, stream and
    /// generation, and is written as a whole, whoever prints at the same time. So are lines of
    /// processes and programs that the app starts. What a process has printed before it was killed
    /// is not lost; a line without end is written when its process ends, and one of more than
    /// 256 KiB in several parts. With `syslog` the lines go there, too.
    capture_output: bool = false => Logs, Reload, flag "capture-output" sets "true";

    /// Send error log and access log to syslog, too. The access log is sent even without
    /// `accesslog`.
    ///
    /// A message is what gunicorn sends: `gunicorn.NAME.error: [PID] TEXT` or
    /// `gunicorn.NAME.access: [PID] LINE`. The arbiter sends them, and keeps up to 1 MiB while the
    /// server does not take any. A message that finds no room is dropped, and counted as
    /// a lost record (see METRICS in rcorn(1)).
    syslog: bool = false => Logs, Reload, flag "log-syslog" sets "true";

    /// The syslog server: `udp://HOST:PORT`, `tcp://HOST:PORT`, or `unix://PATH`. A socket file
    /// takes datagrams, or else a stream; `#dgram` after the path allows datagrams only.
    ///
    /// In a stream of TCP each message ends with a line feed, and control characters in it are
    /// written as `#012`. gunicorn ends it with a zero byte, which few servers look for.
    syslog_addr: SyslogAddress = SyslogAddress::local() => Logs, Reload, flag "log-syslog-to";

    /// The name in messages to syslog, after `gunicorn.`. The default is the name of the processes.
    syslog_prefix: Option<String> = None => Logs, Reload, named "NAME", flag "log-syslog-prefix";

    /// The facility of messages to syslog, such as `daemon` or `local0`.
    syslog_facility: SyslogFacility = SyslogFacility::User => Logs, Reload,
        flag "log-syslog-facility";

    /// Keep the access log out of syslog.
    disable_redirect_access_to_syslog: bool = false => Logs, Reload,
        flag "disable-redirect-access-to-syslog" sets "true";

    /// Send metrics to the statsd server at `HOST:PORT` or `unix://PATH`. Their names are
    /// gunicorn's.
    ///
    /// The arbiter sends them four times a second, many in one datagram. Of more than 2,000
    /// durations in that time it sends some, with their sample rate; counts are always exact.
    statsd_host: Option<StatsdAddress> = None => Logs, Reload, flag "statsd-host";

    /// The beginning of the names of metrics; a dot is added.
    statsd_prefix: MetricText = MetricText::default() => Logs, Reload, flag "statsd-prefix";

    /// Tags for each metric, such as `env:prod,service:shop`. Only servers of Datadog and some
    /// others understand them.
    dogstatsd_tags: MetricText = MetricText::default() => Logs, Reload, flag "dogstatsd-tags";

    /// Answer metrics, health checks and the status at this address. An IP address and a port, or a
    /// unix socket (with the permissions of `control_socket_mode`).
    ///
    /// The arbiter answers itself, without Python: `/metrics` for Prometheus, `/healthz` (the
    /// arbiter lives), `/readyz` (a worker serves, and no stop has begun), `/status.json` and,
    /// for people, `/`. Request lines of clients are shown there, so an address that others can
    /// reach needs `status_allow`.
    status_bind: Option<Address> = None => Monitoring, Boot, flag "status-bind";

    /// The peers that may ask at `status_bind`, beside this machine. Addresses, networks, or `*`
    /// for all.
    status_allow: AllowList = AllowList::default() => Monitoring, Reload, flag "status-allow";

    /// Names by which `status_bind` may be asked for. IP addresses, `localhost`, the name of this
    /// machine and names without a dot always may: a web page of a stranger cannot have them.
    status_hosts: Vec<String> = Vec::new() => Monitoring, Reload, split ',', named "NAMES",
        flag "status-hosts";

    /// Answer health checks of this path on the addresses of the app, before the app.
    /// 200 while this worker serves, 503 once a stop has begun, `drain_delay` among it.
    ///
    /// Such a check is in no access log, and shows that a worker has time for a request. Whether
    /// the arbiter lives is told by `/healthz` at `status_bind`.
    health_path: Option<String> = None => Monitoring, Reload, named "PATH", flag "health-path";
}

fn loopback() -> AllowList {
    AllowList::of([
        IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST)),
        IpNet::from(std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
    ])
}

fn compressed_types() -> Vec<String> {
    let types = [
        "text/*",
        "application/json",
        "application/javascript",
        "application/xml",
        "image/svg+xml",
    ];
    types.map(str::to_owned).to_vec()
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
