//! Settings with a handful of answers, and where a log is written.

use std::path::PathBuf;

pub use rcorn_types::Level;

use super::refusal::Cause;
use super::table::Completes;
use super::value::{Value, text_form};

/// An enum whose variants are words of the command line. Case does not matter, as in gunicorn.
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
        /// Imported once, unless the imported app turns out to be unsafe to fork.
        Auto = "auto",
        /// Imported once, come what may.
        On = "on" | "true",
        /// Each worker imports it.
        Off = "off" | "false",
    }
}

choices! {
    /// How changed files are found.
    ReloadEngine, "auto, inotify or poll", "ENGINE" {
        /// By inotify wherever that works.
        Auto = "auto",
        /// The kernel tells.
        Inotify = "inotify",
        /// By looking at them once a second.
        Poll = "poll",
    }
}

choices! {
    /// What becomes of the accept queue at a stop.
    DrainMode, "a way to stop", "HOW" {
        /// It is served.
        Queue = "queue",
        /// It is not.
        Immediate = "immediate",
        /// All goes on for a while first.
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
    /// What is spoken on an address.
    Protocol, "a protocol", "PROTOCOL" {
        /// HTTP/1.1 and 1.0.
        Http = "http",
        /// uwsgi, the binary protocol of nginx's `uwsgi_pass`.
        Uwsgi = "uwsgi",
    }
}

choices! {
    /// Which PROXY headers are taken at the beginning of a connection. gunicorn's older settings
    /// files say true or false.
    ProxyProtocol, "off, v1, v2 or auto", "MODE" {
        /// None.
        Off = "off" | "false",
        /// The one in text.
        V1 = "v1",
        /// The binary one.
        V2 = "v2",
        /// Both.
        Auto = "auto" | "true",
    }
}

choices! {
    /// What becomes of a field whose name has an underscore: in the environ it could pass for
    /// another.
    HeaderMap, "a way to treat header names with underscores", "HOW" {
        /// The app does not see it.
        Drop = "drop",
        /// The request is refused.
        Refuse = "refuse",
        /// The app sees it, and cannot tell it from the one with hyphens.
        Dangerous = "dangerous",
    }
}

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

/// Where a log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard stream that belongs to the log.
    Standard,
    /// A file that is appended to.
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
