//! Settings with a fixed set of words, and the target of a log.

use std::path::PathBuf;

pub use rcorn_types::Level;

use super::refusal::Cause;
use super::table::Completes;
use super::value::{Value, text_form};

/// Defines an enum whose variants are words of the command line; case does not matter, as in
/// gunicorn.
macro_rules! choices {
    ($(#[doc = $doc:literal])+ $type:ident, $noun:literal, $value_name:literal {
        $($(#[doc = $about:literal])+ $variant:ident = $word:literal $(| $alias:literal)*,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[doc = $about])+ $variant,)+
        }

        impl Value for $type {
            const NOUN: &'static str = $noun;
            const VALUE_NAME: &'static str = $value_name;
            const CHOICES: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Result<Self, Cause> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($word $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err(Cause::NotA),
                }
            }

            fn show(&self) -> String {
                match self {
                    $(Self::$variant => $word.to_owned(),)+
                }
            }
        }

        text_form!($type);
    };
}

choices! {
    /// Whether the app is imported once, before the workers are forked.
    Preload, "auto, on or off", "WHEN" {
        /// Imported once, unless the imported app is not safe to fork.
        Auto = "auto",
        /// Always imported once.
        On = "on" | "true",
        /// Each worker imports it.
        Off = "off" | "false",
    }
}

choices! {
    /// How changed files are noticed.
    ReloadEngine, "auto, inotify or poll", "ENGINE" {
        /// By inotify where that works, else by polling.
        Auto = "auto",
        /// By inotify.
        Inotify = "inotify",
        /// By checking all files once a second.
        Poll = "poll",
    }
}

choices! {
    /// Whether a worker that is to be replaced leaves before its replacement is ready.
    RetireOldFirst, "auto, fallback, always or never", "WHEN" {
        /// As a fallback if there is one worker, else never.
        Auto = "auto",
        /// Once some replacements could not start.
        Fallback = "fallback",
        /// At once.
        Always = "always",
        /// Its replacement is always ready first.
        Never = "never",
    }
}

choices! {
    /// What happens to the accept queue at a stop.
    DrainMode, "a way to stop", "HOW" {
        /// It is served.
        Queue = "queue",
        /// It is discarded.
        Immediate = "immediate",
        /// Everything is served for a while first.
        Delay = "delay",
    }
}

choices! {
    /// What USR2 does.
    UpgradeMode, "a way to upgrade", "HOW" {
        /// Starts another arbiter, which shares the sockets.
        Beside = "beside",
        /// Execs the new build under the same pid.
        InPlace = "in-place",
    }
}

choices! {
    /// The form of the error log.
    LogFormat, "gunicorn or json", "FORM" {
        /// gunicorn's lines.
        Gunicorn = "gunicorn",
        /// One JSON object on each line.
        Json = "json",
    }
}

choices! {
    /// The protocol of an address.
    Protocol, "a protocol", "PROTOCOL" {
        /// HTTP/1.1 and 1.0.
        Http = "http",
        /// uwsgi, the binary protocol of nginx's `uwsgi_pass`.
        Uwsgi = "uwsgi",
    }
}

choices! {
    /// Which PROXY headers are accepted at the beginning of a connection. `true` and `false` are
    /// values of older versions of gunicorn.
    ProxyProtocol, "off, v1, v2 or auto", "MODE" {
        /// None.
        Off = "off" | "false",
        /// Version 1, text.
        V1 = "v1",
        /// Version 2, binary.
        V2 = "v2",
        /// Both.
        Auto = "auto" | "true",
    }
}

choices! {
    /// How a field whose name has an underscore is treated. In the environ it has the same key as
    /// the field with a hyphen.
    HeaderMap, "a way to treat header names with underscores", "HOW" {
        /// It is dropped.
        Drop = "drop",
        /// The request is refused.
        Refuse = "refuse",
        /// The app gets it.
        Dangerous = "dangerous",
    }
}

choices! {
    /// Whether each request has an id.
    RequestId, "on or off", "WHEN" {
        /// None.
        Off = "off" | "false",
        /// That of a trusted proxy, or one that is made.
        On = "on" | "true",
    }
}

choices! {
    /// The facility of messages to syslog (RFC 5424 section 6.2.1). gunicorn also takes `security`.
    SyslogFacility, "a facility of syslog", "FACILITY" {
        /// Facility 0.
        Kern = "kern",
        /// Facility 1.
        User = "user",
        /// Facility 2.
        Mail = "mail",
        /// Facility 3.
        Daemon = "daemon",
        /// Facility 4.
        Auth = "auth" | "security",
        /// Facility 5.
        Syslog = "syslog",
        /// Facility 6.
        Lpr = "lpr",
        /// Facility 7.
        News = "news",
        /// Facility 8.
        Uucp = "uucp",
        /// Facility 9.
        Cron = "cron",
        /// Facility 10.
        Authpriv = "authpriv",
        /// Facility 11.
        Ftp = "ftp",
        /// Facility 16.
        Local0 = "local0",
        /// Facility 17.
        Local1 = "local1",
        /// Facility 18.
        Local2 = "local2",
        /// Facility 19.
        Local3 = "local3",
        /// Facility 20.
        Local4 = "local4",
        /// Facility 21.
        Local5 = "local5",
        /// Facility 22.
        Local6 = "local6",
        /// Facility 23.
        Local7 = "local7",
    }
}

impl SyslogFacility {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Kern => 0,
            Self::User => 1,
            Self::Mail => 2,
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::Syslog => 5,
            Self::Lpr => 6,
            Self::News => 7,
            Self::Uucp => 8,
            Self::Cron => 9,
            Self::Authpriv => 10,
            Self::Ftp => 11,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

/// The `Server` field of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// There is none.
    Off,
    /// Its value.
    Text(String),
}

impl Value for ServerHeader {
    const NOUN: &'static str = "a text, or off";
    const VALUE_NAME: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        if ["", "off", "false", "none"].contains(&text.to_ascii_lowercase().as_str()) {
            Ok(Self::Off)
        } else if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(Self::Text(text.to_owned()))
        } else {
            Err(Cause::because(
                "has characters that a header field cannot have",
                "use printable ASCII",
            ))
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Text(text) => text.clone(),
        }
    }
}

text_form!(ServerHeader);

impl Value for Level {
    const NOUN: &'static str = "a log level";
    const VALUE_NAME: &'static str = "LEVEL";
    const CHOICES: &'static [&'static str] = &Self::NAMES;

    fn parse(text: &str) -> Result<Self, Cause> {
        text.parse().map_err(|_unknown| Cause::NotA)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// The target of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard stream of this log.
    Standard,
    /// A file, which is appended to.
    File(PathBuf),
}

impl LogTarget {
    /// The file's path; `None` for a standard stream.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Standard => None,
            Self::File(path) => Some(path.clone()),
        }
    }
}

impl Value for LogTarget {
    const NOUN: &'static str = "a file, or - for the standard stream";
    const VALUE_NAME: &'static str = "FILE";
    const COMPLETES: Completes = Completes::Path;

    fn parse(text: &str) -> Result<Self, Cause> {
        match text.trim() {
            "" => Err(Cause::NotA),
            "-" => Ok(Self::Standard),
            _ => PathBuf::parse(text).map(Self::File),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Standard => "-".to_owned(),
            Self::File(path) => path.show(),
        }
    }
}

text_form!(LogTarget);
