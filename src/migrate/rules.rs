//! What becomes of a line of a uwsgi.ini that can be understood alone. The first rule whose key
//! fits holds; a star at the end of a key stands for anything.

use super::options::IniOption;
use super::sheet::Sheet;
use super::yaml::Text;

/// What becomes of a line.
enum To {
    /// The value of this setting.
    Copy(&'static str),
    /// This text for this setting, when it is switched on.
    On(&'static str, &'static str),
    /// Done by `special`, below.
    Special,
    /// Nothing, because rcorn does it anyway.
    Anyway(&'static str),
    /// Nothing; what to do instead.
    Instead(&'static str),
}

use To::{Anyway, Copy, Instead, On, Special};

const NGINX: To =
    Instead("let the proxy in front do it (nginx: location, alias, expires, gzip_static)");
const ROUTES: To =
    Instead("requests are not routed here: let nginx do it, or a middleware of the app");
const RELOAD: To = Instead(
    "say `rcorn ctl reload --wait` in the deploy script, or let a systemd path unit watch the file and say it",
);
const SERVICE: To = Instead("run it as a service of its own, under systemd or supervisor");
const QUEUE: To =
    Instead("use a task queue (Celery, RQ, Dramatiq) or cron; rcorn only serves requests");
const SCALE: To = Instead(
    "the number of workers is fixed: say `workers: auto`, or change it with `rcorn ctl scale`",
);
const SYSTEMD: To = Instead("say it in the systemd unit");
const EMPEROR: To =
    Instead("run one rcorn for each app, as instances of a systemd template unit (rcorn@.service)");
const STORE: To =
    Instead("uWSGI's module has no counterpart: use Redis, memcached or files in the app");
const ASYNC: To =
    Instead("workers run one request at a time, and waiting connections hold none: raise workers");
const LOGROTATE: To = Instead("let logrotate do it, with `rcorn ctl reopen` after it");
const STATS: To = Instead("`rcorn ctl status --json` tells what the workers do");
const TLS: To = Instead("rcorn does no TLS: let a proxy such as nginx or Caddy end it");
const IMPORT: To = Instead("import it in the module of the app");
const READ: To = Instead("migrate that file, too, and join the results");

/// The rules.
// One rule a line or two, as in a table.
#[rustfmt::skip]
const RULES: &[(&[&str], To)] = &[
    // The app.
    (&["chdir", "chdir2"], Copy("chdir")),
    (&["pythonpath", "python-path", "pp"], Special),
    (&["home", "virtualenv", "venv", "pyhome"], Special),
    (&["env"], Special),
    (&["lazy-apps", "lazy"], On("preload_app", "off")),
    (&["py-autoreload", "py-auto-reload", "python-autoreload", "python-auto-reload"], On("reload", "true")),
    (&["manage-script-name"], Anyway("SCRIPT_NAME of the environment is taken off the path")),
    (&["plugin", "plugins", "need-plugin", "need-plugins"], Special),
    (&["plugins-dir", "plugin-dir", "plugins-list", "autoload"], Anyway("there are no plugins")),
    (&["single-interpreter"], Anyway("a worker has one interpreter")),
    (&["enable-threads", "py-call-osafterfork", "no-threads-wait"],
        Anyway("threads of the app work as in any Python")),
    (&["need-app"], Anyway("without an app rcorn does not start")),
    (&["catch-exceptions", "catch-exception"],
        Instead("tracebacks go to the log only; the client gets a page with status 500")),
    (&["import", "pyimport", "py-import", "python-import", "shared-import", "shared-pyimport", "pyrun", "eval"],
        IMPORT),
    (&["paste", "ini-paste", "ini-paste-logged", "web3", "pump", "wsgi-lite", "pecan"],
        Instead("write a module that makes the app (paste.deploy.loadapp for Paste), and name it as wsgi_app")),
    (&["unenv"], Instead("env -u NAME rcorn … starts it without the variable")),
    (&["pyargv", "python-argv"], Instead("set sys.argv in the module of the app")),
    (&["no-site"], Instead("set PYTHONNOUSERSITE or name another python")),
    (&["optimize"], Instead("set PYTHONOPTIMIZE in the environment")),
    (&["post-buffering*"],
        Anyway("bodies up to request_buffer arrive before the app is called; larger ones are streamed")),
    (&["wsgi-env-behaviour", "wsgi-env-behavior", "wsgi-strict", "pep3333-input", "wsgi-accept-buffer*"],
        Anyway("rcorn keeps to PEP 3333")),
    (&["wsgi-disable-file-wrapper"], On("sendfile", "false")),
    // Sockets.
    (&["listen"], Copy("backlog")),
    (&["reuse-port"], On("reuse_port", "true")),
    (&["vacuum"], Anyway("socket files and the pid file are removed at the end")),
    (&["chown-socket"], Instead("the socket file belongs to user and group; umask has its permissions")),
    (&["thunder-lock"], Anyway("the kernel wakes one worker for each connection")),
    (&["http-keepalive"], Special),
    (&["http-headers-timeout"], Copy("header_timeout")),
    (&["http-auto-chunked", "http-chunked-input", "http-auto-gzip", "http-raw-body", "http-websockets"],
        Anyway("rcorn speaks HTTP/1.1 itself; gzip and websockets are a proxy's or another server's work")),
    (&["http-to", "http-to-https", "http-processes", "http-workers", "http-modifier*", "http-socket-modifier*",
        "http-*"],
        Instead("there is no router process: the workers answer HTTP themselves")),
    (&["https", "https-*", "https2", "ssl-*", "suwsgi-socket", "sni*"], TLS),
    (&["fastcgi-*", "scgi-*", "raw-socket", "zeromq*", "zmq*", "mongrel2*", "udp", "puwsgi-socket"],
        Instead("rcorn speaks HTTP and the uwsgi protocol: name such an address in bind")),
    (&["shared-socket", "undeferred-shared-socket", "map-socket"],
        Instead("name the address in bind; all workers share it")),
    (&["so-keepalive", "tcp-nodelay", "so-sndbuf", "so-rcvbuf", "freebind", "tcp-fast-open*"],
        Instead("rcorn sets what its sockets need; the rest is the kernel's (sysctl)")),
    // Workers.
    (&["master", "no-orphans", "workers-heartbeat"], Anyway("there is always an arbiter")),
    (&["die-on-term"], Anyway("TERM stops, gracefully")),
    (&["max-requests"], Copy("max_requests")),
    (&["max-requests-delta"], Copy("max_requests_jitter")),
    (&["max-worker-lifetime"], Copy("max_worker_age")),
    (&["max-worker-lifetime-delta", "min-worker-lifetime"], Anyway("workers are replaced one at a time")),
    (&["reload-on-as", "evil-reload-on-as"],
        Instead("address space says little: max_worker_memory limits the resident memory")),
    (&["harakiri-verbose", "harakiri-no-arh", "no-harakiri*"],
        Anyway("a worker that is too slow leaves its Python stacks and its request in the log")),
    (&["harakiri-graceful*"], Instead("rcorn asks no hung worker to go: it logs where it hangs and ends it")),
    (&["cheap", "cheaper*", "idle", "die-on-idle"], SCALE),
    (&["touch-*", "fs-reload", "fs-brutal-reload", "brutal-reload-on-*"], RELOAD),
    (&["mule-reload-mercy", "spooler-*", "spooler", "mule", "mules", "mule-*", "farm"], QUEUE),
    (&["cron*", "unique-cron", "legion-cron", "timer*"], QUEUE),
    (&["attach-daemon*", "smart-attach-daemon*", "legion-*", "daemon-*"], SERVICE),
    (&["async", "ugreen", "gevent*", "greenlet", "asyncio", "coroae", "eventlet*", "tornado*", "fiber*"], ASYNC),
    (&["cpu-affinity", "nice", "limit-as", "limit-nproc", "max-fd", "rlimit*", "chroot", "pivot-root", "cgroup*",
        "cap", "add-gid", "namespace*", "unshare", "privileged-binary-patch"],
        SYSTEMD),
    (&["hook-*", "exec-*", "on-*", "before-*", "after-*", "early-*"],
        Instead("say it in the systemd unit (ExecStartPre, ExecStartPost, ExecStopPost), or in a hook of a gunicorn.conf.py")),
    (&["emperor*", "vassal*", "heartbeat", "imperial*"], EMPEROR),
    (&["subscribe*", "fastrouter*", "rawrouter*", "sslrouter*", "subscription*"],
        Instead("let nginx or another proxy find the servers")),
    (&["cache*", "add-cache-item", "load-file-in-cache*", "sharedarea*", "queue*", "locks", "lock-engine", "ftok",
        "rpc*", "signal*"],
        STORE),
    (&["exit-on-reload", "skip-atexit", "skip-atexit-teardown"],
        Instead("a reload replaces workers one by one, and their atexit functions run")),
    (&["honour-stdin", "skip-zero"], Instead("for a debugger, start one worker by hand: rcorn -w 1 --timeout 0")),
    (&["master-fifo"], Instead("`rcorn ctl` gives orders to a running instance")),
    // Requests.
    (&["limit-post"], Instead("let the proxy limit it (nginx: client_max_body_size)")),
    (&["max-vars"], Anyway("limit_request_fields is 100")),
    (&["route*", "final-route*", "error-route*", "response-route*", "error-page*", "websocket*", "http-root",
        "collect-header", "pull-header", "add-header"],
        ROUTES),
    (&["static*", "check-static*", "docroot", "mimefile", "mime-file", "fileserve-mode", "offload-threads",
        "offload-thread"],
        NGINX),
    (&["ignore-sigpipe", "ignore-write-errors", "disable-write-exception", "write-errors-*", "close-on-exec*",
        "disable-sendfile"],
        Anyway("a client that leaves is no error")),
    // Our place in the system.
    (&["umask"], Special),
    (&["pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2"], Copy("pidfile")),
    (&["procname"], Copy("proc_name")),
    (&["procname-prefix", "procname-prefix-spaced"], Special),
    (&["auto-procname"], Anyway("processes have titles")),
    (&["procname-*"], Instead("proc_name is the name in all titles")),
    // Logs.
    (&["log-master*", "threaded-logger", "log-date", "logdate", "memory-report", "log-micros", "log-zero",
        "log-slow", "log-big", "log-sendfile", "log-5xx", "log-4xx", "log-ioerror"],
        Instead("write access_log_format so that it has what is wanted: %(s)s is the status, %(D)s the microseconds")),
    (&["log-x-forwarded-for"], Instead("put %({x-forwarded-for}i)s into access_log_format")),
    (&["log-maxsize", "log-backupname", "log-truncate", "log-reopen", "logfile-ch*", "log-chown"], LOGROTATE),
    (&["log-*", "alarm*", "syslog", "rsyslog*"],
        Instead("let what reads the log do it: journald, logrotate, a log shipper")),
    (&["stats*", "carbon*", "snmp*", "metric*", "enable-metrics", "graphite*", "statsd*"], STATS),
    // uWSGI itself.
    (&["strict", "show-config", "print", "declare-option*", "auto-snapshot", "binary-path", "no-default-app",
        "no-initial-output", "force-cwd", "ldap*"],
        Anyway("rcorn refuses what it does not know, and shows its settings with --print-config")),
    (&["ini", "inherit", "include", "config", "fallback-config", "xml", "yaml", "yml", "json"], READ),
    (&["wsgi-*", "py-*", "python-*"], Instead("rcorn has no counterpart; see rcorn.yaml(5)")),
];

/// The last rule fits every key of its plugin; this tells whether a key means something by itself.
pub(super) fn is_known(key: &str) -> bool {
    const ELSEWHERE: &str = "module wsgi wsgi-file file mount callable socket uwsgi-socket http http-socket http11-socket \
        protocol socket-protocol abstract-socket chmod-socket chmod processes workers threads harakiri \
        reload-on-rss evil-reload-on-rss buffer-size http-timeout socket-timeout worker-reload-mercy \
        reload-mercy uid gid immediate-uid immediate-gid no-initgroups disable-logging logto daemonize \
        logformat log-format";
    ELSEWHERE.split_whitespace().any(|known| known == key) || rule_of(key).is_some()
}

fn rule_of(key: &str) -> Option<&'static To> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(begin) => key.starts_with(begin),
        None => key == *pattern,
    };
    let mut rules = RULES.iter();
    rules.find_map(|(patterns, to)| patterns.iter().any(fits).then_some(to))
}

/// Does what the rule for the line says.
pub(super) fn apply(given: &IniOption, sheet: &mut Sheet) {
    match rule_of(&given.key) {
        Some(Copy(setting)) => {
            sheet.set(setting, &given.value, &given.source);
        }
        Some(On(setting, text)) if given.is_on() => {
            sheet.set(setting, &Text::Plain((*text).to_owned()), &given.source);
        }
        Some(On(..)) => sheet.needless(&given.source, "it is off"),
        Some(Special) => special(given, sheet),
        Some(Anyway(why)) => sheet.needless(&given.source, *why),
        Some(Instead(what)) => sheet.leave(&given.source, *what),
        None => sheet.leave(
            &given.source,
            "not known here: rcorn.yaml(5) lists what there is",
        ),
    }
}

fn special(given: &IniOption, sheet: &mut Sheet) {
    match given.key.as_str() {
        "env" => variable(given, sheet),
        "pythonpath" | "python-path" | "pp" => {
            sheet.add("pythonpath", &given.value, &given.source);
        }
        "home" | "virtualenv" | "venv" | "pyhome" => {
            let python = |home: &str| format!("{}/bin/python3", home.trim_end_matches('/'));
            let python = map(&given.value, python);
            sheet.set("python", &python, &given.source);
        }
        "http-keepalive" => {
            // Without a number it is on, and rcorn's own time is a good one.
            if given.text().parse::<u64>().is_ok_and(|seconds| seconds > 1) {
                sheet.set("keepalive", &given.value, &given.source);
            } else {
                sheet.needless(&given.source, "connections are kept open for 75 seconds");
            }
        }
        "umask" => {
            let octal = |text: &str| format!("0o{}", text.trim_start_matches('0'));
            let text = if given.text().trim_start_matches('0').is_empty() {
                Text::Plain("0".to_owned())
            } else {
                map(&given.value, octal)
            };
            sheet.set("umask", &text, &given.source);
        }
        "procname-prefix" | "procname-prefix-spaced" => {
            let name = map(&given.value, |text| {
                text.trim_end_matches([' ', '-', '_', ':']).to_owned()
            });
            sheet.set("proc_name", &name, &given.source);
        }
        _ => {
            let others = given.text().split(',').map(str::trim);
            let others = others
                .filter(|name| !name.starts_with("python") && *name != "http" && !name.is_empty());
            let others: Vec<&str> = others.collect();
            if others.is_empty() {
                sheet.needless(&given.source, "Python and HTTP need no plugin");
            } else {
                sheet.leave(
                    &given.source,
                    format!(
                        "rcorn has no plugins, and nothing like {}",
                        others.join(", ")
                    ),
                );
            }
        }
    }
}

/// `env = NAME=VALUE`
fn variable(given: &IniOption, sheet: &mut Sheet) {
    let Some((name, value)) = given.text().split_once('=') else {
        return sheet.leave(&given.source, "it has no value: write NAME=VALUE");
    };
    let text = match &given.value {
        // The name and the value were completed together; the value may have no variable of its
        // own.
        Text::Expanded(_) if value.contains("${") => Text::Expanded(value.trim().to_owned()),
        Text::Plain(_) | Text::Expanded(_) => Text::Plain(value.trim().to_owned()),
    };
    sheet.pair("raw_env", name.trim(), &text, &given.source);
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
        Special | Anyway(_) | Instead(_) => None,
    })
}

/// All keys.
#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|(keys, _)| keys.iter().copied())
}
