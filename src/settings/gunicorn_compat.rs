//! The settings of gunicorn that rcorn does not have. All are recognised, so that a command line or
//! a configuration file of gunicorn is answered with a reason and never with "unknown".
//!
//! A setting whose absence would change the service or its safety stops the start; one that only
//! tunes a part that rcorn does not have is ignored with one warning.

use super::error::Error;
use super::origin::Origin;

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
    /// Values beside the default that ask for what rcorn does in any case.
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

    /// Whether the value asks for anything but what rcorn does in any case. gunicorn's own default
    /// never does.
    pub fn matters(&self, value: &str) -> bool {
        let value = value.trim();
        let is_default = value.eq_ignore_ascii_case(self.default_text());
        !(value.is_empty() || is_default || self.neutral.contains(&value))
    }

    /// gunicorn's default in the form of a text from the command line or a file.
    fn default_text(&self) -> &'static str {
        match self.default {
            "None" | "[]" => "",
            literal => literal.trim_matches('\''),
        }
    }

    /// The value that the flag stands for when it takes none: the opposite of the default.
    pub(super) fn flag_value(&self) -> &'static str {
        if self.default == "True" {
            "false"
        } else {
            "true"
        }
    }
}

/// A value that a source gives to an [`Unsupported`] setting.
#[derive(Clone, Debug)]
pub(super) struct UnsupportedValue {
    pub(super) setting: &'static Unsupported,
    /// The flag, or the name in a file.
    pub(super) name: String,
    pub(super) value: String,
}

impl UnsupportedValue {
    /// The warning for this value; `None` if it does not matter.
    ///
    /// # Errors
    ///
    /// The reason why rcorn does not start with it.
    fn judge(&self) -> Result<Option<String>, Error> {
        let name = &self.name;
        if !self.setting.matters(&self.value) {
            return Ok(None);
        }
        match self.setting.treatment {
            Ignored(reason) => Ok(Some(format!("{name} has no effect: {reason}"))),
            Rejected(reason, instead) => Err(Error::Unsupported {
                flag: match self.setting.takes {
                    Nothing => name.clone(),
                    Value => format!("{name} {}", self.value),
                },
                reason,
                instead,
            }),
        }
    }
}

/// The values of settings that rcorn does not have, from all sources. The last value of a setting
/// counts, so they are judged when all sources have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct UnsupportedValues(Vec<(UnsupportedValue, Origin)>);

impl UnsupportedValues {
    /// Adds what a source says; sources come in rising precedence.
    pub(super) fn add(&mut self, value: UnsupportedValue, origin: Origin) {
        self.0.push((value, origin));
    }

    /// Adds what sources of higher precedence say.
    pub(super) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// The warnings. `python`: the configuration file is Python.
    ///
    /// # Errors
    ///
    /// The first setting with which rcorn does not start.
    pub(super) fn judge(&self, python: bool) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for setting in UNSUPPORTED {
            let mut given = self.0.iter().rev();
            let last = given.find(|(value, _)| value.setting.name == setting.name);
            let Some((value, origin)) = last else {
                continue;
            };
            match value.judge() {
                Ok(None) => {}
                Ok(Some(warning)) => warnings.push(match origin {
                    Origin::Default | Origin::CommandLine => warning,
                    Origin::File(..) | Origin::Environment(_) => format!("{origin}: {warning}"),
                }),
                Err(error) => return Err(error.with_origin(origin, python)),
            }
        }
        Ok(warnings)
    }
}

const ASGI: Treatment = Ignored("it belongs to the ASGI worker");
const SSL_CONTEXT: Treatment = Rejected(
    "rcorn's TLS is not that of Python's ssl module",
    "say it with ssl_version, ciphers, ca_certs, cert_reqs and certificates, or let a proxy speak TLS",
);
const RAGGED_EOFS: Treatment = Ignored(
    "a connection that a client ends without a TLS alert ends its request, if that is not complete",
);
const HANDSHAKE: Treatment =
    Ignored("handshakes are made as they arrive, and no worker waits for one");
const HTTP_PROTOCOLS: Treatment = Rejected(
    "rcorn speaks HTTP/1.1, and HTTP/2 over TLS",
    "leave this out, and set http2 to true or false",
);
const HTTP2_FRAME: Treatment =
    Ignored("the largest frame has 16 KiB, the least that HTTP/2 allows");
const HTTP2_CLEARTEXT: Treatment = Rejected(
    "rcorn has another setting for HTTP/2 without TLS",
    "set h2c, or name a certificate (certfile), and set this to off",
);
const DIRTY: Treatment = Ignored("there is no dirty arbiter");
const BACKLOG: Treatment =
    Ignored("the accept queue is not measured; ss(8) shows it as Recv-Q of the listening socket");
const PASTE: Treatment = Rejected(
    "PasteDeploy files are not read",
    "write a module that calls paste.deploy.loadapp, and serve that",
);

/// All of them, in the order of gunicorn's reference.
pub const UNSUPPORTED: &[Unsupported] = &[
    unsupported("asgi_loop", "'auto'", &["asgi-loop"], Value, ASGI),
    unsupported("asgi_lifespan", "'auto'", &["asgi-lifespan"], Value, ASGI),
    unsupported("asgi_disconnect_grace_period", "3", &["asgi-disconnect-grace-period"], Value, ASGI),
    unsupported("websocket_max_message_size", "16777216", &["websocket-max-message-size"], Value, ASGI),
    unsupported("http_parser", "'auto'", &["http-parser"], Value, Ignored("rcorn has one parser, its own"))
        .neutral(&["fast"]),
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
    unsupported(
        "logger_class",
        "'gunicorn.glogging.Logger'",
        &["logger-class"],
        Value,
        Ignored("rcorn writes its own log, and the constructor of another class is not called; its filters and handlers can be added to the loggers gunicorn.error and gunicorn.access, or by logconfig_dict"),
    )
    .neutral(&["gunicorn.instrument.statsd.Statsd", "gunicorn.instrument.statsd:Statsd", "gunicorn.glogging:Logger"]),
    unsupported(
        "enable_stdio_inheritance",
        "False",
        &["enable-stdio-inheritance"],
        Nothing,
        Ignored("what the app prints goes to the error log in the background, and nowhere else in the foreground"),
    )
    .short('R'),
    unsupported("enable_backlog_metric", "False", &["enable-backlog-metric"], Nothing, BACKLOG),
    unsupported("default_proc_name", "'gunicorn'", &[], Value, Ignored("processes are named by proc_name")),
    unsupported("ssl_context", "None", &[], Value, SSL_CONTEXT),
    unsupported("suppress_ragged_eofs", "True", &["suppress-ragged-eofs"], Nothing, RAGGED_EOFS),
    unsupported("do_handshake_on_connect", "False", &["do-handshake-on-connect"], Nothing, HANDSHAKE),
    unsupported("http_protocols", "'h1'", &["http-protocols"], Value, HTTP_PROTOCOLS)
        .neutral(&["h2,h1", "h1,h2", "h2, h1", "h1, h2"]),
    unsupported("http2_cleartext", "'off'", &["http2-cleartext"], Value, HTTP2_CLEARTEXT)
        .neutral(&["false"]),
    unsupported("http2_max_frame_size", "16384", &["http2-max-frame-size"], Value, HTTP2_FRAME),
    unsupported(
        "dirty_apps",
        "[]",
        &["dirty-app"],
        Value,
        Rejected("there is no dirty arbiter", "run long work in a task queue, or serve it with a second rcorn"),
    ),
    unsupported("dirty_workers", "0", &["dirty-workers"], Value, DIRTY),
    unsupported("dirty_timeout", "300", &["dirty-timeout"], Value, DIRTY),
    unsupported("dirty_threads", "1", &["dirty-threads"], Value, DIRTY),
    unsupported("dirty_graceful_timeout", "30", &["dirty-graceful-timeout"], Value, DIRTY),
    unsupported("on_dirty_starting", "None", &[], Value, DIRTY),
    unsupported("dirty_post_fork", "None", &[], Value, DIRTY),
    unsupported("dirty_worker_init", "None", &[], Value, DIRTY),
    unsupported("dirty_worker_exit", "None", &[], Value, DIRTY),
];
