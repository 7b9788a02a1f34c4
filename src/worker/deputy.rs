//! The worker's deputy: a thread that does what needs no Python while the worker is in the app. It sends what the app
//! has given and does not add to, and when a request takes long it sees to the connections that are parked meanwhile:
//! it lets replies leave, and hands those that have a request on to the siblings.
//!
//! Started when it is needed for the first time; asleep while nothing happens. It never touches Python.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::time::TimeSpec;

use rcorn_connection::channel::{self, Channel, WeakChannel};
use rcorn_log as log;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_sys::clock;

use super::connection::Waiting;
use super::desk::FIRST_CONNECTION;
use super::parking::Parking;

/// How long a part of a reply waits for the next one.
const HELD: u64 = 1_000_000;
/// How long a request may take before the deputy sees to the others; and how often it looks then.
const STUCK: u64 = 2_000_000;
/// The longest time between two looks at a worker whose requests are quick: each look doubles it. Under load every
/// look interrupts the worker; in a virtual machine that costs as much as several requests.
const CALM: u64 = 16_000_000;
/// The least wait: what is due any moment is done together.
const SHORTEST: u64 = 50_000;
/// How long it stays awake after the last request: to be woken costs the worker a system call.
const LINGER: u64 = 50_000_000;

/// What both know.
#[derive(Debug)]
pub(super) struct Deputy {
    pub(super) parking: Parking,
    pub(super) epoll: Epoll,
    lot: OwnedFd,
    cell: &'static Cell,
    scoreboard: &'static Scoreboard,
    /// The order to leave.
    drain: Arc<AtomicBool>,
    agenda: Mutex<Agenda>,
    /// Replies that the kernel may keep.
    kept: Mutex<Vec<WeakChannel>>,
    asleep: AtomicBool,
    bell: EventFd,
    /// Whether the thread runs; `None` inside: it could not be started.
    thread: OnceLock<Option<()>>,
}

/// What the deputy will do next.
#[derive(Debug)]
struct Agenda {
    /// A reply that has something waiting, and when that is to be sent.
    held: Option<(WeakChannel, u64)>,
    /// When it looks again without the bell.
    looks_at: u64,
}

impl Deputy {
    pub(super) fn new(
        epoll: Epoll,
        lot: OwnedFd,
        cell: &'static Cell,
        scoreboard: &'static Scoreboard,
        drain: Arc<AtomicBool>,
    ) -> io::Result<Arc<Self>> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Arc::new(Self {
            parking: Parking::new(cell),
            epoll,
            lot,
            cell,
            scoreboard,
            drain,
            agenda: Mutex::new(Agenda {
                held: None,
                looks_at: u64::MAX,
            }),
            kept: Mutex::default(),
            asleep: AtomicBool::new(true),
            bell: EventFd::from_value_and_flags(0, flags)?,
            thread: OnceLock::new(),
        }))
    }

    /// A request begins, and others may come meanwhile.
    pub(super) fn attend(self: &Arc<Self>) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(self: &Arc<Self>) {
        let started = self.thread.get_or_init(|| {
            let deputy = Arc::clone(self);
            let signals = SigSet::all();
            // Signals are the worker's: its system calls must be interrupted by them.
            let before = signals.thread_swap_mask(SigmaskHow::SIG_SETMASK);
            let spawned = thread::Builder::new()
                .name("rcorn deputy".to_owned())
                .stack_size(128 * 1024)
                .spawn(move || deputy.work());
            if let Ok(before) = before {
                before.thread_set_mask().ok();
            }
            let failed = spawned.map(drop).map_err(|error| {
                log::warning(format_args!("a worker has no deputy thread: {error}"));
            });
            failed.ok()
        });
        if started.is_some() && self.asleep.swap(false, Ordering::AcqRel) {
            self.bell.write(1).ok();
        }
    }

    fn work(&self) {
        let mut events = vec![EpollEvent::empty(); 64];
        let (mut awake_until, mut served) = (0_u64, 0);
        let mut calm = STUCK / 2;
        loop {
            let now = clock::monotonic();
            let held = self.send_held(now);
            calm = if self.stand_in(now, &mut events) || held.is_some() {
                STUCK
            } else {
                CALM.min(calm.saturating_mul(2))
            };
            let requests = self.cell.requests.load(Ordering::Relaxed);
            if held.is_some() || self.is_busy() || requests != served {
                awake_until = now.saturating_add(LINGER);
            } else if now >= awake_until && self.asleep.swap(true, Ordering::AcqRel) {
                self.sleep();
                (awake_until, calm) = (0, STUCK / 2);
                continue;
            }
            served = requests;
            // Also when it has just said that it sleeps: the worker may have looked before.
            self.pause(now, now.saturating_add(calm));
        }
    }

    /// Waits until then, or until what is held is due, or for the bell.
    fn pause(&self, now: u64, look: u64) {
        let mut agenda = self.agenda();
        agenda.looks_at = agenda.held.as_ref().map_or(look, |(_, due)| look.min(*due));
        let time = agenda.looks_at.saturating_sub(now).max(SHORTEST);
        drop(agenda);
        self.listen(Some(TimeSpec::from_duration(Duration::from_nanos(time))));
    }

    /// Waits for the bell.
    fn sleep(&self) {
        while self.asleep.load(Ordering::Acquire) {
            self.listen(None);
        }
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, time: Option<TimeSpec>) {
        let mut bell = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if matches!(ppoll(&mut bell, time, None), Ok(rung) if rung > 0) {
            self.bell.read().ok();
        }
    }

    /// Sends what waits for the app's next part; gives when more of it is due.
    fn send_held(&self, now: u64) -> Option<u64> {
        let mut agenda = self.agenda();
        let (channel, due) = agenda.held.as_mut()?;
        if *due <= now {
            if channel.get().is_none_or(|channel| channel.pump_aside()) {
                agenda.held = None;
                return None;
            }
            // The client takes nothing just now.
            *due = now.saturating_add(STUCK);
        }
        Some(*due)
    }

    /// Lets the replies go that the kernel may keep.
    pub(super) fn flush(&self) {
        for channel in self.kept().drain(..) {
            if let Some(channel) = channel.get() {
                channel.flush();
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<WeakChannel>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self) -> bool {
        self.cell.busy_since.load(Ordering::Acquire) != 0
    }

    /// Sees to the parked connections when the worker cannot; whether it cannot.
    fn stand_in(&self, now: u64, events: &mut [EpollEvent]) -> bool {
        let busy = self.cell.busy_since.load(Ordering::Acquire);
        if busy == 0 || self.parking.held() == 0 || now < busy.saturating_add(STUCK) {
            return false;
        }
        self.flush();
        // Not waiting here keeps the listeners' EPOLLEXCLUSIVE from waking us for a connection that we do not take.
        let count = self.epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(count) {
            if let Some(index) = event.data().checked_sub(FIRST_CONNECTION) {
                self.see_to(usize::try_from(index).unwrap_or(usize::MAX));
            }
        }
        true
    }

    fn see_to(&self, index: usize) {
        let Some(connection) = self.parking.take(index) else {
            return;
        };
        match connection.waiting {
            // A failure is for the worker to find.
            Waiting::Reply(_) => {
                let _done: bool = connection.channel.pump_aside();
            }
            Waiting::Close => {}
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest => {
                if self.may_hand_on() && connection.hand_on(self.lot.as_fd()) {
                    // Closing would not end it: it lives on in the lot, and would stay in our epoll set.
                    self.epoll.delete(connection.channel.socket()).ok();
                    drop(connection);
                    self.parking.vacate(index);
                    return;
                }
            }
        }
        self.parking.put(index, connection);
    }

    /// Whether there is somebody to take it.
    fn may_hand_on(&self) -> bool {
        let shared = self.scoreboard.shared();
        shared.wanted.load(Ordering::Relaxed) > 1
            && shared.stopping.load(Ordering::Acquire) == 0
            && !self.drain.load(Ordering::Relaxed)
    }
}

/// The deputy as a reply knows it.
#[derive(Debug)]
pub(super) struct Sender(pub(super) Arc<Deputy>);

impl channel::Deputy for Sender {
    fn send_soon(&self, channel: &Channel) {
        let due = clock::monotonic().saturating_add(HELD);
        let mut agenda = self.0.agenda();
        agenda.held = Some((channel.downgrade(), due));
        let late = agenda.looks_at > due.saturating_add(STUCK);
        drop(agenda);
        if late {
            self.0.bell.write(1).ok();
        }
        self.0.attend();
    }

    fn flush_soon(&self, channel: &Channel) {
        self.0.kept().push(channel.downgrade());
    }
}
