//! The settings of gunicorn that rcorn does not have. All are recognised, so that a command line or
//! a configuration file of gunicorn is answered with a reason and never with "unknown".
//!
//! A setting whose absence would change the service or its safety stops the start; one that only
//! tunes a part that rcorn does not have is ignored with one warning.

use super::error::Error;

/// A setting of gunicorn that rcorn does not have.
#[derive(Debug)]
pub struct Unsupported {
    /// Its name in a configuration file.
    pub name: &'static str,
    /// gunicorn's default, as a Python literal: hooks may ask for it.
    pub default: &'static str,
    /// Its flags, the preferred one first; none when only a configuration file can give it.
    pub flags: &'static [&'static str],
    /// Its short flag.
    pub short: Option<char>,
    /// What follows the flag.
    pub takes: Takes,
    /// Values that ask for what rcorn does anyway.
    pub neutral: &'static [&'static str],
    /// What happens to it.
    pub treatment: Treatment,
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value,
}

/// What rcorn does when an unsupported setting is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// rcorn starts, and warns that it has no effect, with this reason.
    Ignored(&'static str),
    /// rcorn does not start, for this reason; the second text is what to do instead.
    Rejected(&'static str, &'static str),
}

use Takes::{Nothing, Value};
use Treatment::{Ignored, Rejected};

const fn unsupported(
    name: &'static str,
    default: &'static str,
    flags: &'static [&'static str],
    takes: Takes,
    treatment: Treatment,
) -> Unsupported {
    Unsupported {
        name,
        default,
        flags,
        short: None,
        takes,
        neutral: &[],
        treatment,
    }
}

impl Unsupported {
    const fn short(self, short: char) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }

    const fn neutral(self, neutral: &'static [&'static str]) -> Self {
        Self { neutral, ..self }
    }

    /// Whether the value asks for anything that rcorn does not do anyway.
    pub(super) fn matters(&self, value: &str) -> bool {
        let value = value.trim();
        let nothing = self.takes == Nothing && value == "false";
        !(nothing || self.neutral.contains(&value))
    }

    /// The warning for this value, where there is one. `place`: the flag, or the name in a file.
    ///
    /// # Errors
    ///
    /// Why rcorn does not start with it.
    pub(super) fn treat(&self, place: &str, value: &str) -> Result<Option<String>, Error> {
        match self.treatment {
            Ignored(reason) => Ok(Some(format!("{place} has no effect: {reason}"))),
            Rejected(reason, instead) => {
                let is_flag = value.is_empty() || self.takes == Nothing;
                Err(Error::Unsupported {
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

const ASGI: Treatment = Ignored("it belongs to the ASGI worker");
const TLS: Treatment = Rejected(
    "rcorn does not do TLS",
    "terminate TLS in a proxy such as nginx or Caddy in front of rcorn",
);
const NO_TLS: Treatment = Ignored("rcorn does not do TLS");
const HTTP2: Treatment = Ignored("rcorn speaks HTTP/1.1");
const DIRTY: Treatment = Ignored("there is no dirty arbiter");
const STATSD: Treatment =
    Ignored("there are no statsd metrics; count requests from the access log");
const SYSLOG: Treatment = Ignored(
    "nothing is written to syslog; log to standard error and let systemd or logger(1) pass it on",
);
const PASTE: Treatment = Rejected(
    "PasteDeploy files are not read",
    "write a module that calls paste.deploy.loadapp, and serve that",
);

/// All of them, in the order of gunicorn's reference.
pub const UNSUPPORTED: &[Unsupported] = &[
    unsupported(
        "threads",
        "1",
        &["threads"],
        Value,
        Rejected(
            "a worker of rcorn runs one request at a time",
            "raise --workers instead, to workers x threads; workers share the memory of the app",
        ),
    )
    .neutral(&["1", "0"]),
    unsupported("asgi_loop", "'auto'", &["asgi-loop"], Value, ASGI).neutral(&["auto"]),
    unsupported("asgi_lifespan", "'auto'", &["asgi-lifespan"], Value, ASGI).neutral(&["auto"]),
    unsupported("asgi_disconnect_grace_period", "3", &["asgi-disconnect-grace-period"], Value, ASGI),
    unsupported("websocket_max_message_size", "16777216", &["websocket-max-message-size"], Value, ASGI),
    unsupported("http_parser", "'auto'", &["http-parser"], Value, Ignored("rcorn has one parser, its own"))
        .neutral(&["auto", "fast"]),
    unsupported(
        "spew",
        "False",
        &["spew"],
        Nothing,
        Ignored("rcorn does not trace the lines of an app; python3 -m trace does"),
    ),
    unsupported(
        "worker_tmp_dir",
        "None",
        &["worker-tmp-dir"],
        Value,
        Ignored("heartbeats are kept in shared memory, not in files"),
    ),
    unsupported("tmp_upload_dir", "None", &[], Value, Ignored("uploads are not written to files")),
    unsupported("paste", "None", &["paste", "paster"], Value, PASTE),
    unsupported("raw_paste_global_conf", "[]", &["paste-global"], Value, PASTE),
    unsupported(
        "strip_header_spaces",
        "False",
        &["strip-header-spaces"],
        Nothing,
        Rejected("a blank before the colon of a header field lets requests be smuggled", "fix the client that sends it"),
    ),
    unsupported("root_path", "''", &["root-path"], Value, ASGI),
    unsupported("disable_redirect_access_to_syslog", "False", &["disable-redirect-access-to-syslog"], Nothing, SYSLOG),
    unsupported(
        "logger_class",
        "'gunicorn.glogging.Logger'",
        &["logger-class"],
        Value,
        Ignored("rcorn writes its own log; --log-config and logconfig_dict shape the loggers of the app and gunicorn.access"),
    )
    .neutral(&["gunicorn.glogging.Logger"]),
    unsupported("syslog_addr", "'udp://localhost:514'", &["log-syslog-to"], Value, SYSLOG),
    unsupported("syslog", "False", &["log-syslog"], Nothing, SYSLOG),
    unsupported("syslog_prefix", "None", &["log-syslog-prefix"], Value, SYSLOG),
    unsupported("syslog_facility", "'user'", &["log-syslog-facility"], Value, SYSLOG),
    unsupported(
        "enable_stdio_inheritance",
        "False",
        &["enable-stdio-inheritance"],
        Nothing,
        Ignored("what the app prints goes to the error log in the background, and nowhere else in the foreground"),
    )
    .short('R'),
    unsupported("statsd_host", "None", &["statsd-host"], Value, STATSD),
    unsupported("dogstatsd_tags", "''", &["dogstatsd-tags"], Value, STATSD),
    unsupported("statsd_prefix", "''", &["statsd-prefix"], Value, STATSD),
    unsupported("enable_backlog_metric", "False", &["enable-backlog-metric"], Nothing, STATSD),
    unsupported("default_proc_name", "'gunicorn'", &[], Value, Ignored("processes are named by proc_name")),
    unsupported("ssl_context", "None", &[], Value, TLS),
    unsupported("keyfile", "None", &["keyfile"], Value, TLS),
    unsupported("certfile", "None", &["certfile"], Value, TLS),
    unsupported("ssl_version", "2", &["ssl-version"], Value, NO_TLS),
    unsupported("cert_reqs", "0", &["cert-reqs"], Value, TLS).neutral(&["0"]),
    unsupported("ca_certs", "None", &["ca-certs"], Value, TLS),
    unsupported("suppress_ragged_eofs", "True", &["suppress-ragged-eofs"], Nothing, NO_TLS),
    unsupported("do_handshake_on_connect", "False", &["do-handshake-on-connect"], Nothing, NO_TLS),
    unsupported("ciphers", "None", &["ciphers"], Value, NO_TLS),
    unsupported(
        "http_protocols",
        "'h1'",
        &["http-protocols"],
        Value,
        Rejected("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients, and set this to h1"),
    )
    .neutral(&["h1"]),
    unsupported(
        "http2_cleartext",
        "False",
        &["http2-cleartext"],
        Nothing,
        Rejected("rcorn speaks HTTP/1.1", "let a proxy speak HTTP/2 with the clients"),
    ),
    unsupported("http2_max_concurrent_streams", "100", &["http2-max-concurrent-streams"], Value, HTTP2),
    unsupported("http2_initial_window_size", "65535", &["http2-initial-window-size"], Value, HTTP2),
    unsupported("http2_max_frame_size", "16384", &["http2-max-frame-size"], Value, HTTP2),
    unsupported("http2_max_header_list_size", "65536", &["http2-max-header-list-size"], Value, HTTP2),
    unsupported(
        "dirty_apps",
        "[]",
        &["dirty-app"],
        Value,
        Rejected("there is no dirty arbiter", "run long work in a task queue, or serve it with a second rcorn"),
    ),
    unsupported("dirty_workers", "0", &["dirty-workers"], Value, DIRTY).neutral(&["0"]),
    unsupported("dirty_timeout", "300", &["dirty-timeout"], Value, DIRTY),
    unsupported("dirty_threads", "1", &["dirty-threads"], Value, DIRTY),
    unsupported("dirty_graceful_timeout", "30", &["dirty-graceful-timeout"], Value, DIRTY),
    unsupported("on_dirty_starting", "None", &[], Value, DIRTY),
    unsupported("dirty_post_fork", "None", &[], Value, DIRTY),
    unsupported("dirty_worker_init", "None", &[], Value, DIRTY),
    unsupported("dirty_worker_exit", "None", &[], Value, DIRTY),
];
