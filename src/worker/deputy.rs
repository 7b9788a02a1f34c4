//! The worker's deputy: a thread that does what needs no Python while the worker is in the app. It sends what the app
//! has given and does not add to, and when a request takes long it sees to the connections that are parked meanwhile:
//! it lets replies leave, and hands those that have a request on to the siblings.
//!
//! Started when it is needed for the first time; asleep while nothing happens. It never touches Python.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::time::TimeSpec;

use crate::log;
use crate::sys::clock;
use crate::sys::scoreboard::{Cell, Scoreboard};
use crate::wsgi::channel::{self, Channel, WeakChannel};

use super::connection::Waiting;
use super::desk::FIRST_CONNECTION;
use super::parking::Parking;

/// How long a part of a reply waits for the next one.
const HELD: u64 = 1_000_000;
/// How long a request may take before the deputy sees to the others; and how often it looks then.
const STUCK: u64 = 2_000_000;
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
    /// A reply that has something waiting, and when that is to be sent.
    held: Mutex<Option<(WeakChannel, u64)>>,
    asleep: AtomicBool,
    bell: EventFd,
    /// Whether the thread runs; `None` inside: it could not be started.
    thread: OnceLock<Option<()>>,
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
            held: Mutex::new(None),
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
        let mut awake_until = 0_u64;
        loop {
            let now = clock::monotonic();
            let due = self.send_held(now).min(self.stand_in(now, &mut events));
            if due < u64::MAX {
                awake_until = now.saturating_add(LINGER);
                self.pause(due.saturating_sub(now));
            } else if now < awake_until {
                self.pause(STUCK);
            } else if self.asleep.swap(true, Ordering::AcqRel) {
                self.sleep();
                awake_until = 0;
            } else {
                // The worker may just have looked whether we are asleep: one more look at what it does.
                self.pause(STUCK);
            }
        }
    }

    /// Waits so many ns, or for the bell.
    fn pause(&self, time: u64) {
        let time = Duration::from_nanos(time.max(SHORTEST));
        self.listen(Some(TimeSpec::from_duration(time)));
    }

    /// Waits for the bell.
    fn sleep(&self) {
        while self.asleep.load(Ordering::Acquire) {
            self.listen(None);
        }
    }

    fn listen(&self, time: Option<TimeSpec>) {
        let mut bell = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if matches!(ppoll(&mut bell, time, None), Ok(rung) if rung > 0) {
            self.bell.read().ok();
        }
    }

    /// Sends what waits for the app's next part; gives when to look again.
    fn send_held(&self, now: u64) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((channel, due)) = held.as_mut() else {
            return u64::MAX;
        };
        if *due > now {
            return *due;
        }
        let all_out = channel.get().is_none_or(|channel| channel.pump_aside());
        if all_out {
            *held = None;
            return u64::MAX;
        }
        // The client takes nothing just now.
        *due = now.saturating_add(STUCK);
        *due
    }

    /// Sees to the parked connections when the worker cannot; gives when to look again.
    fn stand_in(&self, now: u64, events: &mut [EpollEvent]) -> u64 {
        let busy = self.cell.busy_since.load(Ordering::Acquire);
        if busy == 0 || self.parking.held() == 0 {
            return u64::MAX;
        }
        let stuck = busy.saturating_add(STUCK);
        if now < stuck {
            return stuck;
        }
        // Not waiting here keeps the listeners' EPOLLEXCLUSIVE from waking us for a connection that we do not take.
        let count = self.epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(count) {
            if let Some(index) = event.data().checked_sub(FIRST_CONNECTION) {
                self.see_to(usize::try_from(index).unwrap_or(usize::MAX));
            }
        }
        now.saturating_add(STUCK)
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
        let held = (channel.downgrade(), due);
        *self.0.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        self.0.attend();
    }
}
