//! What the arbiter says: values, so that tests compare values; their words are gunicorn's where gunicorn
//! has a line for it, because people grep for them.

use core::fmt;

use serde::{Deserialize, Serialize};

use rcorn_types::Level;

use super::event::{Exit, Generation, Pid};

/// Why we killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Killed {
    /// Its request took longer than `timeout`.
    Silent,
    /// It was not ready within `boot_timeout`.
    Boot,
    /// It did not leave within `graceful_timeout`.
    Leaving,
    /// It did not leave at once when it had to.
    Quitting,
}

impl Killed {
    fn words(self) -> &'static str {
        match self {
            Self::Silent => "because it did not get on within its timeout",
            Self::Boot => "because it was not ready in time",
            Self::Leaving => "because it did not finish within graceful_timeout",
            Self::Quitting => "because it did not leave at once",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// HUP was taken up.
    HangUp,
    /// A request takes too long.
    Timeout(Pid),
    /// A worker that seemed hung went on before it was killed.
    GotOn(Pid),
    /// A worker ended although nobody asked it to.
    Ended(Pid, Exit),
    /// A worker ended because we killed it.
    WeKilled(Pid, Killed),
    /// A worker was not ready in time.
    BootTimeout(Pid),
    /// A template was not ready in time.
    TemplateTimeout(Pid),
    /// A template that was ready does not fork any more.
    TemplateMute(Pid),
    /// A template did not end when it was told to.
    TemplateStays(Pid),
    /// A template ended although it was needed.
    TemplateEnded(Pid, Exit),
    /// A template could not be started.
    TemplateNotStarted(String),
    /// No worker could be forked.
    ForkFailed(String),
    /// Workers die young: the next is forked after so many milliseconds.
    Throttled(u128),
    /// The settings are bad; the old ones stay.
    NotLoaded(String),
    /// The reload is given up; this generation serves on.
    ReloadFailed(String, Generation),
    /// The reload was given up after it had begun to serve.
    RolledBack(Generation, Generation),
    /// All workers are of the new generation.
    Reloaded(Generation),
    /// A reload takes the place of one that was not ready.
    ReloadReplaced,
    /// A reload will follow the one under way.
    ReloadLater,
    /// An order that a stopping server does not take.
    IgnoredWhileStopping(&'static str),
    /// How many workers there shall be.
    Workers(u32),
    /// TERM, with a `drain_delay` of so many seconds.
    StopDelayed(u64),
    /// INT or QUIT during a graceful stop.
    QuickShutdown,
    /// WINCH.
    Dismissed,
    /// USR2 while an upgrade is under way.
    UpgradeExists,
    /// USR2 failed.
    UpgradeNotStarted(String),
    /// The new arbiter has gone.
    UpgradeEnded(Exit),
    /// The end; `true`: not because somebody asked.
    ShuttingDown(bool),
    /// Why nothing could boot.
    Failed(&'static str),
}

impl Note {
    /// How loud it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Timeout(_) => Level::Critical,
            Self::Ended(_, Exit::Code(0) | Exit::Signal(TERM))
            | Self::HangUp
            | Self::Reloaded(_)
            | Self::ReloadLater
            | Self::ReloadReplaced
            | Self::GotOn(_)
            | Self::QuickShutdown
            | Self::StopDelayed(_)
            | Self::Dismissed
            | Self::UpgradeEnded(Exit::Code(0))
            | Self::ShuttingDown(false) => Level::Info,
            Self::Ended(_, Exit::Code(_) | Exit::Signal(KILL))
            | Self::WeKilled(..)
            | Self::BootTimeout(_)
            | Self::TemplateTimeout(_)
            | Self::TemplateMute(_)
            | Self::TemplateStays(_)
            | Self::TemplateNotStarted(_)
            | Self::ForkFailed(_)
            | Self::NotLoaded(_)
            | Self::ReloadFailed(..)
            | Self::RolledBack(..)
            | Self::UpgradeNotStarted(_)
            | Self::ShuttingDown(true)
            | Self::Failed(_) => Level::Error,
            Self::Ended(_, Exit::Signal(_))
            | Self::TemplateEnded(..)
            | Self::Throttled(_)
            | Self::IgnoredWhileStopping(_)
            | Self::UpgradeEnded(_)
            | Self::UpgradeExists => Level::Warning,
            Self::Workers(_) => Level::Debug,
        }
    }
}

const KILL: i32 = 9;
const TERM: i32 = 15;

impl Note {
    /// The words of notes that say nothing but themselves.
    fn fixed(&self) -> &'static str {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the others have words with something in them"
        )]
        match self {
            Self::HangUp => "Hang up: Master",
            Self::ReloadReplaced => {
                "A new reload takes the place of the one that was not ready yet."
            }
            Self::ReloadLater => "Another reload follows the one under way.",
            Self::QuickShutdown => "Quick shutdown requested",
            Self::Dismissed => "graceful stop of workers",
            Self::UpgradeExists => "USR2 signal ignored. Child exists.",
            Self::ShuttingDown(_) => "Shutting down: Master",
            _ => "",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(pid) => write!(f, "WORKER TIMEOUT (pid:{pid})"),
            Self::GotOn(pid) => write!(f, "Worker (pid:{pid}) got on and stays."),
            Self::Ended(pid, Exit::Code(0)) => write!(f, "Worker (pid:{pid}) left by itself."),
            Self::Ended(pid, exit) => write!(f, "Worker (pid:{pid}) {exit}"),
            Self::WeKilled(pid, why) => {
                write!(f, "Worker (pid:{pid}) was killed {}.", why.words())
            }
            Self::BootTimeout(pid) => {
                write!(f, "Worker (pid:{pid}) was not ready within boot_timeout.")
            }
            Self::TemplateTimeout(pid) => {
                write!(
                    f,
                    "Template (pid:{pid}) was not ready within boot_timeout: the app's import hangs or is slow."
                )
            }
            Self::TemplateMute(pid) => write!(f, "Template (pid:{pid}) hangs (a hook?): replaced."),
            Self::TemplateStays(pid) => {
                write!(
                    f,
                    "Template (pid:{pid}) did not end in time (a hook?): killed."
                )
            }
            Self::TemplateEnded(pid, exit) => write!(f, "Template (pid:{pid}) {exit}"),
            Self::TemplateNotStarted(reason) => write!(f, "Cannot start a template: {reason}"),
            Self::ForkFailed(reason) => write!(f, "Cannot fork a worker: {reason}"),
            Self::Throttled(wait) => {
                write!(
                    f,
                    "Workers end too soon after their start: the next starts in {wait} ms."
                )
            }
            Self::NotLoaded(reason) => write!(f, "Reload refused, nothing has changed: {reason}"),
            Self::ReloadFailed(reason, generation) => {
                write!(
                    f,
                    "Reload failed, generation {} serves on: {reason}",
                    generation.0
                )
            }
            Self::RolledBack(new, old) => write!(
                f,
                "Reload taken back: workers of generation {} ended too soon, generation {} serves on.",
                new.0, old.0
            ),
            Self::Reloaded(Generation(new)) => write!(f, "Reloaded: generation {new} serves."),
            Self::IgnoredWhileStopping(order) => write!(f, "Ignored while stopping: {order}"),
            Self::Workers(count) => write!(f, "{count} workers"),
            Self::StopDelayed(seconds) => {
                write!(
                    f,
                    "Stopping in {seconds} seconds (drain_delay); serving until then."
                )
            }
            Self::UpgradeNotStarted(reason) => write!(f, "Upgrade not started: {reason}"),
            Self::UpgradeEnded(exit) => write!(f, "The new arbiter {exit}"),
            Self::Failed(reason) => write!(f, "Reason: {reason}"),
            Self::HangUp
            | Self::ReloadReplaced
            | Self::ReloadLater
            | Self::QuickShutdown
            | Self::Dismissed
            | Self::UpgradeExists
            | Self::ShuttingDown(_) => f.write_str(self.fixed()),
        }
    }
}

/// What became of a process, in gunicorn's words.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}."),
            Self::Signal(number) => write!(f, "was sent {}!", Name(*number)),
        }
    }
}

/// A signal's name by its number (Linux, the ones that end processes).
struct Name(i32);

impl fmt::Display for Name {
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
