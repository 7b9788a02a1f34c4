//! Errors in settings: the message, the hint and the exit status.

use std::io;
use std::path::PathBuf;

use rcorn_types::{CommandError, ExitStatus};

use super::origin::Origin;
use super::refusal::Refused;

/// An error in the settings, in one line. [`hint`](Error::hint) is the remedy.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::error_impl_error,
    reason = "settings::Error is its name everywhere"
)]
pub enum Error {
    /// An unknown flag.
    #[error("unknown flag {flag}")]
    UnknownFlag {
        /// As given.
        flag: String,
        /// A similar flag.
        nearest: Option<String>,
    },
    /// An abbreviation of several flags.
    #[error("ambiguous flag {flag}")]
    AmbiguousFlag {
        /// As given.
        flag: String,
        /// The flags that it may stand for.
        candidates: Vec<String>,
    },
    /// A flag without its value.
    #[error("{flag} needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// A value for a flag that takes none.
    #[error("{flag} takes no value")]
    SurplusValue {
        /// The flag.
        flag: String,
    },
    /// Two apps.
    #[error("two apps are named, '{first}' and '{second}'")]
    SecondApp {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A wrong value.
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
        /// The text, with replacement characters.
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
    /// A file sets a setting that does not exist.
    #[error("unknown setting '{name}'")]
    UnknownSetting {
        /// The name.
        name: String,
        /// A similar setting.
        nearest: Option<&'static str>,
    },
    /// A file sets a setting twice.
    #[error("'{0}' is set twice")]
    Twice(String),
    /// A text that is not YAML.
    #[error("{0}")]
    Yaml(String),
    /// A value in a YAML file that cannot be used.
    #[error("{what}")]
    YamlValue {
        /// What is wrong.
        what: String,
        /// The remedy.
        hint: String,
    },
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
    /// The code of a configuration file raised an exception.
    #[error("Failed to read config file: {place}: {text}")]
    ConfigRaised {
        /// The file, and the line where it is known.
        place: String,
        /// The exception.
        text: String,
        /// The traceback.
        traceback: String,
    },
    /// No interpreter has evaluated the configuration file.
    #[error("Failed to read config file: {file}: {why}")]
    NotEvaluated {
        /// The file.
        file: String,
        /// Why not.
        why: String,
    },
    /// A setting of gunicorn that rcorn does not have.
    #[error("{flag} is not supported: {reason}")]
    Unsupported {
        /// The flag, with its value.
        flag: String,
        /// Why not.
        reason: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A worker class that rcorn does not have.
    #[error("{at}: worker class '{class}' is not supported: {reason}")]
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
    /// No app is named.
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
    /// The directory in which rcorn was started is unknown.
    #[error("cannot determine the current directory: {source}")]
    LaunchDirectory {
        /// Why.
        source: io::Error,
    },
    /// Something else is wrong with the command line, in clap's words.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// The remedy.
    pub fn hint(&self) -> Option<String> {
        const ALL_FLAGS: &str = "all flags: rcorn --help";
        let text = match self {
            Self::UnknownFlag {
                nearest: Some(nearest),
                ..
            } => return Some(format!("did you mean {nearest}? {ALL_FLAGS}")),
            Self::UnknownFlag { nearest: None, .. } | Self::Usage(_) => ALL_FLAGS,
            Self::AmbiguousFlag { candidates, .. } => {
                return Some(format!("it could mean {}", candidates.join(", ")));
            }
            Self::MissingValue { flag } => {
                return Some(format!(
                    "give it after a blank or an equals sign: {flag}=VALUE"
                ));
            }
            Self::SurplusValue { flag } => return Some(format!("write {flag} alone")),
            Self::SecondApp { .. } => "one rcorn serves one app; start another for the second",
            Self::Value { refused, .. } => match &refused.hint {
                Some(hint) => hint,
                None => "its meaning and default: rcorn --help",
            },
            Self::NotText { .. } => "use names in UTF-8",
            Self::Quoting { .. } => {
                "it is split into words as a shell does; escape a quote with \\"
            }
            Self::UnknownSetting { nearest: None, .. } => "all settings: man rcorn.yaml",
            Self::UnknownSetting {
                nearest: Some(nearest),
                ..
            } => return Some(format!("did you mean {nearest}?")),
            Self::Twice(_) => "set it once",
            Self::Yaml(_) => {
                "a line is NAME: VALUE; indent with blanks; quote a text that YAML would read as something else"
            }
            Self::Within { error, .. } | Self::InFile { error, .. } => return error.hint(),
            Self::Unreadable { .. } => "-c must name a file that exists and is readable",
            Self::YamlValue { hint, .. } => hint,
            Self::ConfigRaised { text, .. } => hint_for_exception(text),
            Self::NotEvaluated { .. } => {
                "a Python file is read by the Python that runs the app; see --python, or use rcorn.yaml"
            }
            Self::Unsupported { instead, .. } | Self::WorkerClass { instead, .. } => instead,
            Self::NoApp => "name the app as module:callable, for example: rcorn shop.wsgi:app",
            Self::Chdir { .. } => "--chdir must name a directory that exists and can be entered",
            Self::LaunchDirectory { .. } => "start rcorn from a directory that still exists",
        };
        Some(text.to_owned())
    }

    /// The error with the place of the source that caused it. `python`: the configuration file is
    /// Python.
    pub(super) fn with_origin(self, origin: &Origin, python: bool) -> Self {
        match origin {
            Origin::Default | Origin::CommandLine => self,
            Origin::Environment(variable) => Self::Within {
                variable,
                error: Box::new(self),
            },
            Origin::File(..) => Self::InFile {
                place: origin.to_string(),
                error: Box::new(self),
                python,
            },
        }
    }

    /// The error for `main` to print.
    pub fn command_error(&self) -> CommandError {
        CommandError {
            what: self.to_string(),
            hint: self.hint(),
            detail: self.detail().map(str::to_owned),
            status: self.exit_status(),
        }
    }

    /// The traceback, if Python code raised an exception.
    pub fn detail(&self) -> Option<&str> {
        if let Self::ConfigRaised { traceback, .. } = self {
            Some(traceback)
        } else {
            None
        }
    }

    /// The exit status: [`Usage`](ExitStatus::Usage) where gunicorn's parser of arguments fails,
    /// [`Failure`](ExitStatus::Failure) where its checks or its configuration file fail.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            // gunicorn exits with 1 for all errors in its file, and scripts rely on that.
            Self::InFile { python: true, .. }
            | Self::Unreadable { .. }
            | Self::ConfigRaised { .. }
            | Self::NotEvaluated { .. }
            | Self::NoApp
            | Self::Chdir { .. }
            | Self::LaunchDirectory { .. }
            | Self::WorkerClass { .. } => ExitStatus::Failure,
            Self::Within { error, .. } | Self::InFile { error, .. } => error.exit_status(),
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
            | Self::YamlValue { .. }
            | Self::Unsupported { .. }
            | Self::Usage(_) => ExitStatus::Usage,
        }
    }
}

/// The remedy for what the code of a configuration file raised.
fn hint_for_exception(text: &str) -> &'static str {
    if text.contains("No module named 'gunicorn") {
        "rcorn does not need gunicorn: take out the import and the lines that use it (instead of gunicorn.SERVER, set server_header), or install gunicorn for the Python that runs the app"
    } else {
        "fix the line, or keep code that needs the app out of this file"
    }
}
