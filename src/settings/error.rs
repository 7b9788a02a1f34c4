//! What can be wrong with what the operator said.

use std::io;
use std::path::PathBuf;

use super::value::Refused;

/// What is wrong, in one line; the way out is the [`hint`](Error::hint).
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::error_impl_error,
    reason = "settings::Error is its name everywhere"
)]
pub enum Error {
    /// There is no such flag.
    #[error("unknown flag {flag}")]
    UnknownFlag {
        /// As it was given.
        flag: String,
        /// A flag that looks like it.
        nearest: Option<String>,
    },
    /// The beginning of several flags was given.
    #[error("ambiguous flag {flag}")]
    AmbiguousFlag {
        /// As it was given.
        flag: String,
        /// What it could mean.
        candidates: Vec<String>,
    },
    /// A flag that needs a value stands alone.
    #[error("{flag} needs a value")]
    MissingValue {
        /// Which.
        flag: String,
    },
    /// A flag that takes no value was given one.
    #[error("{flag} takes no value")]
    SurplusValue {
        /// Which.
        flag: String,
    },
    /// Two apps were named.
    #[error("two apps are named, '{first}' and '{second}'")]
    SecondApp {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A value is not what it must be.
    #[error("{at}: {refused}")]
    Value {
        /// The flag or the variable.
        at: String,
        /// The value and the reason.
        refused: Refused,
    },
    /// A text is not UTF-8.
    #[error("{at} is not valid UTF-8: '{text}'")]
    NotText {
        /// What it is.
        at: String,
        /// As far as it can be shown.
        text: String,
    },
    /// The quotes of a variable with a command line do not match.
    #[error("{variable} {what}")]
    Quoting {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// Something is wrong with the command line in a variable.
    #[error("{variable}: {error}")]
    Within {
        /// The variable.
        variable: &'static str,
        /// What is wrong in it.
        #[source]
        error: Box<Error>,
    },
    /// A file says something of a setting that does not exist.
    #[error("unknown setting '{name}'")]
    UnknownSetting {
        /// The name.
        name: String,
        /// A setting that looks like it.
        nearest: Option<&'static str>,
    },
    /// A file says two things of one setting.
    #[error("'{0}' is said twice")]
    Twice(String),
    /// A text is no YAML.
    #[error("{0}")]
    Yaml(String),
    /// Something is wrong in a file.
    #[error("{place}: {error}")]
    InFile {
        /// The file, with line and column where they are known.
        place: String,
        /// What is wrong there.
        #[source]
        error: Box<Error>,
        /// It is a Python file.
        python: bool,
    },
    /// A configuration file cannot be read.
    #[error("Failed to read config file: {file}: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The code in a configuration file failed.
    #[error("Failed to read config file: {place}: {text}")]
    ConfigRaised {
        /// The file, and the line where it is known.
        place: String,
        /// The exception.
        text: String,
        /// Where it came from.
        traceback: String,
    },
    /// No interpreter evaluated a configuration file.
    #[error("Failed to read config file: {file}: {why}")]
    NotEvaluated {
        /// The file.
        file: String,
        /// Why not.
        why: String,
    },
    /// gunicorn has it, rcorn will not have it.
    #[error("{flag} is not possible: {reason}")]
    Never {
        /// The flag, with its value.
        flag: String,
        /// Why not.
        reason: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The worker class is not ours.
    #[error("{at}: worker class '{class}' is not possible: {reason}")]
    WorkerClass {
        /// The flag or the variable.
        at: String,
        /// The class.
        class: String,
        /// Why not.
        reason: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// Nothing to serve.
    #[error("No application module specified.")]
    NoApp,
    /// The working directory cannot be used.
    #[error("cannot change to the directory {}: {source}", path.display())]
    Chdir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory we were started in cannot be found out.
    #[error("cannot find out the current directory: {source}")]
    LaunchDirectory {
        /// Why.
        source: io::Error,
    },
    /// The command line is wrong in a way that has no name here.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        const ALL: &str = "all flags: rcorn --help";
        match self {
            Self::UnknownFlag {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean {nearest}? {ALL}")),
            Self::UnknownFlag { nearest: None, .. } | Self::Usage(_) => Some(ALL.to_owned()),
            Self::AmbiguousFlag { candidates, .. } => {
                Some(format!("it could mean {}", candidates.join(", ")))
            }
            Self::MissingValue { flag } => Some(format!(
                "give it after a blank or an equals sign: {flag}=VALUE"
            )),
            Self::SurplusValue { flag } => Some(format!("write {flag} alone")),
            Self::SecondApp { .. } => {
                Some("one rcorn serves one app; start another for the second".to_owned())
            }
            Self::Value { refused, .. } => refused
                .hint
                .clone()
                .or_else(|| Some("its meaning and default: rcorn --help".to_owned())),
            Self::NotText { .. } => Some("use names in UTF-8".to_owned()),
            Self::Quoting { .. } => {
                Some("it is split into words as a shell does; quote a quote by \\".to_owned())
            }
             Self::UnknownSetting { nearest, .. } => Some(nearest.map_or_else(
                || "all settings: man rcorn.yaml".to_owned(),
                |nearest| format!("did you mean {nearest}?"),
            )),
            Self::Twice(_) => Some("say it once; the file would not show which one counts".to_owned()),
            Self::Yaml(_) => Some("a line is NAME: VALUE; indent with blanks; quote texts that look like something else".to_owned()),
            Self::Within { error, .. } | Self::InFile { error, .. } => error.hint(),
            Self::Unreadable { .. } => Some("-c must name a file that exists and may be read".to_owned()),
            Self::ConfigRaised { .. } => Some("mend the line, or keep code that needs the app out of this file".to_owned()),
            Self::NotEvaluated { .. } => {
                Some("a Python file is read by the Python that runs the app; see --python, or use rcorn.yaml".to_owned())
            }
            Self::Never { instead, .. }
            | Self::WorkerClass { instead, .. } => Some((*instead).to_owned()),
            Self::NoApp => {
                Some("name the app as module:callable, for example: rcorn shop.wsgi:app".to_owned())
            }
            Self::Chdir { .. } => {
                Some("--chdir must name a directory that exists and may be entered".to_owned())
            }
            Self::LaunchDirectory { .. } => {
                Some("start rcorn from a directory that still exists".to_owned())
            }
        }
    }

    /// More than one line of it: the traceback of Python code that failed.
    pub fn detail(&self) -> Option<&str> {
        if let Self::ConfigRaised { traceback, .. } = self {
            Some(traceback)
        } else {
            None
        }
    }

    /// The exit code: 2 when the words cannot be understood, as with gunicorn's parser, and 1 when they are
    /// understood but cannot be followed, as with its checks.
    pub fn code(&self) -> u8 {
        match self {
            // Whoever starts gunicorn from a script knows 1 for whatever is wrong with its file.
            Self::InFile { python: true, .. }
            | Self::Unreadable { .. }
            | Self::ConfigRaised { .. }
            | Self::NotEvaluated { .. }
            | Self::NoApp
            | Self::Chdir { .. }
            | Self::LaunchDirectory { .. }
            | Self::WorkerClass { .. } => 1,
            Self::Within { error, .. } | Self::InFile { error, .. } => error.code(),
            Self::UnknownFlag { .. }
            | Self::AmbiguousFlag { .. }
            | Self::MissingValue { .. }
            | Self::SurplusValue { .. }
            | Self::SecondApp { .. }
            | Self::Value { .. }
            | Self::NotText { .. }
            | Self::Quoting { .. }
            | Self::UnknownSetting { .. }
            | Self::Twice(_)
            | Self::Yaml(_)
            | Self::Never { .. }
            | Self::Usage(_) => 2,
        }
    }
}
