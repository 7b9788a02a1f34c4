//! The flags of gunicorn that are no settings of rcorn: all are known, so that a command line of gunicorn is
//! answered with a reason and never with "unknown flag".
//!
//! What would change the service or its safety when left out stops the start; what only tunes a part that rcorn
//! does not have is passed over with one warning.

/// A flag of gunicorn without a setting of ours.
#[derive(Debug)]
pub struct Known {
    /// Its long forms, the preferred one first.
    pub flags: &'static [&'static str],
    /// Its short form.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
    /// Values that ask for nothing but what rcorn does anyway.
    pub neutral: &'static [&'static str],
    /// What it is told.
    pub answer: Answer,
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value,
    /// A value or nothing.
    Maybe,
}

/// What the user of a flag is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has no effect, because …; rcorn starts.
    Ignored(&'static str),
    /// It is not there yet; what to do instead. rcorn does not start.
    NotYet(&'static str),
    /// It will not be there, because …, and what to do instead. rcorn does not start.
    Never(&'static str, &'static str),
}

use Answer::{Ignored, Never, NotYet};
use Takes::{Maybe, Nothing, Value};

const fn known(flag: &'static [&'static str], takes: Takes, answer: Answer) -> Known {
    Known {
        flags: flag,
        short: None,
        takes,
        neutral: &[],
        answer,
    }
}

impl Known {
    const fn short(self, short: char) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }

    const fn neutral(self, neutral: &'static [&'static str]) -> Self {
        Self { neutral, ..self }
    }
}

const ASGI: Answer = Ignored("it belongs to the ASGI worker");
const TLS: Answer = Never(
    "rcorn does not do TLS",
    "let a proxy such as nginx or Caddy end TLS in front of rcorn",
);
const NO_TLS: Answer = Ignored("rcorn does not do TLS");
const HTTP2: Answer = Ignored("rcorn speaks HTTP/1.1");
const DIRTY: Answer = Ignored("there is no dirty arbiter");
const STATSD: Answer = Ignored("there are no statsd metrics");
const SYSLOG: Answer = Ignored("nothing is written to syslog");
const NO_RELOADER: Answer = Ignored("there is no --reload in this version");
const PASTE: Answer = Never(
    "PasteDeploy files are not read",
    "write a module that calls paste.deploy.loadapp, and serve that",
);

/// All of them, in the order of gunicorn's reference.
pub const KNOWN: &[Known] = &[
    known(&["config"], Value, NotYet("config files are not supported yet in this version; give the settings as flags"))
        .short('c'),
    known(
        &["threads"],
        Value,
        Never(
            "a worker of rcorn runs one request at a time",
            "start more workers instead: --workers takes the place of workers x threads, and shares their memory",
        ),
    )
    .neutral(&["1"]),
    known(&["asgi-loop"], Value, ASGI).neutral(&["auto"]),
    known(&["asgi-lifespan"], Value, ASGI).neutral(&["auto"]),
    known(&["asgi-disconnect-grace-period"], Value, ASGI),
    known(&["websocket-max-message-size"], Value, ASGI),
    known(&["http-parser"], Value, Ignored("rcorn has one parser, its own")).neutral(&["auto", "fast"]),
    known(&["reload"], Nothing, NotYet("send HUP after a change: kill -HUP PID reloads the code")),
    known(&["reload-engine"], Value, NO_RELOADER),
    known(&["reload-extra-file"], Value, NO_RELOADER),
    known(&["spew"], Nothing, Ignored("rcorn does not trace the lines of an app; python3 -m trace does")),
    known(&["check-config"], Nothing, NotYet("start rcorn to see whether it works")),
    known(&["print-config"], Nothing, NotYet("--help shows the defaults")),
    known(&["worker-tmp-dir"], Value, Ignored("heartbeats are kept in shared memory, not in files")),
    known(&["paste", "paster"], Value, PASTE),
    known(&["paste-global"], Value, PASTE),
    known(
        &["proxy-protocol"],
        Maybe,
        NotYet("let the proxy send X-Forwarded-For and X-Forwarded-Proto instead, see --forwarded-allow-ips"),
    )
    .neutral(&["off"]),
    known(&["proxy-allow-from"], Value, Ignored("there is no --proxy-protocol in this version")),
    known(&["protocol"], Value, NotYet("let nginx use proxy_pass instead of uwsgi_pass")).neutral(&["http"]),
    known(&["uwsgi-allow-from"], Value, Ignored("there is no uwsgi protocol in this version")),
    known(
        &["strip-header-spaces"],
        Nothing,
        Never("a blank before the colon of a header field lets requests be smuggled", "mend the client that sends it"),
    ),
    known(&["root-path"], Value, ASGI).neutral(&[""]),
    known(&["disable-redirect-access-to-syslog"], Nothing, SYSLOG),
    known(&["logger-class"], Value, NotYet("configure Python's logging in the app itself"))
        .neutral(&["gunicorn.glogging.Logger"]),
    known(&["log-config"], Value, NotYet("configure Python's logging in the app itself")),
    known(&["log-config-json"], Value, NotYet("configure Python's logging in the app itself")),
    known(&["log-syslog-to"], Value, SYSLOG),
    known(&["log-syslog"], Nothing, NotYet("log to standard error and let systemd-cat or logger pass it on")),
    known(&["log-syslog-prefix"], Value, SYSLOG),
    known(&["log-syslog-facility"], Value, SYSLOG),
    known(&["enable-stdio-inheritance"], Nothing, Ignored("rcorn stays in the foreground and keeps its streams"))
        .short('R'),
    known(&["statsd-host"], Value, NotYet("count requests from the access log meanwhile")),
    known(&["dogstatsd-tags"], Value, STATSD),
    known(&["statsd-prefix"], Value, STATSD),
    known(&["enable-backlog-metric"], Nothing, STATSD),
    known(&["keyfile"], Value, TLS),
    known(&["certfile"], Value, TLS),
    known(&["ca-certs"], Value, TLS),
    known(&["ssl-version"], Value, NO_TLS),
    known(&["cert-reqs"], Value, TLS).neutral(&["0"]),
    known(&["suppress-ragged-eofs"], Nothing, NO_TLS),
    known(&["do-handshake-on-connect"], Nothing, NO_TLS),
    known(&["ciphers"], Value, NO_TLS),
    known(
        &["http-protocols"],
        Value,
        Never("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients; say h1 here"),
    )
    .neutral(&["h1"]),
    known(
        &["http2-cleartext"],
        Nothing,
        Never("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients"),
    ),
    known(&["http2-max-concurrent-streams"], Value, HTTP2),
    known(&["http2-initial-window-size"], Value, HTTP2),
    known(&["http2-max-frame-size"], Value, HTTP2),
    known(&["http2-max-header-list-size"], Value, HTTP2),
    known(
        &["dirty-app"],
        Value,
        Never("there is no dirty arbiter", "run long work in a task queue, or serve it by a second rcorn"),
    ),
    known(&["dirty-workers"], Value, DIRTY).neutral(&["0"]),
    known(&["dirty-timeout"], Value, DIRTY),
    known(&["dirty-threads"], Value, DIRTY),
    known(&["dirty-graceful-timeout"], Value, DIRTY),
];
