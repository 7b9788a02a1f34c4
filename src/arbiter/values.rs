//! What events, actions and notes carry: ids, settings, and how things end.

use core::fmt;
use core::time::Duration;

use rcorn_types::Level;
use serde::{Deserialize, Serialize};

/// A worker. An id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// The index of a cell of the scoreboard. Used again after the worker that had it was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellIndex(pub u16);

/// The settings and code that a template and its workers were started with. Each reload makes the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

/// The process id of a child that has not been reaped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The settings that the arbiter needs. A new field needs `#[serde(default)]`: a build that does
/// not have it may have saved the state that this one reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How many workers are to serve.
    pub workers: u32,
    /// The longest time for a request; `None`: no limit.
    pub timeout: Option<Duration>,
    /// The longest time from the fork of a worker (or the start of a template) to ready; `None`: no
    /// limit.
    pub boot_timeout: Option<Duration>,
    /// How long the app may take to unwind a request that exceeds `timeout`; zero: it is not asked
    /// to. Not written when it is zero, as the first build has no such thing.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub abort_timeout: Duration,
    /// How much longer a worker with threads may take, for the requests of its other threads.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub unwind_grace: Duration,
    /// The longest time for a worker to finish its requests once it is asked to leave.
    pub graceful_timeout: Duration,
    /// How long a reload is on probation, before the old generation is given up.
    pub reload_watch: Duration,
    /// The age at which a worker is replaced; `None`: never.
    pub max_age: Option<Duration>,
    /// Whether a worker that is to be replaced may leave before its replacement is ready.
    #[serde(default, skip_serializing_if = "OldFirst::is_never")]
    pub old_first: OldFirst,
    /// How long to serve on after the order to stop.
    pub drain_delay: Duration,
    /// Stay up although the app has never booted: the next reload may fix it. Without it, a boot
    /// failure before anything was ready ends the server.
    #[serde(rename = "patient")]
    pub tolerate_boot_failure: bool,
    /// Where the app is imported.
    #[serde(default, skip_serializing_if = "Import::is_default")]
    pub import: Import,
    /// How many more workers import the app and wait until one is missing, if each worker imports
    /// it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spares: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where the app of a generation is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Import {
    /// In the template, before it is ready.
    #[default]
    Template,
    /// In each worker.
    Workers,
    /// In one worker, which looks at what the import did: it becomes the template if that may be
    /// shared. If not, the others import the app, too.
    FirstWorker,
}

impl Import {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Policy {
    /// No workers and no limits: before the settings are known.
    pub(super) const NONE: Self = Self {
        workers: 0,
        timeout: None,
        boot_timeout: None,
        abort_timeout: Duration::ZERO,
        unwind_grace: Duration::ZERO,
        graceful_timeout: Duration::ZERO,
        reload_watch: Duration::ZERO,
        max_age: None,
        old_first: OldFirst::Never,
        drain_delay: Duration::ZERO,
        tolerate_boot_failure: false,
        import: Import::Template,
        spares: 0,
    };

    /// How long a worker may take to end after the app was asked to unwind a request; zero: the app
    /// is not asked to. `is_stopped`: it does not run (SIGSTOP), so no other request of it ends.
    pub(super) fn unwind_limit(&self, is_stopped: bool) -> Duration {
        if self.abort_timeout.is_zero() || is_stopped {
            self.abort_timeout
        } else {
            self.abort_timeout.saturating_add(self.unwind_grace)
        }
    }
}

/// Whether a worker that is to be replaced may leave before its replacement is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OldFirst {
    /// It may not.
    #[default]
    Never,
    /// As [`OldFirst::AfterFailures`], if one worker is wanted; else as [`OldFirst::Never`].
    Auto,
    /// Once some replacements could not start.
    AfterFailures,
    /// It always does, as under gunicorn.
    Always,
}

impl OldFirst {
    /// Whether this is what builds do that have no such setting; it is not saved.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// `exit(code)`.
    Code(i32),
    /// Ended by this signal number.
    Signal(i32),
}

/// Why a template or worker could not boot. The process that failed has already logged the full
/// text (a traceback).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFailure {
    /// Its kind, which decides on the exit code.
    pub kind: BootFailureKind,
    /// One line for systemd's STATUS, `rcorn ctl` and the log.
    pub summary: String,
}

impl BootFailure {
    /// Something was not ready within `boot_timeout`.
    pub(super) fn timeout(summary: &str) -> Self {
        Self {
            kind: BootFailureKind::Boot,
            summary: summary.to_owned(),
        }
    }
}

/// The kinds of boot failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFailureKind {
    /// The import raised an exception, or a worker ended before it was ready: exit code 3
    /// (gunicorn's `WORKER_BOOT_ERROR`).
    Boot,
    /// The app does not exist or is not callable: exit code 4 (gunicorn's `APP_LOAD_ERROR`).
    App,
    /// The interpreter could not be started, or the system refused something: exit code 1.
    Host,
}

/// Why a worker is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireReason {
    /// It has served `max_requests`.
    MaxRequests,
    /// It has grown beyond `max_worker_memory`.
    Memory,
    /// It is older than `max_worker_age`.
    Age,
    /// The operator ordered it.
    Ordered,
    /// Another worker has become the template since it was forked.
    Refork,
}

impl RetireReason {
    /// The worker has already logged its own reasons, and the driver what an operator orders.
    pub(super) fn level(self) -> Level {
        match self {
            Self::MaxRequests | Self::Memory | Self::Ordered | Self::Refork => Level::Debug,
            Self::Age => Level::Info,
        }
    }

    /// What follows `will be replaced: `.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::MaxRequests => "it has served max_requests",
            Self::Memory => "it has outgrown max_worker_memory",
            Self::Age => "it has reached max_worker_age",
            Self::Ordered => "an operator ordered it",
            Self::Refork => "there is a template that has served requests",
        }
    }
}

/// Why the arbiter leaves: it decides on the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Someone ordered a stop: exit code 0.
    #[serde(rename = "Asked")]
    Stopped,
    /// The system refused something that is needed: exit code 1.
    #[serde(rename = "Refused")]
    HostRefused,
    /// No worker could boot: exit code 3.
    #[serde(rename = "NoBoot")]
    BootFailed,
    /// The app could not be loaded: exit code 4.
    #[serde(rename = "NoApp")]
    AppNotLoaded,
}

impl Outcome {
    /// What follows `Reason: `.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Stopped => "A stop was ordered.",
            Self::HostRefused => "The system refused something that is needed; see above.",
            Self::BootFailed => "Worker failed to boot.",
            Self::AppNotLoaded => "App failed to load.",
        }
    }
}
