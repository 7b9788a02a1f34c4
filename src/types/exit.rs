//! The exit statuses of `rcorn`, each with its name. Only `main` turns one into the end of the
//! process.

/// How a command of rcorn ends. 3 and 4 are gunicorn's; the rest is usual on Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitStatus {
    /// It was stopped because someone asked, or it did what it was asked to do.
    Success = 0,
    /// It could not go on: the system refused something, or an order was not carried out.
    Failure = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// No worker could boot, and none was ever ready (`Arbiter.WORKER_BOOT_ERROR` of gunicorn).
    BootFailed = 3,
    /// The app could not be loaded, and none was ever ready (`Arbiter.APP_LOAD_ERROR` of gunicorn).
    AppNotLoaded = 4,
}

impl ExitStatus {
    /// The number that the parent process sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::BootFailed => 3,
            Self::AppNotLoaded => 4,
        }
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
