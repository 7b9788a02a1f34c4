//! The whole vocabulary of the brain on one page: what happened (`Event`), what to do (`Action`), what to
//! say (`Note`, in `note.rs`). The driver turns the world into events and performs actions; nobody else
//! calls the brain. Nothing here may do I/O or read a clock.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

/// One worker in the life of this arbiter. Never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// Index into the scoreboard. Re-used after the worker that had it was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

/// The settings and code a template and its workers were born with; a reload makes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

/// A process id of a child that has not been reaped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The part of the settings that the brain needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How many workers shall serve.
    pub workers: u32,
    /// Longest time a request may take; `None` means no limit.
    pub timeout: Option<Duration>,
    /// Longest time from fork (or start of a template) to ready; `None` means no limit.
    pub boot_timeout: Option<Duration>,
    /// Longest time a worker may take to finish what it holds.
    pub graceful_timeout: Duration,
    /// How long new workers are watched after a reload before the old generation is given up.
    pub reload_watch: Duration,
    /// A worker older than this is replaced; `None` keeps it.
    pub max_age: Option<Duration>,
    /// How long to go on as before after the order to stop.
    pub drain_delay: Duration,
    /// An app that does not boot is no reason to leave, even at the start: a reload will mend it.
    pub patient: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// `exit(code)`.
    Code(i32),
    /// Ended by this signal number.
    Signal(i32),
}

/// Why a template or worker could not boot. The text (a traceback) is already in the log, written by the
/// process that failed; `summary` is its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFailure {
    /// What kind it was: it chooses gunicorn's exit code.
    pub kind: BootFailureKind,
    /// One line for STATUS, `ctl` and the log.
    pub summary: String,
}

/// The kinds of boot failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFailureKind {
    /// The import raised, or a worker left while booting: exit code 3 (`Worker failed to boot.`).
    Boot,
    /// No such attribute, or it is not callable: exit code 4 (`App failed to load.`).
    App,
    /// The interpreter or the host refused: exit code 1.
    Host,
}

/// What an operator asks, by signal or by the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// TERM: drain and leave.
    Stop,
    /// INT, QUIT: leave at once.
    Quit,
    /// HUP: new settings, new code.
    Reload,
    /// TTIN: one worker more.
    More,
    /// TTOU: one worker less, never below one.
    Fewer,
    /// Control: exactly so many workers.
    Scale(u32),
    /// USR1: reopen the log files.
    Reopen,
    /// USR2: start a new arbiter beside this one.
    Upgrade,
    /// WINCH: let all workers go but stay (only when daemonised or upgraded; see the driver's answer).
    Dismiss,
    /// Control: replace this worker.
    Retire(WorkerId),
}

/// Why a worker wants to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireReason {
    /// It has served `max_requests`.
    MaxRequests,
    /// It has grown beyond `max_worker_memory`.
    Memory,
    /// The operator said so.
    Ordered,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The arbiter is set up: listeners are bound, settings are these.
    Started(Policy),
    /// An operator asked.
    Ordered(Order),
    /// Answer to [`Action::Load`]: settings were read and are sound; they wait for [`Action::Commit`].
    Loaded(Policy),
    /// Answer to [`Action::Load`]: they were not; the text is in the log.
    NotLoaded(String),
    /// Answer to [`Action::StartTemplate`].
    TemplateStarted(Generation, Pid),
    /// Answer to [`Action::StartTemplate`]: it could not even be started.
    TemplateNotStarted(Generation, String),
    /// The template can fork workers now.
    TemplateReady(Generation),
    /// The template could not load; its exit follows.
    TemplateFailed(Generation, BootFailure),
    /// Answer to [`Action::Fork`]. May come after `Ready` of the same worker.
    Forked(WorkerId, Pid),
    /// Answer to [`Action::Fork`]: the fork failed, or the template went away before it answered.
    ForkFailed(WorkerId, String),
    /// The worker accepts requests now.
    Ready(WorkerId, Pid),
    /// The worker could not boot; its exit follows.
    BootFailed(WorkerId, BootFailure),
    /// The worker asks for the retire token; it keeps serving until told to drain.
    WantsRetirement(WorkerId, RetireReason),
    /// What the scoreboard shows for a serving worker: when its current request began, or `None`. Judged at the next
    /// [`Event::Tick`].
    Beat(WorkerId, Option<Monotonic>),
    /// A worker was stopped (`true`) or continued (`false`) by a job-control signal.
    Stopped(Pid, bool),
    /// A child was reaped: worker, template or upgraded arbiter.
    Exited(Pid, Exit),
    /// Answer to [`Action::Upgrade`]: the new arbiter runs under this pid.
    UpgradeStarted(Pid),
    /// Answer to [`Action::Upgrade`]: it could not be started.
    UpgradeNotStarted(String),
    /// A deadline passed. The driver sends `Beat` for every serving worker before it.
    Tick,
}

/// What to ask of a worker. Each is one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// TERM: finish what is in hand, pass the rest on, leave.
    Drain,
    /// QUIT: leave now.
    Quit,
    /// USR1: reopen logs.
    Reopen,
    /// A real-time signal: write down where every thread is.
    Testify,
    /// ABRT: die.
    Abort,
    /// KILL.
    Kill,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the settings again; answer `Loaded` or `NotLoaded`.
    Load,
    /// Start a template for this generation, with the settings last loaded.
    StartTemplate(Generation),
    /// Let this template go: it serves nobody any more.
    EndTemplate(Generation),
    /// Kill a template that does not go; log its testimony, if it gave one.
    KillTemplate(Generation, Pid),
    /// Order the template of this generation to fork a worker; answer `Forked` or `ForkFailed`.
    Fork(WorkerId, Slot, Generation),
    /// Signal a worker.
    Ask(Pid, Ask),
    /// Log what a worker that takes too long is doing: its testimony, its request, its state in the kernel.
    PostMortem(WorkerId, Slot, Pid),
    /// The loaded settings are in force now: swap listeners and logs, forget the old ones.
    Commit(Generation),
    /// The loaded settings are given up.
    Discard(Generation),
    /// Nobody new shall connect: shut the door, keep the queue for draining workers.
    CloseListeners,
    /// Reopen the arbiter's log files and tell the templates.
    ReopenLogs,
    /// Start a new arbiter with our listeners.
    Upgrade,
    /// How many workers are wanted now (for `wsgi.multiprocess`, STATUS and hooks).
    Wanted(u32),
    /// The scoreboard slot is free again.
    FreeSlot(Slot),
    /// Say this.
    Say(super::Note),
    /// Leave with this code. Nothing follows.
    Exit(Outcome),
}

/// The arbiter's exit code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// 0: someone asked.
    Asked,
    /// 1: the system refused something needed.
    Refused,
    /// 3: no worker could boot.
    NoBoot,
    /// 4: the app could not be loaded.
    NoApp,
}

impl Order {
    /// Its name in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Quit => "quit",
            Self::Reload => "reload",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Scale(_) => "scale",
            Self::Reopen => "reopen",
            Self::Upgrade => "upgrade",
            Self::Dismiss => "dismiss",
            Self::Retire(_) => "retire",
        }
    }
}
