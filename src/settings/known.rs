//! The settings of gunicorn that rcorn has not: all are known, so that a command line or a configuration file of
//! gunicorn is answered with a reason and never with "unknown".
//!
//! What would change the service or its safety when left out stops the start; what only tunes a part that rcorn
//! does not have is passed over with one warning.

use super::error::Error;

/// A setting of gunicorn that is none of ours.
#[derive(Debug)]
pub struct Known {
    /// Its name in a configuration file.
    pub name: &'static str,
    /// Its value in gunicorn when nobody sets it, as a Python literal: hooks may ask for it.
    pub default: &'static str,
    /// Its flags, the preferred one first; none when only a configuration file can give it.
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
}

/// What the user of a flag is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has no effect, because …; rcorn starts.
    Ignored(&'static str),
    /// It will not be there, because …, and what to do instead. rcorn does not start.
    Never(&'static str, &'static str),
}

use Answer::{Ignored, Never};
use Takes::{Nothing, Value};

const fn known(
    name: &'static str,
    default: &'static str,
    flags: &'static [&'static str],
    takes: Takes,
    answer: Answer,
) -> Known {
    Known {
        name,
        default,
        flags,
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

    /// Whether the value asks for something else than what rcorn does anyway.
    pub(super) fn asks(&self, value: &str) -> bool {
        let value = value.trim();
        let nothing = self.takes == Nothing && value == "false";
        !(nothing || self.neutral.contains(&value))
    }

    /// What whoever gives this value is told: a warning, or why rcorn does not start. Without flags, the name stands
    /// for it.
    pub(super) fn answered(&self, place: &str, value: &str) -> Result<Option<String>, Error> {
        match self.answer {
            Ignored(reason) => Ok(Some(format!("{place} has no effect: {reason}"))),
            Never(reason, instead) => {
                let is_flag = value.is_empty() || self.takes == Nothing;
                Err(Error::Never {
                    flag: if is_flag {
                        place.to_owned()
                    } else {
                        format!("{place} {value}")
                    },
                    reason,
                    instead,
                })
            }
        }
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
const STATSD: Answer = Ignored("there are no statsd metrics; count requests from the access log");
const SYSLOG: Answer = Ignored(
    "nothing is written to syslog; log to standard error and let systemd or logger(1) pass it on",
);
const PASTE: Answer = Never(
    "PasteDeploy files are not read",
    "write a module that calls paste.deploy.loadapp, and serve that",
);

/// All of them, in the order of gunicorn's reference.
pub const KNOWN: &[Known] = &[
    known(
        "threads",
        "1",
        &["threads"],
        Value,
        Never(
            "a worker of rcorn runs one request at a time",
            "start more workers instead: --workers takes the place of workers x threads, and shares their memory",
        ),
    )
    .neutral(&["1", "0"]),
    known("asgi_loop", "'auto'", &["asgi-loop"], Value, ASGI).neutral(&["auto"]),
    known("asgi_lifespan", "'auto'", &["asgi-lifespan"], Value, ASGI).neutral(&["auto"]),
    known("asgi_disconnect_grace_period", "3", &["asgi-disconnect-grace-period"], Value, ASGI),
    known("websocket_max_message_size", "16777216", &["websocket-max-message-size"], Value, ASGI),
    known("http_parser", "'auto'", &["http-parser"], Value, Ignored("rcorn has one parser, its own"))
        .neutral(&["auto", "fast"]),
    known(
        "spew",
        "False",
        &["spew"],
        Nothing,
        Ignored("rcorn does not trace the lines of an app; python3 -m trace does"),
    ),
    known(
        "worker_tmp_dir",
        "None",
        &["worker-tmp-dir"],
        Value,
        Ignored("heartbeats are kept in shared memory, not in files"),
    ),
    known("tmp_upload_dir", "None", &[], Value, Ignored("uploads are not written to files")),
    known("paste", "None", &["paste", "paster"], Value, PASTE),
    known("raw_paste_global_conf", "[]", &["paste-global"], Value, PASTE),
    known(
        "strip_header_spaces",
        "False",
        &["strip-header-spaces"],
        Nothing,
        Never("a blank before the colon of a header field lets requests be smuggled", "mend the client that sends it"),
    ),
    known("root_path", "''", &["root-path"], Value, ASGI),
    known("disable_redirect_access_to_syslog", "False", &["disable-redirect-access-to-syslog"], Nothing, SYSLOG),
    known(
        "logger_class",
        "'gunicorn.glogging.Logger'",
        &["logger-class"],
        Value,
        Ignored("rcorn writes its own log; --log-config and logconfig_dict shape the loggers of the app and gunicorn.access"),
    )
    .neutral(&["gunicorn.glogging.Logger"]),
    known("syslog_addr", "'udp://localhost:514'", &["log-syslog-to"], Value, SYSLOG),
    known("syslog", "False", &["log-syslog"], Nothing, SYSLOG),
    known("syslog_prefix", "None", &["log-syslog-prefix"], Value, SYSLOG),
    known("syslog_facility", "'user'", &["log-syslog-facility"], Value, SYSLOG),
    known(
        "enable_stdio_inheritance",
        "False",
        &["enable-stdio-inheritance"],
        Nothing,
        Ignored("what the app prints goes to the error log in the background, and nowhere else in the foreground"),
    )
    .short('R'),
    known("statsd_host", "None", &["statsd-host"], Value, STATSD),
    known("dogstatsd_tags", "''", &["dogstatsd-tags"], Value, STATSD),
    known("statsd_prefix", "''", &["statsd-prefix"], Value, STATSD),
    known("enable_backlog_metric", "False", &["enable-backlog-metric"], Nothing, STATSD),
    known("default_proc_name", "'gunicorn'", &[], Value, Ignored("processes are named by proc_name")),
    known("ssl_context", "None", &[], Value, TLS),
    known("keyfile", "None", &["keyfile"], Value, TLS),
    known("certfile", "None", &["certfile"], Value, TLS),
    known("ssl_version", "2", &["ssl-version"], Value, NO_TLS),
    known("cert_reqs", "0", &["cert-reqs"], Value, TLS).neutral(&["0"]),
    known("ca_certs", "None", &["ca-certs"], Value, TLS),
    known("suppress_ragged_eofs", "True", &["suppress-ragged-eofs"], Nothing, NO_TLS),
    known("do_handshake_on_connect", "False", &["do-handshake-on-connect"], Nothing, NO_TLS),
    known("ciphers", "None", &["ciphers"], Value, NO_TLS),
    known(
        "http_protocols",
        "'h1'",
        &["http-protocols"],
        Value,
        Never("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients; say h1 here"),
    )
    .neutral(&["h1"]),
    known(
        "http2_cleartext",
        "False",
        &["http2-cleartext"],
        Nothing,
        Never("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients"),
    ),
    known("http2_max_concurrent_streams", "100", &["http2-max-concurrent-streams"], Value, HTTP2),
    known("http2_initial_window_size", "65535", &["http2-initial-window-size"], Value, HTTP2),
    known("http2_max_frame_size", "16384", &["http2-max-frame-size"], Value, HTTP2),
    known("http2_max_header_list_size", "65536", &["http2-max-header-list-size"], Value, HTTP2),
    known(
        "dirty_apps",
        "[]",
        &["dirty-app"],
        Value,
        Never("there is no dirty arbiter", "run long work in a task queue, or serve it by a second rcorn"),
    ),
    known("dirty_workers", "0", &["dirty-workers"], Value, DIRTY).neutral(&["0"]),
    known("dirty_timeout", "300", &["dirty-timeout"], Value, DIRTY),
    known("dirty_threads", "1", &["dirty-threads"], Value, DIRTY),
    known("dirty_graceful_timeout", "30", &["dirty-graceful-timeout"], Value, DIRTY),
    known("on_dirty_starting", "None", &[], Value, DIRTY),
    known("dirty_post_fork", "None", &[], Value, DIRTY),
    known("dirty_worker_init", "None", &[], Value, DIRTY),
    known("dirty_worker_exit", "None", &[], Value, DIRTY),
];
