//! The lines of a uwsgi.ini that are translated one by one. The first rule whose key matches
//! counts; a star at the end of a key matches anything.

use super::options::IniOption;
use super::output::Output;
use super::yaml::Text;

/// How a line is translated.
enum Translation {
    /// Its value becomes the value of this setting.
    Copy(&'static str),
    /// If it is switched on, this setting gets this text.
    On(&'static str, &'static str),
    /// By `special`, below.
    Special,
    /// Not at all, because rcorn does this in any case.
    NotNeeded(&'static str),
    /// Not at all; what to do instead.
    NoCounterpart(&'static str),
}

use Translation::{Copy, NoCounterpart, NotNeeded, On, Special};

/// For commands that uWSGI runs at some moment.
const COMMANDS: &str = "use the systemd unit (ExecStartPre, ExecStartPost, ExecStopPost), or a hook of a gunicorn.conf.py";
const FILES: Translation = NoCounterpart(
    "see static_files, or let the proxy serve them (nginx: location, alias, expires, gzip_static)",
);
const ROUTES: Translation =
    NoCounterpart("rcorn does not route requests: use nginx, or a middleware of the app");
const RELOAD: Translation = NoCounterpart(
    "run `rcorn ctl reload --wait` in the deploy script, or from a systemd path unit that watches the file",
);
const SERVICE: Translation =
    NoCounterpart("run it as a separate service, under systemd or supervisor");
const QUEUE: Translation =
    NoCounterpart("use a task queue (Celery, RQ, Dramatiq) or cron; rcorn only serves requests");
const SCALE: Translation = NoCounterpart(
    "the number of workers is fixed: set `workers: auto`, or change it with `rcorn ctl scale`",
);
const SYSTEMD: Translation = NoCounterpart("set it in the systemd unit");
const EMPEROR: Translation = NoCounterpart(
    "run one rcorn for each app, as instances of a systemd template unit (rcorn@.service)",
);
const STORE: Translation =
    NoCounterpart("the uwsgi module has no counterpart: use Redis, memcached or files in the app");
const ASYNC: Translation = NoCounterpart(
    "requests are served by threads (threads), and a waiting connection occupies none of them",
);
const LOGROTATE: Translation =
    NoCounterpart("use logrotate, with `rcorn ctl reopen` in postrotate");
const STATS: Translation = NoCounterpart("use `rcorn ctl --json status`");
const TLS: Translation = NoCounterpart(
    "see certfile, certificates, ciphers, ca_certs and cert_reqs, or let a proxy speak TLS",
);
const IMPORT: Translation = NoCounterpart("import it in the module of the app");
const READ: Translation = NoCounterpart("migrate that file, too, and merge the results");

/// The rules.
// One rule a line or two, as in a table.
#[rustfmt::skip]
const RULES: &[(&[&str], Translation)] = &[
    // The app.
    (&["chdir", "chdir2"], Copy("chdir")),
    (&["pythonpath", "python-path", "pp"], Special),
    (&["home", "virtualenv", "venv", "pyhome"], Special),
    (&["env"], Special),
    (&["lazy-apps", "lazy"], On("preload_app", "off")),
    (&["py-autoreload", "py-auto-reload", "python-autoreload", "python-auto-reload"], On("reload", "true")),
    (&["manage-script-name"], NotNeeded("SCRIPT_NAME of the environment is removed from the path")),
    (&["plugin", "plugins", "need-plugin", "need-plugins"], Special),
    (&["plugins-dir", "plugin-dir", "plugins-list", "autoload"], NotNeeded("there are no plugins")),
    (&["thread-stacksize", "threads-stacksize", "thread-stack-size"], NotNeeded("threads have the stack size that `threading.stack_size()` sets")),
    (&["single-interpreter"], NotNeeded("a worker has one interpreter")),
    (&["enable-threads", "py-call-osafterfork", "no-threads-wait"],
        NotNeeded("threads of the app work as in any Python")),
    (&["need-app"], NotNeeded("without an app rcorn does not start")),
    (&["catch-exceptions", "catch-exception"],
        NoCounterpart("tracebacks are written to the log only; the client gets status 500")),
    (&["import", "pyimport", "py-import", "python-import", "shared-import", "shared-pyimport", "pyrun", "eval"],
        IMPORT),
    (&["paste", "ini-paste", "ini-paste-logged", "web3", "pump", "wsgi-lite", "pecan"],
        NoCounterpart("write a module that creates the app (with paste.deploy.loadapp for Paste), and set wsgi_app")),
    (&["unenv"], NoCounterpart("start rcorn without the variable: env -u NAME rcorn")),
    (&["pyargv", "python-argv"], NoCounterpart("set sys.argv in the module of the app")),
    (&["no-site"], NoCounterpart("set PYTHONNOUSERSITE, or set python")),
    (&["optimize"], NoCounterpart("set PYTHONOPTIMIZE in the environment")),
    (&["post-buffering*"],
        NotNeeded("a body up to request_buffer is received before the app is called; a larger one is streamed")),
    (&["wsgi-env-behaviour", "wsgi-env-behavior", "wsgi-strict", "pep3333-input", "wsgi-accept-buffer*"],
        NotNeeded("rcorn conforms to PEP 3333")),
    (&["wsgi-disable-file-wrapper"], On("sendfile", "false")),
    // Sockets.
    (&["listen"], Copy("backlog")),
    (&["reuse-port"], On("reuse_port", "true")),
    (&["vacuum"], NotNeeded("rcorn removes its socket files and its pid file when it exits")),
    (&["chown-socket"], NoCounterpart("the socket file belongs to user and group; umask determines its permissions")),
    (&["thunder-lock"], NotNeeded("the kernel wakes one worker per connection")),
    (&["http-keepalive"], Special),
    (&["http-headers-timeout"], Copy("header_timeout")),
    (&["http-auto-chunked", "http-chunked-input", "http-auto-gzip", "http-raw-body", "http-websockets"],
        NotNeeded("rcorn speaks HTTP/1.1; for gzip use a proxy, for websockets a library such as simple-websocket")),
    (&["http-to", "http-processes", "http-workers", "http-modifier*", "http-socket-modifier*",
        "http-*"],
        NoCounterpart("there is no router process: the workers answer HTTP themselves")),
    (&["https-*", "ssl-*", "suwsgi-socket", "sni*"], TLS),
    (&["fastcgi-*", "scgi-*", "raw-socket", "zeromq*", "zmq*", "mongrel2*", "udp", "puwsgi-socket"],
        NoCounterpart("rcorn speaks HTTP and the uwsgi protocol: set bind to such an address")),
    (&["shared-socket", "undeferred-shared-socket", "map-socket"],
        NoCounterpart("set bind to the address; all workers share it")),
    (&["so-keepalive", "tcp-nodelay", "so-sndbuf", "so-rcvbuf", "freebind", "tcp-fast-open*"],
        NoCounterpart("rcorn sets the options of its sockets itself; see sysctl for the kernel's defaults")),
    // Workers.
    (&["master", "no-orphans", "workers-heartbeat"], NotNeeded("there is always an arbiter")),
    (&["die-on-term"], NotNeeded("TERM is a graceful stop")),
    (&["max-requests"], Copy("max_requests")),
    (&["max-requests-delta"], Copy("max_requests_jitter")),
    (&["max-worker-lifetime"], Copy("max_worker_age")),
    (&["max-worker-lifetime-delta", "min-worker-lifetime"], NotNeeded("workers are replaced one at a time")),
    (&["reload-on-as", "evil-reload-on-as"],
        NoCounterpart("max_worker_memory limits the resident memory, not the address space")),
    (&["harakiri-verbose", "harakiri-no-arh", "no-harakiri*"],
        NotNeeded("the log has the Python stacks and the request of a worker that exceeds timeout")),
    (&["harakiri-graceful*"], NoCounterpart("rcorn logs where a worker hangs, and kills it")),
    (&["cheap", "cheaper*", "idle", "die-on-idle"], SCALE),
    (&["touch-*", "fs-reload", "fs-brutal-reload", "brutal-reload-on-*"], RELOAD),
    (&["mule-reload-mercy", "spooler-*", "spooler", "mule", "mules", "mule-*", "farm"], QUEUE),
    (&["cron*", "unique-cron", "legion-cron", "timer*"], QUEUE),
    (&["attach-daemon*", "smart-attach-daemon*", "legion-*", "daemon-*"], SERVICE),
    (&["async", "ugreen", "gevent*", "greenlet", "asyncio", "coroae", "eventlet*", "tornado*", "fiber*"], ASYNC),
    (&["cpu-affinity", "nice", "limit-as", "limit-nproc", "max-fd", "rlimit*", "chroot", "pivot-root", "cgroup*",
        "cap", "add-gid", "namespace*", "unshare", "privileged-binary-patch"],
        SYSTEMD),
    (&["hook-*"], Special),
    (&["exec-*", "on-*", "before-*", "after-*", "early-*"],
        NoCounterpart(COMMANDS)),
    (&["emperor*", "vassal*", "heartbeat", "imperial*"], EMPEROR),
    (&["subscribe*", "fastrouter*", "rawrouter*", "sslrouter*", "subscription*"],
        NoCounterpart("configure the servers in nginx or another proxy")),
    (&["cache*", "add-cache-item", "load-file-in-cache*", "sharedarea*", "queue*", "locks", "lock-engine", "ftok",
        "rpc*", "signal*"],
        STORE),
    (&["exit-on-reload", "skip-atexit", "skip-atexit-teardown"],
        NoCounterpart("a reload replaces the workers one by one, and their atexit functions run")),
    (&["honour-stdin", "skip-zero"], NoCounterpart("for a debugger, start one worker without a timeout: rcorn -w 1 --timeout 0")),
    (&["master-fifo"], NoCounterpart("`rcorn ctl` gives orders to a running instance")),
    // Requests.
    (&["limit-post"], NoCounterpart("limit it in the proxy (nginx: client_max_body_size)")),
    (&["max-vars"], NotNeeded("limit_request_fields is 100")),
    (&["route*", "final-route*", "error-route*", "response-route*", "error-page*", "websocket*", "http-root",
        "collect-header", "pull-header", "add-header"],
        ROUTES),
    (&["static-map", "static-map2", "check-static"], Special),
    (&["static-index"], Copy("static_index")),
    (&["static-gzip*", "offload-threads", "offload-thread"],
        NotNeeded("a file whose name ends in .gz is sent instead of one beside it, and occupies no worker")),
    (&["static-expires*"],
        NoCounterpart("set static_cache_control: a pattern of request paths, and a value such as max-age=3600")),
    (&["static-safe"], NoCounterpart("put the files below the directory: links that lead out of it are not followed")),
    (&["static*", "check-static*", "docroot", "mimefile", "mime-file", "fileserve-mode"], FILES),
    (&["ignore-sigpipe", "ignore-write-errors", "disable-write-exception", "write-errors-*", "close-on-exec*",
        "disable-sendfile"],
        NotNeeded("a client that disconnects is not an error")),
    // The process.
    (&["umask"], Special),
    (&["pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2"], Copy("pidfile")),
    (&["procname"], Copy("proc_name")),
    (&["procname-prefix", "procname-prefix-spaced"], Special),
    (&["auto-procname"], NotNeeded("processes have titles")),
    (&["procname-*"], NoCounterpart("proc_name is the name in all titles")),
    // Logs.
    (&["log-master*", "threaded-logger", "log-date", "logdate", "memory-report", "log-micros", "log-zero",
        "log-slow", "log-big", "log-sendfile", "log-5xx", "log-4xx", "log-ioerror"],
        NoCounterpart("set access_log_format: %(s)s is the status, %(D)s the time in microseconds")),
    (&["log-x-forwarded-for"], NoCounterpart("add %({x-forwarded-for}i)s to access_log_format")),
    (&["log-maxsize", "log-backupname", "log-truncate", "log-reopen", "logfile-ch*", "log-chown"], LOGROTATE),
    (&["log-syslog", "syslog", "rsyslog*"],
        NoCounterpart("set syslog: true and syslog_addr")),
    (&["log-*", "alarm*"], NoCounterpart("use journald, logrotate or a log shipper")),
    (&["statsd*", "dogstatsd*"], NoCounterpart("set statsd_host, and statsd_prefix or dogstatsd_tags")),
    (&["stats*", "carbon*", "snmp*", "metric*", "enable-metrics", "graphite*"],
        STATS),
    // uWSGI itself.
    (&["strict", "show-config", "print", "declare-option*", "auto-snapshot", "binary-path", "no-default-app",
        "no-initial-output", "force-cwd", "ldap*"],
        NotNeeded("rcorn refuses what it does not know, and shows its settings with --print-config")),
    (&["ini", "inherit", "include", "config", "fallback-config", "xml", "yaml", "yml", "json"], READ),
    (&["wsgi-*", "py-*", "python-*"], NoCounterpart("rcorn has no counterpart; see rcorn.yaml(5)")),
];

/// The keys that `app`, `sockets`, `processes` and `logs` translate. The last rule matches some of
/// them, too.
const ELSEWHERE: [&str; 37] = [
    "module",
    "wsgi",
    "wsgi-file",
    "file",
    "mount",
    "callable",
    "socket",
    "uwsgi-socket",
    "http",
    "http-socket",
    "http11-socket",
    "https",
    "https2",
    "http-to-https",
    "protocol",
    "socket-protocol",
    "abstract-socket",
    "chmod-socket",
    "chmod",
    "processes",
    "workers",
    "threads",
    "gevent",
    "harakiri",
    "reload-on-rss",
    "evil-reload-on-rss",
    "buffer-size",
    "http-timeout",
    "socket-timeout",
    "worker-reload-mercy",
    "reload-mercy",
    "uid",
    "gid",
    "immediate-uid",
    "immediate-gid",
    "no-initgroups",
    "disable-logging",
];

/// The keys of logs.
const LOGS: [&str; 8] = [
    "logto",
    "logto2",
    "daemonize",
    "daemonize2",
    "logger",
    "req-logger",
    "logformat",
    "log-format",
];

/// Whether a key is one of uWSGI's.
pub(super) fn is_known(key: &str) -> bool {
    ELSEWHERE.contains(&key) || LOGS.contains(&key) || rule_of(key).is_some()
}

/// Whether the value of a line is written into the rcorn.yaml. The names in a log format are not
/// placeholders.
pub(super) fn uses_value(key: &str) -> bool {
    if ["logformat", "log-format"].contains(&key) {
        return false;
    }
    ELSEWHERE.contains(&key)
        || LOGS.contains(&key)
        || !matches!(rule_of(key), Some(NotNeeded(_) | NoCounterpart(_)))
}

fn rule_of(key: &str) -> Option<&'static Translation> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(begin) => key.starts_with(begin),
        None => key == *pattern,
    };
    let mut rules = RULES.iter();
    rules.find_map(|(patterns, to)| patterns.iter().any(fits).then_some(to))
}

/// Translates a line by its rule.
pub(super) fn apply(given: &IniOption, output: &mut Output) {
    match rule_of(&given.key) {
        Some(Copy(setting)) => {
            output.set(setting, &given.value, &given.source);
        }
        Some(On(setting, text)) if given.is_on() => {
            output.set(setting, &Text::Plain((*text).to_owned()), &given.source);
        }
        Some(On(..)) => output.not_needed(&given.source, "it is off"),
        Some(Special) => special(given, output),
        Some(NotNeeded(why)) => output.not_needed(&given.source, *why),
        Some(NoCounterpart(what)) => output.omit(&given.source, *what),
        None => output.omit(&given.source, "unknown: rcorn.yaml(5) lists all settings"),
    }
}

fn special(given: &IniOption, output: &mut Output) {
    match given.key.as_str() {
        key if key.starts_with("hook-") => hook(given, output),
        "env" => variable(given, output),
        "static-map" | "static-map2" | "check-static" => static_files(given, output),
        "pythonpath" | "python-path" | "pp" => {
            output.add("pythonpath", &given.value, &given.source);
        }
        "home" | "virtualenv" | "venv" | "pyhome" => {
            let python = |home: &str| format!("{}/bin/python3", home.trim_end_matches('/'));
            let python = map(&given.value, python);
            output.set("python", &python, &given.source);
        }
        "http-keepalive" => {
            // Without a number it is on, with rcorn's default.
            if given.text().parse::<u64>().is_ok_and(|seconds| seconds > 1) {
                output.set("keepalive", &given.value, &given.source);
            } else {
                output.not_needed(&given.source, "connections are kept open for 75 seconds");
            }
        }
        "umask" => {
            let octal = |text: &str| format!("0o{}", text.trim_start_matches('0'));
            let text = if given.text().trim_start_matches('0').is_empty() {
                Text::Plain("0".to_owned())
            } else {
                map(&given.value, octal)
            };
            output.set("umask", &text, &given.source);
        }
        "procname-prefix" | "procname-prefix-spaced" => {
            let name = map(&given.value, |text| {
                text.trim_end_matches([' ', '-', '_', ':']).to_owned()
            });
            output.set("proc_name", &name, &given.source);
        }
        _ => {
            let others = given.text().split(',').map(str::trim);
            let others = others
                .filter(|name| !name.starts_with("python") && *name != "http" && !name.is_empty());
            let others: Vec<&str> = others.collect();
            if others.is_empty() {
                output.not_needed(&given.source, "Python and HTTP need no plugin");
            } else {
                output.omit(
                    &given.source,
                    format!(
                        "rcorn has no plugins; there is no counterpart of {}",
                        others.join(", ")
                    ),
                );
            }
        }
    }
}

/// The actions by which signals stop uWSGI or one of its processes gracefully.
const GRACEFUL: [&str; 2] = ["gracefully_kill_them_all", "gracefully_kill"];

/// `hook-master-start = unix_signal:15 gracefully_kill_them_all` only makes TERM a graceful stop.
fn hook(given: &IniOption, output: &mut Output) {
    let mut words = given.text().split_whitespace();
    let (action, handler) = (words.next().unwrap_or_default(), words.next());
    let signal = action.strip_prefix("unix_signal:");
    if signal == Some("15") && handler.is_some_and(|handler| GRACEFUL.contains(&handler)) {
        output.not_needed(&given.source, "TERM is a graceful stop");
    } else if signal.is_some() {
        output.omit(
            &given.source,
            "signals have fixed meanings: see rcorn-signals(7); TERM is a graceful stop",
        );
    } else {
        output.omit(&given.source, COMMANDS);
    }
}

/// `env = NAME=VALUE`
fn variable(given: &IniOption, output: &mut Output) {
    let Some((name, value)) = given.text().split_once('=') else {
        return output.omit(&given.source, "it has no value: write NAME=VALUE");
    };
    let text = match &given.value {
        // Name and value were expanded together; the variable may be in the name.
        Text::Expanded(_) if value.contains("${") => Text::Expanded(value.trim().to_owned()),
        Text::Plain(_) | Text::Expanded(_) => Text::Plain(value.trim().to_owned()),
    };
    output.add_pair("raw_env", name.trim(), &text, &given.source);
}

/// `static-map = PREFIX=DIRECTORY`; `static-map2`, where the directory has the prefix in it;
/// `check-static = DIRECTORY`, for all paths.
fn static_files(given: &IniOption, output: &mut Output) {
    let (prefix, directory) = if given.key == "check-static" {
        ("/", given.text())
    } else if let Some(parts) = given.text().split_once('=') {
        parts
    } else {
        return output.omit(&given.source, "it has no directory: write PREFIX=DIRECTORY");
    };
    let mut directory = directory.trim().to_owned();
    if given.key == "static-map2" {
        directory = format!(
            "{}/{}",
            directory.trim_end_matches('/'),
            prefix.trim_matches('/')
        );
    }
    let text = match &given.value {
        Text::Expanded(_) if directory.contains("${") => Text::Expanded(directory),
        Text::Plain(_) | Text::Expanded(_) => Text::Plain(directory),
    };
    output.add_pair("static_files", prefix.trim(), &text, &given.source);
    // As in uWSGI the app answers for what is no file.
    let on = Text::Plain("true".to_owned());
    output.set("static_fallthrough", &on, &given.source);
}

fn map(text: &Text, change: impl FnOnce(&str) -> String) -> Text {
    match text {
        Text::Plain(text) => Text::Plain(change(text)),
        Text::Expanded(text) => Text::Expanded(change(text)),
    }
}

/// The settings that the rules lead to.
#[cfg(test)]
pub(super) fn settings() -> impl Iterator<Item = &'static str> {
    RULES.iter().filter_map(|(_, to)| match to {
        Copy(setting) | On(setting, _) => Some(*setting),
        Special | NotNeeded(_) | NoCounterpart(_) => None,
    })
}

/// All keys.
#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|(keys, _)| keys.iter().copied())
}
