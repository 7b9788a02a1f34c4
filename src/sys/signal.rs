//! Signal handlers and dispositions.
//!
//! A handler runs at any moment, in any thread, also while `malloc` holds its lock: it may only do
//! what is async-signal-safe (signal-safety(7)). Hence [`handle`] takes no closure but an
//! [`AsyncSignalSafe`] action: the few of this module, and what crates with unsafe code declare to
//! be one. All handlers of this program:
//!
//! - [`handle`]: `getpid`, then the action; in a process forked without exec the signal's default
//!   effect instead. signal-hook, which calls it, keeps `errno`. The actions of this module store
//!   into atomics ([`SetFlag`], [`Count`]), send(2) a byte ([`SendByte`]), and call `getppid`,
//!   `dup2` and `timer_settime` ([`WhenOrphaned`]). Those of other crates: `WhenStuck` (scoreboard)
//!   reads atomics and the clock, `Interrupt` and `Abort` (python) call `PyErr_SetInterrupt` or
//!   `PyErr_SetInterruptEx`.
//! - `swallow`: `getpid` and an atomic, neither of which touches `errno`; in a process forked
//!   without exec the signal's default effect instead.
//! - `faulthandler` of CPython, for [`stack_dump`]: made to be called at any moment.
#![expect(unsafe_code, reason = "sigaction, and handlers that run at any moment")]

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use signal_hook::SigId;

use crate::timer::SignalTimer;

/// A signal as kill(2) counts it.
#[must_use]
pub fn number(signal: Signal) -> c_int {
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum of i32 representation"
    )]
    let number = signal as c_int;
    number
}

/// What a signal handler may do.
///
/// # Safety
///
/// [`AsyncSignalSafe::run`] calls async-signal-safe functions only (signal-safety(7)): no lock, no
/// memory from the heap given or taken, no panic; and leaves `errno` to signal-hook.
pub unsafe trait AsyncSignalSafe: Send + Sync + 'static {
    /// Called in the handler.
    fn run(&self);
}

/// Sets a flag, for a loop that looks at it.
#[derive(Debug)]
pub struct SetFlag(pub Arc<AtomicBool>);

// SAFETY: one store into an atomic.
unsafe impl AsyncSignalSafe for SetFlag {
    fn run(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// SAFETY: one store into an atomic.
unsafe impl AsyncSignalSafe for &'static AtomicBool {
    fn run(&self) {
        self.store(true, Ordering::Relaxed);
    }
}

/// Counts how often a signal came.
#[derive(Debug)]
pub struct Count(pub Arc<AtomicU32>);

// SAFETY: one addition to an atomic.
unsafe impl AsyncSignalSafe for Count {
    fn run(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a byte, for a loop that waits on the other end. Does not wait: a full socket means that
/// the loop will wake. The byte is lost then, so what must not be lost is stored before
/// ([`SetFlag`], [`Count`]).
#[derive(Debug)]
pub struct SendByte {
    /// A socket.
    pub to: OwnedFd,
    /// What is sent.
    pub byte: u8,
}

// SAFETY: send(2) is async-signal-safe, and takes the byte from this value.
unsafe impl AsyncSignalSafe for SendByte {
    fn run(&self) {
        crate::net::send(self.to.as_fd(), &[self.byte], false).ok();
    }
}

/// When `parent` is not the parent of this process any more, makes all `sockets` refer to `null`,
/// so that what they were is closed that instant, and starts the `timers`.
#[derive(Debug)]
pub struct WhenOrphaned {
    /// The parent as it was.
    pub parent: i32,
    /// Open to the end of the process, so their numbers mean nothing else.
    pub sockets: Vec<BorrowedFd<'static>>,
    /// Something harmless.
    pub null: OwnedFd,
    /// They end the process if nothing else does.
    pub timers: Vec<SignalTimer>,
    /// Set when they are started.
    pub is_orphaned: Arc<AtomicBool>,
}

// SAFETY: getppid(2), dup2(2) and timer_settime(2) are async-signal-safe; the lists are only read.
unsafe impl AsyncSignalSafe for WhenOrphaned {
    fn run(&self) {
        // SAFETY: getppid has no conditions.
        if unsafe { libc::getppid() } == self.parent {
            return;
        }
        for socket in &self.sockets {
            // SAFETY: both are open, and each number goes on belonging to its owner.
            unsafe { libc::dup2(self.null.as_raw_fd(), socket.as_raw_fd()) };
        }
        if !self.is_orphaned.swap(true, Ordering::Relaxed) {
            self.timers.iter().for_each(SignalTimer::start);
        }
    }
}

// SAFETY: as the parts.
unsafe impl<A: AsyncSignalSafe, B: AsyncSignalSafe> AsyncSignalSafe for (A, B) {
    fn run(&self) {
        self.0.run();
        self.1.run();
    }
}

// SAFETY: as the parts.
unsafe impl<A: AsyncSignalSafe, B: AsyncSignalSafe, C: AsyncSignalSafe> AsyncSignalSafe
    for (A, B, C)
{
    fn run(&self) {
        self.0.run();
        self.1.run();
        self.2.run();
    }
}

// SAFETY: as what may be in it.
unsafe impl<A: AsyncSignalSafe> AsyncSignalSafe for Option<A> {
    fn run(&self) {
        if let Some(action) = self {
            action.run();
        }
    }
}

/// Runs `action` in the handler of a signal, after what was installed before. System calls that the
/// signal interrupts are repeated. Programs that this process starts do not inherit it, and in
/// processes that it forks without exec (an app's multiprocessing) the signal has its default
/// effect.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn handle(signal: c_int, action: impl AsyncSignalSafe) -> io::Result<()> {
    let owner = std::process::id();
    let guarded = move || {
        if std::process::id() == owner {
            action.run();
        } else {
            // Fails only for signals that cannot be caught, which never get here.
            signal_hook::low_level::emulate_default_handler(signal).ok();
        }
    };
    // SAFETY: getpid, the action (by its type) and the emulation (sigaction, raise) are
    // async-signal-safe. signal-hook refuses the signals of faults, after whose handler nothing
    // may go on.
    let id = unsafe { signal_hook::low_level::register(signal, guarded) }?;
    registered().push(id);
    // It installs its handler once for each signal: not again in a process that was forked from one
    // that has removed it.
    let now = current(signal)?;
    let hook = HOOK.get_or_init(|| Raw(now));
    if hook.0.sa_sigaction != now.sa_sigaction {
        install(signal, &hook.0)?;
    }
    Ok(())
}

/// The actions that this process has registered.
static REGISTERED: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// How signal-hook's handler is installed, as soon as it once was.
static HOOK: OnceLock<Raw> = OnceLock::new();

fn registered() -> MutexGuard<'static, Vec<SigId>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops all actions of [`handle`]. What is in force for their signals is still the handler that
/// called them: to be replaced by what was there before ([`Disposition::restore`]).
pub fn drop_actions() {
    for id in std::mem::take(&mut *registered()) {
        signal_hook::low_level::unregister(id);
    }
}

/// What is in force for a signal. One that is pending stays so: the disposition is read without a
/// detour over "ignore", which would drop it.
fn current(number: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: sigaction is plain data for which all zeroes is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action only asks; the old one is written to a live local.
    let asked = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(action)
}

/// Who decides what a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody, or this program: the default action, or a handler of this module.
    Ours,
    /// Other code of this process has a handler.
    Handler,
    /// Other code of this process ignores it.
    Ignored,
}

/// Who decides what a signal does. To be asked before [`handle`] is called for it.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn owner(signal: Signal) -> io::Result<Owner> {
    let handler = current(number(signal))?.sa_sigaction;
    let ours: extern "C" fn(c_int) = swallow;
    #[expect(
        clippy::as_conversions,
        clippy::fn_to_numeric_cast_any,
        reason = "sigaction has the address of a handler as a number"
    )]
    let ours = ours as libc::sighandler_t;
    Ok(match handler {
        libc::SIG_IGN => Owner::Ignored,
        handler if handler == libc::SIG_DFL || handler == ours => Owner::Ours,
        _ => Owner::Handler,
    })
}

/// [`handle`], beside a handler of other code: whether system calls are repeated stays as that code
/// has it.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn handle_too(signal: Signal, action: impl AsyncSignalSafe) -> io::Result<()> {
    let repeats = current(number(signal))?.sa_flags & libc::SA_RESTART != 0;
    handle(number(signal), action)?;
    if repeats {
        Ok(())
    } else {
        interrupt_calls(signal)
    }
}

/// Lets a signal interrupt blocking system calls, which are repeated otherwise.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn interrupt_calls(signal: Signal) -> io::Result<()> {
    change_flags(signal, 0)
}

/// The same, and the handler runs once: the next such signal has its default effect, whatever this
/// process does about the first (`SA_RESETHAND`, sigaction(2)).
///
/// # Errors
///
/// Those of sigaction(2).
pub fn interrupt_calls_once(signal: Signal) -> io::Result<()> {
    change_flags(signal, libc::SA_RESETHAND)
}

/// Takes `SA_RESTART` from a signal's action, and gives it more flags.
fn change_flags(signal: Signal, more: c_int) -> io::Result<()> {
    let number = number(signal);
    let mut action = current(number)?;
    action.sa_flags &= !libc::SA_RESTART;
    action.sa_flags |= more;
    install(number, &action)
}

/// Puts an action into force that was in force in this process, or in one that it was forked from,
/// perhaps with other flags that do not change what its handler is given.
fn install(number: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: the handler is code of this process, which was installed for a signal before.
    let done = unsafe { libc::sigaction(number, action, std::ptr::null_mut()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whose handlers they are: in a process that this one forks without exec (an app's
/// multiprocessing) the signal has its default effect.
static SWALLOWER: AtomicU32 = AtomicU32::new(0);

/// Signals that [`disregard`] swallowed, as a bit set by number.
static SWALLOWED: AtomicU64 = AtomicU64::new(0);

/// Async-signal-safe: getpid and an atomic; in a forked process what signal-hook does for the
/// default effect.
extern "C" fn swallow(signal: c_int) {
    if std::process::id() != SWALLOWER.load(Ordering::Relaxed) {
        // Fails only for signals that cannot be caught, which never get here.
        signal_hook::low_level::emulate_default_handler(signal).ok();
        return;
    }
    SWALLOWED.fetch_or(bit(signal), Ordering::Relaxed);
}

/// The place of a signal in [`SWALLOWED`].
fn bit(number: c_int) -> u64 {
    let place = u32::try_from(number).ok();
    place
        .and_then(|place| 1_u64.checked_shl(place))
        .unwrap_or(0)
}

/// Installs a handler that does nothing but note that the signal came ([`was_swallowed`]). Not
/// `SIG_IGN`: programs that this process starts would inherit that.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn disregard(signal: Signal) -> io::Result<()> {
    disregard_here();
    set(signal, SigHandler::Handler(swallow))
}

/// What the process that forked this one disregards, this one does too.
pub fn disregard_here() {
    SWALLOWER.store(std::process::id(), Ordering::Relaxed);
}

/// Whether a signal came since it was disregarded; once for each.
#[must_use]
pub fn was_swallowed(signal: Signal) -> bool {
    let bit = bit(number(signal));
    SWALLOWED.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// The signal at which our Pythons write down where all their threads are: the last real-time
/// signal but one, which hardly any program uses.
#[must_use]
pub fn stack_dump() -> c_int {
    libc::SIGRTMAX().saturating_sub(1)
}

/// Sends a signal by number to one process: nix knows no real-time signals.
///
/// # Errors
///
/// Those of kill(2). `Other` for a number that means a group (0 is our own).
pub fn send(pid: i32, number: c_int) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::other(format!("{pid} is no process")));
    }
    // SAFETY: kill takes any numbers.
    if unsafe { libc::kill(pid, number) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Ignores a signal, whatever other code made of it.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Gives a signal its default action back.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn reset(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl)
}

/// What a process does about a signal: its handler, mask and flags, as sigaction(2) gave them.
#[derive(Clone, Copy, Debug)]
pub struct Disposition(Raw);

/// [`struct@libc::sigaction`], which cannot be shown.
#[derive(Clone, Copy)]
struct Raw(libc::sigaction);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(action) = self;
        write!(f, "{:#x}, {:#x}", action.sa_sigaction, action.sa_flags)
    }
}

/// Gives a signal its default action back and tells what it had before, to be put back by
/// [`Disposition::restore`].
///
/// # Errors
///
/// Those of sigaction(2).
pub fn replace_by_default(signal: Signal) -> io::Result<Disposition> {
    let before = Disposition::of(signal)?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { sigaction(signal, &default) }?;
    Ok(before)
}

impl Disposition {
    /// What is in force in this process.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2).
    pub fn of(signal: Signal) -> io::Result<Self> {
        current(number(signal)).map(|action| Self(Raw(action)))
    }

    /// The part that can be compared.
    #[must_use]
    pub fn effect(&self) -> Effect {
        effect(&self.0.0)
    }

    /// Puts it back: in the process that it was taken from, or in a fork of it, which has the same
    /// code.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2).
    pub fn restore(&self, signal: Signal) -> io::Result<()> {
        install(number(signal), &self.0.0)
    }
}

/// What a process does about a signal, as numbers that can only be compared: handler and flags.
pub type Effect = (usize, c_int);

/// A flag that glibc sets for itself (`<asm/signal.h>`): a disposition that it has put back has it,
/// one that was never set does not.
const SA_RESTORER: c_int = 0x0400_0000;

/// What this process does about each signal, real-time signals among them.
#[must_use]
pub fn effects() -> Vec<(c_int, Effect)> {
    let ask = |number: c_int| Some((number, effect(&current(number).ok()?)));
    (1..=libc::SIGRTMAX()).filter_map(ask).collect()
}

fn effect(action: &libc::sigaction) -> Effect {
    (action.sa_sigaction, action.sa_flags & !SA_RESTORER)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    // System calls go on after a signal that is swallowed.
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours; the one handler of this module is
    // async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    static SECOND: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_handler_sets_flags_and_wakes_the_loop() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        let wake = SendByte {
            to: writer.into(),
            byte: 7,
        };
        let action = (SetFlag(Arc::clone(&flag)), Some(&SECOND), wake);
        handle(number(Signal::SIGURG), action).unwrap();
        nix::sys::signal::raise(Signal::SIGURG).unwrap();
        assert!(flag.load(Ordering::Relaxed) && SECOND.load(Ordering::Relaxed));
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    }

    #[test]
    fn an_orphan_closes_its_sockets_at_once_and_nobody_else_does() {
        for (parent, is_closed) in [(nix::unistd::getppid().as_raw(), false), (-1, true)] {
            let (one, mut other) = UnixStream::pair().unwrap();
            other.set_nonblocking(true).unwrap();
            let socket: &'static OwnedFd = Box::leak(Box::new(one.into()));
            let action = WhenOrphaned {
                parent,
                sockets: vec![socket.as_fd()],
                null: File::open("/dev/null").unwrap().into(),
                timers: Vec::new(),
                is_orphaned: Arc::default(),
            };
            action.run();
            // The end of the stream, or nothing yet.
            assert_eq!(matches!(other.read(&mut [0]), Ok(0)), is_closed);
            drop(action);
        }
    }

    #[test]
    fn a_swallowed_signal_is_noted_once() {
        disregard(Signal::SIGWINCH).unwrap();
        assert!(!was_swallowed(Signal::SIGWINCH));
        nix::sys::signal::raise(Signal::SIGWINCH).unwrap();
        assert!(was_swallowed(Signal::SIGWINCH));
        assert!(!was_swallowed(Signal::SIGWINCH));
        reset(Signal::SIGWINCH).unwrap();
    }

    #[test]
    fn a_handler_of_others_is_known_and_called_too() {
        static THEIRS: AtomicBool = AtomicBool::new(false);
        extern "C" fn theirs(_number: c_int) {
            THEIRS.store(true, Ordering::Relaxed);
        }
        let signal = Signal::SIGPROF;
        assert_eq!(owner(signal).unwrap(), Owner::Ours);
        disregard(signal).unwrap();
        assert_eq!(owner(signal).unwrap(), Owner::Ours);
        ignore(signal).unwrap();
        assert_eq!(owner(signal).unwrap(), Owner::Ignored);
        let action = SigAction::new(
            SigHandler::Handler(theirs),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler only stores into an atomic.
        unsafe { sigaction(signal, &action) }.unwrap();
        assert_eq!(owner(signal).unwrap(), Owner::Handler);
        let ours = Arc::new(AtomicBool::new(false));
        handle_too(signal, SetFlag(Arc::clone(&ours))).unwrap();
        let flags = current(number(signal)).unwrap().sa_flags;
        assert_eq!(flags & libc::SA_RESTART, 0);
        nix::sys::signal::raise(signal).unwrap();
        assert!(ours.load(Ordering::Relaxed) && THEIRS.load(Ordering::Relaxed));
        reset(signal).unwrap();
    }

    #[test]
    fn groups_are_never_signalled() {
        for group in [0, -1] {
            // A harmless one: should it be sent after all, it goes to everybody.
            send(group, number(Signal::SIGCONT)).unwrap_err();
        }
    }
}
