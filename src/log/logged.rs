//! Counts the records of the error log by severity, for statsd: gunicorn counts each call of its
//! logger, whether its level is written or not.

use std::sync::OnceLock;

use rcorn_types::Level;

/// Is called for each of them.
static COUNT: OnceLock<Box<dyn Fn(Logged) + Send + Sync>> = OnceLock::new();

/// What statsd counts of the error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// A CRITICAL record.
    Critical,
    /// An ERROR record that is about no exception.
    Error,
    /// A WARNING record.
    Warning,
    /// An ERROR record about an exception.
    Exception,
}

impl Logged {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Error, Self::Warning, Self::Exception];

    /// Its name in gunicorn's metric.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Exception => "exception",
        }
    }

    /// Its place in [`Logged::ALL`].
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum, in the order of `ALL`"
    )]
    pub const fn number(self) -> usize {
        self as usize
    }

    /// What a record of this level counts as, if as anything.
    #[must_use]
    pub const fn of(level: Level) -> Option<Self> {
        match level {
            Level::Debug | Level::Info => None,
            Level::Warning => Some(Self::Warning),
            Level::Error => Some(Self::Error),
            Level::Critical => Some(Self::Critical),
        }
    }
}

/// Calls `count` for each record from now on, from whichever thread logs. Only the first call has
/// an effect.
pub fn count_logged(count: impl Fn(Logged) + Send + Sync + 'static) {
    COUNT.get_or_init(|| Box::new(count));
}

/// Counts a record that is written elsewhere, such as by a logger of Python.
pub fn note_logged(kind: Logged) {
    if let Some(count) = COUNT.get() {
        count(kind);
    }
}
