//! What the arbiter logs: values, so that tests compare values. The words are gunicorn's where
//! gunicorn has a line for it, because people search for them.

use core::fmt;
use core::time::Duration;

use rcorn_types::Level;
use serde::{Deserialize, Serialize};

use super::values::{Exit, Generation, Outcome, Pid, RetireReason};

/// `SIGKILL`.
const KILL: i32 = 9;
/// `SIGTERM`.
const TERM: i32 = 15;

/// One record of the error log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// About one worker.
    Worker(Pid, WorkerNote),
    /// About one template.
    Template(Pid, TemplateNote),
    /// About a reload.
    Reload(ReloadNote),
    /// About a refork.
    Refork(ReforkNote),
    /// About an upgrade.
    Upgrade(UpgradeNote),
    /// About a stop.
    Stop(StopNote),
    /// This many workers are wanted.
    Workers(u32),
    /// All workers were dismissed (WINCH).
    Dismissed,
    /// A worker is to be replaced.
    Retiring(Pid, RetireReason),
    /// Workers die young: the next is forked after this time.
    Throttled(Duration),
    /// A worker could not be forked.
    ForkFailed(String),
    /// A template could not be started.
    TemplateNotStarted(String),
}

/// What happened to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerNote {
    /// Its request takes longer than `timeout`.
    Timeout,
    /// It was taken for hung, but made progress before it was killed, and serves on.
    Recovered,
    /// The app has ended the request that took longer than `timeout`, and the worker has left.
    Unwound,
    /// The app has not ended the request that took longer than `timeout`, and the worker has left
    /// all the same.
    NotUnwound,
    /// It was not ready within `boot_timeout`.
    BootTimeout,
    /// It is to be replaced, but so many replacements could not start.
    NotReplaced(u32),
    /// It leaves before its replacement is ready, because so many could not start.
    LeavesFirst(u32),
    /// It ended although nobody had asked it to.
    Ended(Exit),
    /// It ended because the arbiter killed it.
    Killed(KillReason),
}

/// What happened to a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateNote {
    /// It was not ready within `boot_timeout`.
    BootTimeout,
    /// It was ready, but does not fork any more.
    DoesNotFork,
    /// It did not leave when it was told to.
    DoesNotLeave,
    /// It ended although it was needed.
    Ended(Exit),
    /// It ended before it was ready, and without a report: Python could not be used.
    NoPython(Exit),
}

/// How far a reload has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadNote {
    /// HUP was taken up.
    Begun,
    /// It replaces one that was not ready yet.
    Replaced,
    /// It will follow the one under way.
    Queued,
    /// The settings cannot be used, for this reason.
    NotLoaded(String),
    /// It is given up for this reason; this generation keeps serving.
    Failed(String, Generation),
    /// The first generation had begun to serve; the second is in force again.
    RolledBack(Generation, Generation),
    /// All workers are of this generation, and it cannot be taken back any more.
    Done(Generation),
}

/// How far a refork has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReforkNote {
    /// This worker is to become the template.
    Begun(Pid),
    /// It is the template.
    Promoted(Pid),
    /// It does not become the template, or none can, for this reason.
    Refused(String),
    /// All workers are forks of it.
    Done,
}

/// What happened to an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeNote {
    /// There is one already.
    Exists,
    /// It begins when the reload under way is over.
    Waits,
    /// It could not be started, for this reason.
    NotStarted(String),
    /// The new arbiter has ended.
    Ended(Exit),
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopNote {
    /// TERM, with this `drain_delay`.
    Delayed(Duration),
    /// An order was ignored because of the stop.
    Ignored(&'static str),
    /// INT, QUIT or a second TERM during a graceful stop.
    Quick,
    /// Everybody has left, because somebody ordered it.
    ShuttingDown,
    /// Everybody has left, because nothing could boot.
    ShuttingDownAfterFailure,
    /// Why nothing could boot.
    Reason(Outcome),
}

/// Why the arbiter killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillReason {
    /// Its request took longer than `timeout`.
    #[serde(rename = "Silent")]
    Hung,
    /// It was not ready within `boot_timeout`.
    #[serde(rename = "Boot")]
    BootTimeout,
    /// It did not leave within `graceful_timeout`.
    #[serde(rename = "Leaving")]
    GracefulTimeout,
    /// It did not leave at once when it had to.
    #[serde(rename = "Quitting")]
    QuickTimeout,
}

impl Note {
    /// How severe it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Worker(_, note) => note.level(),
            Self::Template(_, note) => note.level(),
            Self::Reload(note) => note.level(),
            Self::Refork(note) => note.level(),
            Self::Upgrade(note) => note.level(),
            Self::Stop(note) => note.level(),
            Self::Workers(_) => Level::Debug,
            Self::Dismissed => Level::Info,
            Self::Retiring(_, why) => why.level(),
            Self::Throttled(_) => Level::Warning,
            Self::ForkFailed(_) | Self::TemplateNotStarted(_) => Level::Error,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(pid, WorkerNote::Timeout) => write!(f, "WORKER TIMEOUT (pid:{pid})"),
            Self::Worker(pid, note) => write!(f, "Worker (pid:{pid}) {note}"),
            Self::Template(pid, note) => write!(f, "Template (pid:{pid}) {note}"),
            Self::Reload(note) => write!(f, "{note}"),
            Self::Refork(note) => write!(f, "{note}"),
            Self::Upgrade(note) => write!(f, "{note}"),
            Self::Stop(note) => write!(f, "{note}"),
            Self::Workers(count) => write!(f, "{count} workers"),
            Self::Dismissed => f.write_str("graceful stop of workers"),
            Self::Retiring(pid, why) => {
                write!(f, "Worker (pid:{pid}) will be replaced: {}.", why.words())
            }
            Self::Throttled(wait) => write!(
                f,
                "Workers exit too soon after they start: the next one starts in {} ms.",
                wait.as_millis()
            ),
            Self::ForkFailed(reason) => write!(f, "Cannot fork a worker: {reason}"),
            Self::TemplateNotStarted(reason) => write!(f, "Cannot start a template: {reason}"),
        }
    }
}

impl WorkerNote {
    /// This note about the process with this pid.
    pub(super) fn of(self, pid: Pid) -> Note {
        Note::Worker(pid, self)
    }

    fn level(self) -> Level {
        match self {
            Self::Timeout => Level::Critical,
            Self::Recovered | Self::Unwound | Self::Ended(Exit::Code(0) | Exit::Signal(TERM)) => {
                Level::Info
            }
            Self::BootTimeout
            | Self::NotUnwound
            | Self::Killed(_)
            | Self::Ended(Exit::Code(_) | Exit::Signal(KILL)) => Level::Error,
            Self::NotReplaced(_) | Self::LeavesFirst(_) | Self::Ended(Exit::Signal(_)) => {
                Level::Warning
            }
        }
    }
}

/// What follows `Worker (pid:N) `.
impl fmt::Display for WorkerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out."),
            Self::Recovered => f.write_str("made progress and keeps running."),
            Self::Unwound => f.write_str("ended the request that timed out, and exited."),
            Self::NotUnwound => {
                f.write_str("exited, though the request that timed out has not ended.")
            }
            Self::BootTimeout => f.write_str("was not ready within boot_timeout."),
            Self::NotReplaced(count) => write!(
                f,
                "stays although it is to be replaced: its replacement could not start ({count} so far)."
            ),
            Self::LeavesFirst(count) => write!(
                f,
                "leaves before its replacement is ready: {count} could not start (retire_old_first)."
            ),
            Self::Ended(Exit::Code(0)) => f.write_str("exited by itself."),
            Self::Ended(exit) => write!(f, "{exit}"),
            Self::Killed(why) => write!(f, "was killed because {}.", why.words()),
        }
    }
}

impl TemplateNote {
    /// This note about the process with this pid.
    pub(super) fn of(self, pid: Pid) -> Note {
        Note::Template(pid, self)
    }

    fn level(self) -> Level {
        match self {
            Self::BootTimeout | Self::DoesNotFork | Self::DoesNotLeave => Level::Error,
            Self::Ended(_) | Self::NoPython(_) => Level::Warning,
        }
    }
}

/// What follows `Template (pid:N) `.
impl fmt::Display for TemplateNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootTimeout => {
                f.write_str("was not ready within boot_timeout: the app's import hangs or is slow.")
            }
            Self::DoesNotFork => f.write_str("does not respond (a hook may hang): replacing it."),
            Self::DoesNotLeave => {
                f.write_str("did not exit in time (a hook or a function for the exit may hang, or it is stopped): killing it.")
            }
            Self::Ended(exit) => write!(f, "{exit}"),
            Self::NoPython(exit) => write!(
                f,
                "{exit} If nothing above says why, Python has written it to standard error."
            ),
        }
    }
}

impl From<ReloadNote> for Note {
    fn from(note: ReloadNote) -> Self {
        Self::Reload(note)
    }
}

impl ReloadNote {
    fn level(&self) -> Level {
        match self {
            Self::Begun | Self::Replaced | Self::Queued | Self::Done(_) => Level::Info,
            Self::NotLoaded(_) | Self::Failed(..) | Self::RolledBack(..) => Level::Error,
        }
    }
}

impl fmt::Display for ReloadNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("Hang up: Master"),
            Self::Replaced => f.write_str("A new reload replaces the one that was not ready yet."),
            Self::Queued => f.write_str("Another reload will follow the one under way."),
            Self::NotLoaded(reason) => {
                write!(f, "Reload refused, nothing has changed: {reason}")
            }
            Self::Failed(reason, Generation(old)) => {
                write!(f, "Reload failed, generation {old} keeps serving: {reason}")
            }
            Self::RolledBack(Generation(new), Generation(old)) => write!(
                f,
                "Reload rolled back: workers of generation {new} exited too soon, generation {old} keeps serving."
            ),
            Self::Done(Generation(new)) => write!(f, "Reloaded: generation {new} serves."),
        }
    }
}

impl From<ReforkNote> for Note {
    fn from(note: ReforkNote) -> Self {
        Self::Refork(note)
    }
}

impl ReforkNote {
    fn level(&self) -> Level {
        match self {
            Self::Begun(_) | Self::Promoted(_) | Self::Done => Level::Info,
            Self::Refused(_) => Level::Warning,
        }
    }
}

impl fmt::Display for ReforkNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun(pid) => write!(f, "Worker (pid:{pid}) is to become the template."),
            Self::Promoted(pid) => write!(
                f,
                "Worker (pid:{pid}) is the template now; the other workers are replaced."
            ),
            Self::Refused(reason) => write!(f, "Not reforking: {reason}"),
            Self::Done => f.write_str("Reforked: all workers are forks of the new template."),
        }
    }
}

impl From<UpgradeNote> for Note {
    fn from(note: UpgradeNote) -> Self {
        Self::Upgrade(note)
    }
}

impl UpgradeNote {
    fn level(&self) -> Level {
        match self {
            Self::Waits | Self::Ended(Exit::Code(0)) => Level::Info,
            Self::Exists | Self::Ended(Exit::Code(_) | Exit::Signal(_)) => Level::Warning,
            Self::NotStarted(_) => Level::Error,
        }
    }
}

impl fmt::Display for UpgradeNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("USR2 signal ignored. Child exists."),
            Self::Waits => f.write_str("The upgrade begins after the reload under way."),
            Self::NotStarted(reason) => write!(f, "Upgrade not started: {reason}"),
            Self::Ended(exit) => write!(f, "The new arbiter {exit}"),
        }
    }
}

impl From<StopNote> for Note {
    fn from(note: StopNote) -> Self {
        Self::Stop(note)
    }
}

impl StopNote {
    fn level(self) -> Level {
        match self {
            Self::Delayed(_) | Self::Quick | Self::ShuttingDown => Level::Info,
            Self::Ignored(_) => Level::Warning,
            Self::ShuttingDownAfterFailure | Self::Reason(_) => Level::Error,
        }
    }
}

impl fmt::Display for StopNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delayed(delay) => write!(
                f,
                "Stopping in {} seconds (drain_delay); serving until then.",
                delay.as_secs()
            ),
            Self::Ignored(order) => write!(f, "Ignored while stopping: {order}"),
            Self::Quick => f.write_str("Quick shutdown requested"),
            Self::ShuttingDown | Self::ShuttingDownAfterFailure => {
                f.write_str("Shutting down: Master")
            }
            Self::Reason(outcome) => write!(f, "Reason: {}", outcome.words()),
        }
    }
}

impl KillReason {
    /// What follows `was killed because `.
    fn words(self) -> &'static str {
        match self {
            Self::Hung => "its request took longer than timeout",
            Self::BootTimeout => "it was not ready within boot_timeout",
            Self::GracefulTimeout => "it did not finish within graceful_timeout",
            Self::QuickTimeout => "it did not exit at once",
        }
    }
}

/// How a process ended, in gunicorn's words.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}."),
            Self::Signal(number) => write!(f, "was sent {}!", SignalName(*number)),
        }
    }
}

/// Shows a signal by its name (the signals of signal(7) that end processes).
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(i32, &str); 16] = [
            (1, "SIGHUP"),
            (2, "SIGINT"),
            (3, "SIGQUIT"),
            (4, "SIGILL"),
            (5, "SIGTRAP"),
            (6, "SIGABRT"),
            (7, "SIGBUS"),
            (8, "SIGFPE"),
            (KILL, "SIGKILL"),
            (10, "SIGUSR1"),
            (11, "SIGSEGV"),
            (12, "SIGUSR2"),
            (13, "SIGPIPE"),
            (14, "SIGALRM"),
            (TERM, "SIGTERM"),
            (24, "SIGXCPU"),
        ];
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}
