//! The vocabulary of the arbiter on one page: what happened ([`Event`]) and what to do
//! ([`Action`]). What they carry is in `values.rs`, what to log in `note.rs`, what an operator may
//! order in `order.rs`. The driver turns what it hears into events and performs actions. Nothing
//! here does I/O or reads a clock.

use rcorn_types::Monotonic;

use super::note::Note;
use super::order::Order;
use super::values::{
    BootFailure, CellIndex, Exit, Generation, Outcome, Pid, Policy, RetireReason, WorkerId,
};

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
    /// A worker of [`Action::ForkToPromote`] has imported the app, or one that was asked to leave
    /// by [`Ask::BecomeTemplate`] has done so: it can fork workers that have the app. Unless
    /// [`Action::Promote`] follows, it exits.
    Promoted(WorkerId, Pid),
    /// A worker of [`Action::ForkToPromote`] stays a worker: its import must not be shared.
    NotPromoted(WorkerId),
    /// A worker of [`Action::ForkSpare`] has imported the app, and waits for [`Action::Activate`].
    SpareReady(WorkerId, Pid),
    /// The worker accepts requests.
    Ready(WorkerId, Pid),
    /// The worker could not boot; its exit follows.
    BootFailed(WorkerId, BootFailure),
    /// The worker asks to be replaced. It serves until it is told to drain.
    WantsRetirement(WorkerId, RetireReason),
    /// The worker has served enough requests to become the template.
    WantsRefork(WorkerId),
    /// A worker that was asked to leave by [`Ask::BecomeTemplate`] does not become the template,
    /// for this reason; its exit follows. One that does is [`Event::Promoted`].
    NotReforked(WorkerId, String),
    /// A worker with threads whose request took too long was asked to unwind it: the request has
    /// ended, and the worker serves on.
    Recovered(WorkerId),
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
    /// Answer to [`Action::Upgrade`]: a reload was ordered before it was started.
    UpgradePutOff,
    /// The deadline has passed. The driver sends [`Event::Beat`] for every serving worker before
    /// it.
    Tick,
}

/// What to ask of a worker or template. Each is one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// TERM: finish the current requests, pass waiting connections on, and leave.
    Drain,
    /// TERM, and a mark on the scoreboard: the same, but instead of an exit become the template, if
    /// what was served may be shared; answer [`Event::Promoted`] or [`Event::NotReforked`].
    BecomeTemplate,
    /// QUIT: leave at once.
    Quit,
    /// USR1: reopen the log files.
    Reopen,
    /// A real-time signal: write the Python stacks of all threads.
    DumpStacks,
    /// ABRT: raise `SystemExit` in the app; the second time, end at once, with a core dump if the
    /// system makes them. A worker with threads raises it in the threads whose requests take too
    /// long, and takes nothing new.
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
    /// The same, of a worker that becomes the template if its import may be shared; answer
    /// `Promoted` or `NotPromoted`, too.
    ForkToPromote(WorkerId, CellIndex, Generation),
    /// The same, of a worker that imports the app and waits; answer `SpareReady`, too.
    ForkSpare(WorkerId, CellIndex, Generation),
    /// Let a worker that waits serve; answer `Ready`.
    Activate(WorkerId),
    /// This worker is the template of this generation from now on. The one before is told to leave.
    Promote(WorkerId, Generation, Pid),
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
