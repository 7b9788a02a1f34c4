//! The vocabulary of the arbiter on one page: what happened ([`Event`]) and what to do
//! ([`Action`]). What to log is in `note.rs`, what an operator may order in `order.rs`. The driver
//! turns what it hears into events and performs actions. Nothing here does I/O or reads a clock.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

use super::note::Note;
use super::order::Order;

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
    /// The longest time for a worker to finish its requests once it is asked to leave.
    pub graceful_timeout: Duration,
    /// How long a reload is on probation, before the old generation is given up.
    pub reload_watch: Duration,
    /// The age at which a worker is replaced; `None`: never.
    pub max_age: Option<Duration>,
    /// How long to serve on after the order to stop.
    pub drain_delay: Duration,
    /// Stay up although the app has never booted: the next reload may fix it. Without it, a boot
    /// failure before anything was ready ends the server.
    #[serde(rename = "patient")]
    pub tolerate_boot_failure: bool,
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
}

/// What happened. The driver sends one event after the other, in the order in which it heard of
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The driver is set up: listeners are bound, and these are the settings.
    Started(Policy),
    /// An operator gave an order.
    Ordered(Order),
    /// Answer to [`Action::Load`]: the settings are valid, and wait for [`Action::Commit`].
    Loaded(Policy),
    /// Answer to [`Action::Load`]: the settings cannot be used; the full text is in the log.
    NotLoaded(String),
    /// Answer to [`Action::StartTemplate`]: it runs as this process.
    TemplateStarted(Generation, Pid),
    /// Answer to [`Action::StartTemplate`]: it could not be started, for this reason.
    TemplateNotStarted(Generation, String),
    /// The template can fork workers.
    TemplateReady(Generation),
    /// The template could not load; its exit follows.
    TemplateFailed(Generation, BootFailure),
    /// Answer to [`Action::Fork`]: the worker runs as this process. May come after its
    /// [`Event::Ready`].
    Forked(WorkerId, Pid),
    /// Answer to [`Action::Fork`]: the fork failed, or the template ended before it answered.
    ForkFailed(WorkerId, String),
    /// The worker accepts requests.
    Ready(WorkerId, Pid),
    /// The worker could not boot; its exit follows.
    BootFailed(WorkerId, BootFailure),
    /// The worker asks to be replaced. It serves until it is told to drain.
    WantsRetirement(WorkerId, RetireReason),
    /// What the scoreboard shows for a serving worker: when its current request began; `None` when
    /// it has none. Judged at the next [`Event::Tick`].
    Beat(WorkerId, Option<Monotonic>),
    /// A child was stopped by a signal (`CLD_STOPPED` of waitid(2)).
    Stopped(Pid),
    /// A stopped child was continued (`CLD_CONTINUED` of waitid(2)).
    Continued(Pid),
    /// A child was reaped: a worker, a template, the new arbiter of an upgrade, or a process of the
    /// app.
    Exited(Pid, Exit),
    /// Answer to [`Action::Upgrade`]: the new arbiter runs as this process.
    UpgradeStarted(Pid),
    /// Answer to [`Action::Upgrade`]: it could not be started.
    UpgradeNotStarted(String),
    /// The deadline has passed. The driver sends [`Event::Beat`] for every serving worker before
    /// it.
    Tick,
}

/// What to ask of a worker or template. Each is one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// TERM: finish the current requests, pass waiting connections on, and leave.
    Drain,
    /// QUIT: leave at once.
    Quit,
    /// USR1: reopen the log files.
    Reopen,
    /// A real-time signal: write the Python stacks of all threads.
    DumpStacks,
    /// ABRT: raise `SystemExit` in the app; the second time, end at once, with a core dump if the
    /// system makes them.
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
    /// Tell this template to leave: nothing will be forked from it.
    EndTemplate(Generation),
    /// Kill a template that does not leave; log its stack dump, if it wrote one.
    KillTemplate(Generation, Pid),
    /// Order the template of this generation to fork a worker; answer `Forked` or `ForkFailed`.
    Fork(WorkerId, CellIndex, Generation),
    /// Send a signal to a worker; a template is asked only for [`Ask::DumpStacks`].
    Ask(Pid, Ask),
    /// Log what a worker that takes too long is doing: its stacks, its request, its state in the
    /// kernel.
    PostMortem(WorkerId, CellIndex, Pid),
    /// Put the loaded settings into force: swap listeners and logs, drop the old ones.
    Commit(Generation),
    /// Drop the loaded settings.
    Discard(Generation),
    /// Refuse new connections, and leave those that are queued to the draining workers.
    CloseListeners,
    /// Reopen the arbiter's log files, and tell the templates.
    ReopenLogs,
    /// Start a new arbiter with our listeners; answer `UpgradeStarted` or `UpgradeNotStarted`.
    Upgrade,
    /// Publish how many workers are wanted (for `wsgi.multiprocess`, STATUS and hooks).
    Wanted(u32),
    /// Clear this cell of the scoreboard: its worker is gone.
    FreeCell(CellIndex),
    /// Log this.
    Say(Note),
    /// Leave. Nothing follows.
    Exit(Outcome),
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
