//! Why a server does not start, and the remedy.

use std::io;
use std::path::PathBuf;

use rcorn_log::FormatError;
use rcorn_types::{CommandError, ExitStatus, remedy};

use super::control::ControlError;
use super::interpreter::InterpreterError;
use super::listener::ListenError;
use super::monitor::MonitorError;
use super::pidfile::PidFileError;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No Python.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// Another instance.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// A log file, a user or a group.
    #[error("{0}")]
    Logs(String),
    /// The working directory.
    #[error("cannot change to {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The form of an access-log line.
    #[error("--access-logformat: {0}")]
    AccessFormat(FormatError),
    /// Certificates, or a front that cannot serve; the sentence has the way out in it.
    #[error("{0}")]
    Tls(String),
    /// The control socket.
    #[error(transparent)]
    Control(ControlError),
    /// The status address.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The listeners; the log says more.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A signal ended the start.
    #[error("stopped while starting")]
    Stopped,
    /// The server has logged why it ended, but the log could not be written.
    #[error("the server ended, and {lost} records about it could not be written to {path}")]
    Unsaid {
        /// The error log.
        path: PathBuf,
        /// How many records.
        lost: u64,
        /// The exit status.
        status: ExitStatus,
    },
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// For `map_err`: the system refused `what`.
pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

impl StartError {
    /// The exit status for it: a wrong argument is [`ExitStatus::Usage`], whenever it is found.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::AccessFormat(_) => ExitStatus::Usage,
            Self::Unsaid { status, .. } => *status,
            Self::Interpreter(_)
            | Self::PidFile(_)
            | Self::Logs(_)
            | Self::Directory { .. }
            | Self::Control(_)
            | Self::Monitor(_)
            | Self::Listen(_)
            | Self::Tls(_)
            | Self::Stopped
            | Self::System { .. } => ExitStatus::Failure,
        }
    }

    /// The error as `main` prints it.
    #[must_use]
    pub fn command_error(&self) -> CommandError {
        CommandError {
            what: self.to_string(),
            hint: self.hint(),
            detail: None,
            status: self.exit_status(),
        }
    }

    /// The remedy.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Interpreter(error) => Some(error.hint()),
            Self::PidFile(PidFileError::Running(..)) => {
                Some("stop the other instance, or give another path with --pid".into())
            }
            Self::PidFile(PidFileError::Write { .. }) => {
                Some("it needs a folder that exists, can be written to, and is not full".into())
            }
            Self::AccessFormat(error) => error.hint(),
            Self::Control(ControlError::InUse(_)) => {
                Some("stop the other instance, or give another path with --control-socket".into())
            }
            Self::Control(ControlError::Refused { .. }) => {
                Some("give another path with --control-socket, or say --no-control-socket".into())
            }
            Self::Monitor(_) => Some("choose another address with --status-bind".into()),
            Self::Directory { .. } => Some("check --chdir: it must exist and be readable".into()),
            Self::Listen(ListenError::InUse { .. }) => Some(
                "another server has this address; stop it, or choose another with --bind".into(),
            ),
            Self::Listen(ListenError::Refused { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(
                    "ports below 1024 and others' folders need rights that this user does not have"
                        .into(),
                )
            }
            Self::Listen(ListenError::Refused { source, .. }) if remedy(source).is_some() => {
                remedy(source).map(str::to_owned)
            }
            Self::Listen(_) => Some("check --bind".into()),
            Self::System { source, .. } => remedy(source).map(str::to_owned),
            Self::Unsaid { .. } => {
                Some("make room there; rcorn --check-config shows the reason".into())
            }
            Self::Logs(_) | Self::Tls(_) | Self::Stopped => None,
        }
    }
}
