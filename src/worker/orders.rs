//! What the arbiter orders this worker to do, by signal. The handlers only note it and wake the
//! event loop.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

use rcorn_app::loggers;
use rcorn_connection::LeaveFlags;
use rcorn_log as log;
use rcorn_python::{call, traceback};
use rcorn_scoreboard::{Cell, WhenStuck};
use rcorn_sys::memfd;
use rcorn_sys::private::{PrivateMark, keep_private};
use rcorn_sys::signal::{
    self, AsyncSignalSafe, Disposition, Effect, Owner, SendByte, SetFlag, WhenOrphaned,
};
use rcorn_sys::timer::SignalTimer;
use rcorn_wsgi::close_flag;

/// Orders to the arbiter, which `pkill -HUP -f rcorn` sends to templates and workers, too.
const ARBITER_SIGNALS: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// The orders to a worker.
const WORKER_SIGNALS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// Blocks the orders to a worker: one that comes before its handler is installed waits in the
/// kernel instead of killing the process.
///
/// # Errors
///
/// Those of `pthread_sigmask(3)`.
pub fn block() -> io::Result<()> {
    Ok(SigSet::from_iter(WORKER_SIGNALS).thread_block()?)
}

/// Lets the orders to a worker in, whoever has blocked them. Other signals that the app blocks stay
/// blocked.
///
/// # Errors
///
/// Those of `pthread_sigmask(3)`.
pub fn unblock() -> io::Result<()> {
    Ok(SigSet::from_iter(WORKER_SIGNALS).thread_unblock()?)
}

/// The orders to leave.
const LEAVE_SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT];

/// In a new worker: orders to leave that the template swallowed were not meant for it. A reopen
/// was.
pub fn forget_orders_of_template() {
    for signal in LEAVE_SIGNALS {
        let _swallowed = signal::was_swallowed(signal);
    }
}

/// Lets signals in while a hook runs before the worker's handlers are installed: processes that it
/// starts inherit what is blocked, and could not be ended by TERM. An order to this worker is
/// swallowed, as in the template, and given again later ([`repeat_swallowed`]). A signal for which
/// the app has a handler of its own, or which it ignores, would be lost, and stays blocked.
pub(super) fn unblock_for_hook() -> io::Result<()> {
    let mut swallowed = SigSet::empty();
    for signal in WORKER_SIGNALS {
        if signal::owner(signal)? == Owner::Ours {
            swallowed.add(signal);
        }
    }
    Ok(swallowed.thread_unblock()?)
}

/// Sends the orders to leave that came during a hook again. They must be blocked, and get in with
/// [`unblock`].
fn repeat_swallowed() -> io::Result<()> {
    for signal in LEAVE_SIGNALS {
        if signal::was_swallowed(signal) {
            raise(signal)?;
        }
    }
    Ok(())
}

/// Swallows orders in a template. A signal to the whole process group (by a terminal, or
/// `stopasgroup`) is meant for the arbiter, which ends its templates. What was swallowed is noted:
/// a worker that is forked here gets the reopen ([`forget_orders_of_template`]).
///
/// # Errors
///
/// Those of sigaction(2).
pub fn ignore_in_template() -> io::Result<()> {
    WORKER_SIGNALS.into_iter().try_for_each(signal::disregard)?;
    ignore_arbiter_signals()
}

/// Gives the orders to leave their default action in a worker that is about to import its app: it
/// holds no connection, so they end it at once. Those that came before end it here. A reopen is
/// still only noted.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn install_import_handlers() -> io::Result<()> {
    LEAVE_SIGNALS.into_iter().try_for_each(signal::reset)?;
    repeat_swallowed()?;
    unblock()
}

/// Signals that mean nothing to a worker, but perhaps something to the app.
const APP_SIGNALS: [Signal; 2] = [Signal::SIGCHLD, Signal::SIGALRM];

fn ignore_arbiter_signals() -> io::Result<()> {
    ARBITER_SIGNALS.into_iter().try_for_each(signal::disregard)
}

/// What the signals do whose effect a worker sets.
fn dispositions() -> io::Result<Vec<(Signal, Disposition)>> {
    let signals = WORKER_SIGNALS
        .into_iter()
        .chain(ARBITER_SIGNALS)
        .chain(APP_SIGNALS)
        .chain([Signal::SIGPIPE, Signal::SIGABRT]);
    signals
        .map(|number| Ok((number, Disposition::of(number)?)))
        .collect()
}

fn effects(signals: &[(Signal, Disposition)]) -> io::Result<Vec<Effect>> {
    let effect = |(number, _): &(Signal, Disposition)| Ok(Disposition::of(*number)?.effect());
    signals.iter().map(effect).collect()
}

/// What the first SIGABRT does. The second one kills.
#[derive(Debug)]
pub(super) struct AbortOrder<'py> {
    /// The worker's cell; `None` for a worker with several threads, in whose main thread there is
    /// no request to end.
    pub(super) cell: Option<&'static Cell>,
    /// `timeout`: a request that is younger is not meant. `None`: there is no such limit.
    pub(super) limit: Option<Duration>,
    /// Called in the app, which gets what it raises; Python's `None`: nothing is called.
    pub(super) hook: Bound<'py, PyAny>,
    /// The worker has several threads, and serves on if the request ends (`survive_timeout`).
    pub(super) may_survive: bool,
}

/// How long a worker may take to leave when its arbiter is gone, and nobody else would end it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrphanLimits {
    /// `graceful_timeout`: until the requests are ended that it still serves.
    pub(super) graceful: Duration,
    /// `abort_timeout`: how long that may take; zero: the app is not asked.
    pub(super) abort: Duration,
}

impl OrphanLimits {
    fn timers(self) -> Vec<SignalTimer> {
        let kill = self.graceful.saturating_add(self.abort);
        let abort = (!self.abort.is_zero()).then_some((Signal::SIGABRT, self.graceful));
        let timers = abort.into_iter().chain([(Signal::SIGKILL, kill)]);
        let timers = timers.map(|(signal, after)| SignalTimer::new(signal::number(signal), after));
        timers.collect::<io::Result<_>>().unwrap_or_else(|error| {
            log::warning(format_args!(
                "the worker would not end without its arbiter if a request hangs: no timers: {error}"
            ));
            Vec::new()
        })
    }
}

/// Who serves requests in a worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serving {
    /// The main thread, alone.
    MainThread,
    /// Several threads, of which the main thread is none.
    AppThreads,
}

/// The orders to leave that have come so far. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaveOrders {
    drain: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
    abort: Arc<AtomicBool>,
    /// The arbiter is gone: an abort means every request.
    orphaned: Arc<AtomicBool>,
}

/// The orders received so far, and the pipe that wakes the main thread.
#[derive(Debug)]
pub(super) struct Orders {
    leave: LeaveOrders,
    reopen: Arc<AtomicBool>,
    /// What the signals did before.
    before: Vec<(Signal, Disposition)>,
    /// What they do in the worker, in the same order.
    effects: Vec<Effect>,
    /// ABRT came, and it is not decided yet whether the worker leaves.
    unwind: Arc<AtomicBool>,
    /// What ABRT does the first time.
    first_abort: Option<Disposition>,
    /// Dropped before the socket.
    _private: PrivateMark,
    wake: UnixStream,
}

impl Orders {
    /// Installs the worker's handlers, and lets signals in that [`block`] kept waiting. Call it
    /// after the import of the app, which may have installed others: those run, too, except those
    /// of SIGINT (`import signal` alone installs one) and SIGABRT. SIGPIPE is ignored.
    ///
    /// `serving`: whose request INT and QUIT end by an exception.
    ///
    /// `abort`: what SIGABRT does; `None`: it kills at once.
    ///
    /// `arbiter`: if it is no longer our parent, its death has sent TERM. Then the handler closes
    /// the `listeners` at once, whatever the app does, so that a new arbiter can bind their
    /// addresses; and `limits` end the process in the arbiter's place.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2), or no descriptors for the pipe that wakes the event loop.
    pub(super) fn install_worker_handlers(
        py: Python<'_>,
        serving: Serving,
        arbiter: i32,
        listeners: Vec<BorrowedFd<'static>>,
        limits: OrphanLimits,
        abort: Option<&AbortOrder<'_>>,
    ) -> io::Result<Self> {
        block()?;
        let before = dispositions()?;
        let hook = abort.map(|abort| &abort.hook);
        call::catch_interrupts(py, hook).map_err(io::Error::other)?;
        let (mut orders, waker) = Self::new(before)?;
        let orphaned = WhenOrphaned {
            parent: arbiter,
            sockets: listeners,
            // Not `/dev/null`: the import may have changed the root directory.
            null: memfd::sealed(c"rcorn-closed-listener", b"", memfd::Content::Data)?,
            timers: limits.timers(),
            is_orphaned: Arc::clone(&orders.leave.orphaned),
        };
        orders.install_drain(&waker, orphaned)?;
        orders.install_reopen(&waker)?;
        orders.install_quit(&waker, serving)?;
        for number in ARBITER_SIGNALS.into_iter().chain(APP_SIGNALS) {
            wake_for_app(number, &waker)?;
        }
        signal::ignore(Signal::SIGPIPE)?;
        orders.install_abort(&waker, abort)?;
        repeat_swallowed()?;
        unblock()?;
        Ok(orders)
    }

    /// No order yet; and what wakes the loop. `before`: what the signals did until now.
    fn new(before: Vec<(Signal, Disposition)>) -> io::Result<(Self, Waker)> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let orders = Self {
            leave: LeaveOrders::default(),
            reopen: Arc::default(),
            before,
            effects: Vec::new(),
            unwind: Arc::default(),
            first_abort: None,
            _private: PrivateMark::new(&wake),
            wake,
        };
        Ok((orders, Waker(waker)))
    }

    fn install_drain(&self, waker: &Waker, orphaned: WhenOrphaned) -> io::Result<()> {
        let drain = (SetFlag(Arc::clone(&self.leave.drain)), close_flag());
        install(Signal::SIGTERM, (drain, orphaned, waker.action()?))
    }

    fn install_reopen(&self, waker: &Waker) -> io::Result<()> {
        let reopen = SetFlag(Arc::clone(&self.reopen));
        install(Signal::SIGUSR1, (reopen, waker.action()?))?;
        if signal::was_swallowed(Signal::SIGUSR1) {
            self.reopen.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn install_quit(&self, waker: &Waker, serving: Serving) -> io::Result<()> {
        // What `catch_interrupts` has set is for an interrupt in the app only.
        signal::reset(Signal::SIGINT)?;
        for number in [Signal::SIGINT, Signal::SIGQUIT] {
            let quit = (SetFlag(Arc::clone(&self.leave.quit)), waker.action()?);
            match serving {
                Serving::MainThread => install(number, (call::Interrupt, quit))?,
                Serving::AppThreads => install(number, (call::NoteInterrupt, quit))?,
            }
            // So that a request that waits in a system call is dropped, too.
            signal::interrupt_calls(number)?;
        }
        Ok(())
    }

    /// `order`: `None`: SIGABRT kills at once.
    fn install_abort(&mut self, waker: &Waker, order: Option<&AbortOrder<'_>>) -> io::Result<()> {
        // What `catch_interrupts` has set is for an abort in the app only.
        signal::reset(Signal::SIGABRT)?;
        let Some(&AbortOrder {
            cell,
            limit,
            may_survive,
            ..
        }) = order
        else {
            return Ok(());
        };
        let told = (
            SetFlag(Arc::clone(&self.leave.abort)),
            close_flag(),
            waker.action()?,
        );
        match cell {
            None if may_survive => {
                let unwind = SetFlag(Arc::clone(&self.unwind));
                install(Signal::SIGABRT, (unwind, waker.action()?))?;
            }
            None => install(Signal::SIGABRT, told)?,
            Some(cell) => {
                let action = call::Abort;
                let stuck = WhenStuck {
                    cell,
                    limit,
                    means_all: Arc::clone(&self.leave.orphaned),
                    action,
                };
                install(Signal::SIGABRT, (stuck, told))?;
            }
        }
        signal::interrupt_calls_once(Signal::SIGABRT)?;
        self.first_abort = Some(Disposition::of(Signal::SIGABRT)?);
        Ok(())
    }

    /// ABRT came, and it is not decided yet whether the worker leaves.
    pub(super) fn must_unwind(&self) -> bool {
        self.unwind.load(Ordering::Relaxed)
    }

    /// The requests have ended that were meant by ABRT. The next one is another order.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2): then the next one kills.
    pub(super) fn serve_on(&self) -> io::Result<()> {
        self.unwind.store(false, Ordering::Relaxed);
        let first = self.first_abort.as_ref();
        first.map_or(Ok(()), |first| first.restore(Signal::SIGABRT))
    }

    /// They have not ended: the worker leaves.
    pub(super) fn leave_with_hung_requests(&self) {
        self.unwind.store(false, Ordering::Relaxed);
        close_flag().store(true, Ordering::Relaxed);
        self.leave.abort.store(true, Ordering::Relaxed);
    }

    /// Notes what the signals do now, after all that sets this up.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2).
    pub(super) fn note_effects(&mut self) -> io::Result<()> {
        self.effects = effects(&self.before)?;
        Ok(())
    }

    /// Puts back what the signals did before: the process is no worker any more. Returns those
    /// whose effect the app has changed since [`Orders::note_effects`].
    ///
    /// # Errors
    ///
    /// Those of sigaction(2). `Other` if the order to exit has come meanwhile.
    pub(super) fn uninstall(self) -> io::Result<Vec<Signal>> {
        block()?;
        let now = effects(&self.before)?;
        let noted = self.effects.iter().zip(now);
        let numbers = self.before.iter().map(|(number, _)| *number);
        let changed = numbers
            .zip(noted)
            .filter_map(|(number, (noted, now))| (*noted != now).then_some(number));
        let changed = changed.collect();
        signal::drop_actions();
        for (number, before) in &self.before {
            before.restore(*number)?;
        }
        close_flag().store(false, Ordering::Relaxed);
        // They came for the worker that it was.
        forget_orders_of_template();
        if self.reopen.load(Ordering::Relaxed) {
            raise(Signal::SIGUSR1)?;
        }
        unblock()?;
        if self.leave.quit() || self.leave.abort() {
            return Err(io::Error::other("it was told to exit"));
        }
        Ok(changed)
    }

    /// What to wait on beside the sockets.
    pub(super) fn wake(&self) -> impl AsFd + '_ {
        self.wake.as_fd()
    }

    /// The orders to leave.
    pub(super) fn leave(&self) -> &LeaveOrders {
        &self.leave
    }

    /// Does what signals have ordered, except to leave. In the main thread, which alone runs the
    /// app's signal handlers.
    pub(super) fn follow(&mut self, py: Python<'_>) {
        self.clear_wake();
        self.run_app_handlers(py);
        // USR1.
        if self.reopen.swap(false, Ordering::Relaxed) {
            log::reopen();
            loggers::reopen_files(py);
        }
    }

    /// Empties the wake-up pipe.
    fn clear_wake(&mut self) {
        let mut sink = [0; 64];
        while matches!(self.wake.read(&mut sink), Ok(count) if count > 0) {}
    }

    /// Runs the Python part of the app's signal handlers. One that raises `SystemExit` ends the
    /// worker after the request in progress.
    fn run_app_handlers(&self, py: Python<'_>) {
        let Err(error) = py.check_signals() else {
            return;
        };
        if error.is_instance_of::<PySystemExit>(py) {
            self.leave.order_drain();
        } else {
            log::error(format_args!(
                "Exception in a signal handler of the app\n{}",
                traceback::format(py, &error)
            ));
        }
    }
}

impl LeaveOrders {
    /// TERM: finish and leave.
    pub(super) fn drain(&self) -> bool {
        self.drain.load(Ordering::Relaxed)
    }

    /// ABRT: end the request in progress, and leave.
    pub(super) fn abort(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }

    /// Whether the arbiter is gone.
    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    /// Gives the order to finish and leave: a part of the worker has failed.
    pub(super) fn order_drain(&self) {
        self.drain.store(true, Ordering::Relaxed);
    }

    /// The orders to leave, for the I/O thread.
    pub(super) fn flags(&self) -> LeaveFlags {
        LeaveFlags {
            drain: Arc::clone(&self.drain),
            quit: Arc::clone(&self.quit),
            abort: Arc::clone(&self.abort),
        }
    }

    /// The order to leave at once, for code that cannot call [`Self::quit`].
    pub(super) fn quit_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.quit)
    }

    /// INT, QUIT: leave now.
    pub(super) fn quit(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }
}

/// The end of the pipe that the handlers write to.
struct Waker(UnixStream);

impl Waker {
    /// What a handler does to wake the loop. A full socket means that the loop will wake anyway.
    fn action(&self) -> io::Result<SendByte> {
        let to = OwnedFd::from(self.0.try_clone()?);
        // The handler stands to the end of the process.
        keep_private(&to);
        Ok(SendByte { to, byte: 1 })
    }
}

/// Wakes the loop at a signal for which the app has a handler: Python's part of it runs there. One
/// of the arbiter's that the app leaves alone is swallowed.
fn wake_for_app(number: Signal, waker: &Waker) -> io::Result<()> {
    match signal::owner(number)? {
        Owner::Handler => signal::handle_too(number, waker.action()?),
        Owner::Ours if ARBITER_SIGNALS.contains(&number) => signal::disregard(number),
        Owner::Ours | Owner::Ignored => Ok(()),
    }
}

/// Acts on a signal, after the handler that the app has installed at its import, if any: under
/// gunicorn that one runs, too.
fn install(number: Signal, action: impl AsyncSignalSafe) -> io::Result<()> {
    if signal::owner(number)? == Owner::Handler {
        signal::handle_too(number, action)
    } else {
        signal::reset(number)?;
        signal::handle(signal::number(number), action)
    }
}
