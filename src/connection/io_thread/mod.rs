//! The I/O thread of a worker: it does what needs no Python while the worker runs the app. It sends
//! the parts of a response that the app has produced and does not continue. If a request takes
//! long, it serves the parked connections: it sends their responses, and hands those with a new
//! request to the siblings.
//!
//! It is started when it is first needed, and sleeps while nothing happens. It never touches
//! Python, and drops nothing that may be a Python object: see [`IoThread::take_discarded`].

use std::fmt::Debug;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::time::TimeSpec;

use rcorn_log as log;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_sys::clock;
use rcorn_sys::private::PrivateMark;
use rcorn_types::Monotonic;

use crate::channel::{Channel, WeakChannel, WriteOffload};
use crate::connection::{Connection, WaitTimeouts};
use crate::connections::Connections;
use crate::handoff::HandoffQueue;
use crate::parking::Parking;
use crate::poller::{Events, Interest, Poller, Source};
use crate::queue_limit::QueueLimit;
use crate::state::Waiting;
use crate::sync::Lock;

/// How long a part of a response waits for the next part.
const MAX_HOLD: Duration = Duration::from_millis(1);
/// How long a request may take before the thread serves the other connections, and how often it
/// does so then.
const BUSY_REQUEST: Duration = Duration::from_millis(2);
/// How long a request may take before another thread of the worker is called, if it has several.
const LONG_REQUEST: Duration = Duration::from_millis(1);
/// The interval that the first look doubles.
const FIRST_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// The longest time between two looks at a worker whose requests are quick: each look doubles it.
/// Under load every look interrupts the worker, which costs as much as several requests in a
/// virtual machine.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(16);
/// The shortest wait: things that are due almost at the same time are done together.
const MIN_WAIT: Duration = Duration::from_micros(50);
/// How long it stays awake after the last request: waking it costs the worker a system call.
const AWAKE_AFTER_REQUEST: Duration = Duration::from_millis(50);
/// Its calls are few and not deep.
const STACK_BYTES: usize = 128 * 1024;

/// How the worker does, as its I/O thread must know it.
pub trait Attendance: Debug + Send + Sync {
    /// Since when nobody attends to the worker's connections, because the app runs; `None`:
    /// somebody does.
    fn away_since(&self) -> Option<Monotonic>;

    /// How many requests there were: a number that changes with each.
    fn requests(&self) -> u64;

    /// Nobody attends for longer than is good: somebody else is to do it, if there is anybody.
    fn call(&self) {}

    /// The longest time between two looks at a worker whose requests are quick.
    fn max_look_interval(&self) -> Duration {
        MAX_LOOK_INTERVAL
    }
}

/// A worker with one thread attends to its connections while no request is in hand.
#[derive(Debug)]
pub struct OneThread(pub &'static Cell);

impl Attendance for OneThread {
    fn away_since(&self) -> Option<Monotonic> {
        self.0.request_entry().begun()
    }

    fn requests(&self) -> u64 {
        self.0.requests()
    }
}

/// The orders to leave that the worker has got.
#[derive(Clone, Debug, Default)]
pub struct LeaveFlags {
    /// Finish and leave.
    pub drain: Arc<AtomicBool>,
    /// Leave at once.
    pub quit: Arc<AtomicBool>,
    /// End what takes too long, and leave.
    pub abort: Arc<AtomicBool>,
}

impl LeaveFlags {
    /// Whether the worker is to serve nobody else.
    fn takes_nobody(&self) -> bool {
        let flags = [&self.drain, &self.quit, &self.abort];
        flags.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The I/O thread, as the worker's own threads know it. Cheap to clone.
#[derive(Debug)]
pub struct IoThread<E>(Arc<Shared<E>>);

impl<E> Clone for IoThread<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What both threads share.
#[derive(Debug)]
struct Shared<E> {
    parking: Arc<Parking<Connection<E>>>,
    poller: Arc<Poller>,
    handoff: Arc<HandoffQueue>,
    attendance: Arc<dyn Attendance>,
    scoreboard: &'static Scoreboard,
    /// The worker's.
    cell: &'static Cell,
    leave: LeaveFlags,
    /// How long connections may wait.
    timeouts: WaitTimeouts,
    /// `queue_timeout`, if there is one.
    queue_limit: Option<QueueLimit<E>>,
    agenda: Lock<Agenda>,
    /// Channels with responses that the kernel may keep.
    unflushed: Lock<Vec<WeakChannel>>,
    /// The `endpoints` of connections that were handed on: the worker must drop them.
    discarded: Lock<Vec<E>>,
    has_discarded: AtomicBool,
    asleep: AtomicBool,
    /// Dropped before the event.
    _private: PrivateMark,
    wake: EventFd,
    /// Set when the thread was started; `None` inside: it could not be started, or was ended.
    thread: OnceLock<Lock<Option<JoinHandle<()>>>>,
    /// The thread must end.
    ends: AtomicBool,
}

/// What the thread will do next.
#[derive(Debug)]
struct Agenda {
    /// Responses of which a part waits, and when that part must be sent: one for each request in
    /// progress at most.
    held: Vec<(WeakChannel, Monotonic)>,
    /// When it looks again without being woken.
    looks_at: Monotonic,
}

impl<E: Debug + Send + 'static> IoThread<E> {
    /// A thread that is not started yet. `place`: the scoreboard, and the worker's cell in it.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new(
        connections: &Connections<E>,
        poller: Arc<Poller>,
        handoff: Arc<HandoffQueue>,
        attendance: Arc<dyn Attendance>,
        place: (&'static Scoreboard, &'static Cell),
        leave: LeaveFlags,
        queue_limit: Option<QueueLimit<E>>,
    ) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self(Arc::new(Shared {
            parking: Arc::clone(connections.parking()),
            poller,
            handoff,
            attendance,
            scoreboard: place.0,
            cell: place.1,
            leave,
            timeouts: connections.timeouts(),
            queue_limit,
            agenda: Lock::new(Agenda {
                held: Vec::new(),
                looks_at: Monotonic::NEVER,
            }),
            unflushed: Lock::default(),
            discarded: Lock::new(Vec::new()),
            has_discarded: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            _private: PrivateMark::new(&wake),
            wake,
            thread: OnceLock::new(),
            ends: AtomicBool::new(false),
        })))
    }

    /// Notes that a request has begun during which other connections may need something. To be
    /// called when the request's entry says so: the thread sleeps unless it finds a request there.
    pub fn attend(&self) {
        if self.0.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        self.0.thread.get_or_init(|| {
            let shared = Arc::clone(&self.0);
            // Signals must go to the worker's thread, whose system calls they interrupt.
            let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
            let spawned = thread::Builder::new()
                .name("rcorn io".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.run());
            if let Ok(before) = before {
                before.thread_set_mask().ok();
            }
            let failed = spawned.inspect_err(|error| {
                log::warning(format_args!("a worker has no I/O thread: {error}"));
            });
            Lock::new(failed.ok())
        });
        if self.0.asleep.swap(false, Ordering::AcqRel) {
            self.0.wake.write(1).ok();
        }
    }

    /// Flushes the responses that the kernel may keep.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Ends the thread ([`IoThread::end`]), then tells the log of the requests that have waited too
    /// long and that it was not told of. The worker leaves.
    pub fn end_and_tell(&self) {
        self.end();
        if let Some(limit) = &self.0.queue_limit {
            limit.tell_of_the_last();
        }
    }

    /// Ends the thread, if it runs, and waits for its end. It is not started again.
    pub fn end(&self) {
        self.0.ends.store(true, Ordering::Release);
        let ended = self.0.thread.get_or_init(|| Lock::new(None)).lock().take();
        if let Some(thread) = ended {
            self.0.asleep.store(false, Ordering::Release);
            self.0.wake.write(1).ok();
            // A panic of it has been logged.
            thread.join().ok();
        }
    }

    /// The `endpoints` of connections that the thread has handed on. The worker's own thread must
    /// drop them.
    #[must_use]
    pub fn take_discarded(&self) -> Vec<E> {
        // A swap alone would cost more, in each turn of the event loop.
        let discarded = &self.0.has_discarded;
        if discarded.load(Ordering::Relaxed) && discarded.swap(false, Ordering::Acquire) {
            std::mem::take(&mut *self.0.discarded.lock())
        } else {
            Vec::new()
        }
    }
}

impl<E: Debug + Send + 'static> WriteOffload for IoThread<E> {
    fn send_soon(&self, channel: &Channel) {
        let due = clock::now().after(MAX_HOLD);
        let mut agenda = self.0.agenda.lock();
        match agenda.held.iter_mut().find(|(held, _)| held.is(channel)) {
            Some((_, later)) => *later = due,
            None => agenda.held.push((channel.downgrade(), due)),
        }
        let late = agenda.looks_at > due.after(BUSY_REQUEST);
        drop(agenda);
        if late {
            self.0.wake.write(1).ok();
        }
        self.attend();
    }

    fn flush_soon(&self, channel: &Channel) {
        self.0.unflushed.lock().push(channel.downgrade());
    }
}

impl<E> Shared<E> {
    fn run(&self) {
        let mut events = Events::with_capacity(64);
        let (mut awake_until, mut served) = (Monotonic::ZERO, 0);
        let mut interval = FIRST_LOOK_INTERVAL;
        while !self.ends.load(Ordering::Acquire) {
            let now = clock::now();
            if let Some(limit) = &self.queue_limit {
                limit.tell_of_refused(now);
            }
            let holds = self.send_held(now);
            interval = if self.serve_parked(now, &mut events) || holds {
                BUSY_REQUEST
            } else {
                let longest = self.attendance.max_look_interval();
                longest.min(interval.saturating_mul(2))
            };
            let requests = self.attendance.requests();
            if holds || self.attendance.away_since().is_some() || requests != served {
                awake_until = now.after(AWAKE_AFTER_REQUEST);
            } else if now >= awake_until && self.asleep.swap(true, Ordering::AcqRel) {
                self.sleep();
                (awake_until, interval) = (Monotonic::ZERO, FIRST_LOOK_INTERVAL);
                continue;
            }
            served = requests;
            // Also if it has only just announced that it sleeps: the worker may have looked before.
            self.pause(now, now.after(interval));
        }
    }

    /// Waits until `look`, until what is held is due, or until it is woken.
    fn pause(&self, now: Monotonic, look: Monotonic) {
        let mut agenda = self.agenda.lock();
        let due = agenda.held.iter().map(|(_, due)| *due);
        agenda.looks_at = due.fold(look, Monotonic::min);
        let time = agenda.looks_at.since(now).max(MIN_WAIT);
        drop(agenda);
        self.listen(Some(TimeSpec::from_duration(time)));
    }

    /// Waits until it is woken.
    fn sleep(&self) {
        while self.asleep.load(Ordering::Acquire) && !self.ends.load(Ordering::Acquire) {
            let limit = self.queue_limit.as_ref();
            let next = limit.and_then(|limit| limit.tell_of_refused(clock::now()));
            self.listen(next.map(TimeSpec::from_duration));
        }
    }

    fn listen(&self, time: Option<TimeSpec>) {
        let mut event = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if matches!(ppoll(&mut event, time, None), Ok(ready) if ready > 0) {
            self.wake.read().ok();
        }
    }

    /// Sends what waits for the app's next part, where that is due. Returns whether something still
    /// waits.
    fn send_held(&self, now: Monotonic) -> bool {
        let mut agenda = self.agenda.lock();
        agenda.held.retain_mut(|(channel, due)| {
            if *due > now {
                return true;
            }
            // The client takes nothing at the moment.
            *due = now.after(BUSY_REQUEST);
            channel.get().is_some_and(|channel| !channel.pump_aside())
        });
        !agenda.held.is_empty()
    }

    fn flush(&self) {
        for channel in self.unflushed.lock().drain(..) {
            if let Some(channel) = channel.get() {
                channel.transport().flush();
            }
        }
    }

    /// Serves the parked connections if the worker cannot; returns whether it cannot.
    fn serve_parked(&self, now: Monotonic, events: &mut Events) -> bool {
        let Some(since) = self.attendance.away_since() else {
            return false;
        };
        if now >= since.after(LONG_REQUEST) {
            self.attendance.call();
        }
        if now < since.after(BUSY_REQUEST) {
            return false;
        }
        if let Some(access) = log::access_log() {
            access.write_held();
        }
        if let Some(limit) = &self.queue_limit {
            self.accept_waiting(limit, now);
        }
        if self.parking.held() == 0 {
            return self.queue_limit.is_some();
        }
        self.flush();
        // It does not wait here: otherwise the listeners' EPOLLEXCLUSIVE would wake this thread for
        // a connection that it does not take.
        if self.poller.wait(events, Some(Duration::ZERO)).is_ok() {
            events
                .connections()
                .for_each(|place| self.service(place, now));
        }
        if self.queue_limit.is_some() && now >= self.parking.next_deadline() {
            let is_closing = |parked: &Connection<E>| parked.state.waiting == Waiting::Close;
            let expired = self.parking.take_expired(now, is_closing);
            for one in expired {
                self.close(one);
            }
        }
        true
    }

    /// Closes a connection that was taken out.
    fn close(&self, mut connection: Box<Connection<E>>) {
        self.discard(connection.endpoints.take());
        let place = connection.place;
        connection.channel.transport().shut_down();
        drop(connection);
        if let Some(place) = place {
            self.parking.vacate(place);
        }
    }

    /// Accepts what waits, because its wait has a limit; not while a sibling can do that.
    fn accept_waiting(&self, limit: &QueueLimit<E>, now: Monotonic) {
        if self.sibling_is_free() || self.leave.takes_nobody() {
            return;
        }
        while let Some(mut connection) = limit.accept(self.parking.held()) {
            let deadline = connection.wait_for(Waiting::FirstByte, &self.timeouts, now);
            let place = self.parking.reserve();
            let socket = connection.channel.transport().descriptor();
            let (source, interest) = (Source::Connection(place), Interest::Readable);
            if self.poller.watch(socket, source, interest, None).is_err() {
                self.parking.vacate(place);
                continue;
            }
            (connection.place, connection.watched) = (Some(place), Some(interest));
            self.parking.put(place, Box::new(connection), deadline);
        }
    }

    fn service(&self, place: usize, now: Monotonic) {
        let Some(mut connection) = self.parking.take(place) else {
            return;
        };
        match connection.state.waiting {
            // The worker finds a failure.
            Waiting::Response(_) => {
                let _all_out: bool = connection.channel.pump_aside();
            }
            // Otherwise those that were refused would keep others from being answered.
            Waiting::Close => {
                if self.queue_limit.is_some() && connection.channel.has_ended() {
                    return self.close(connection);
                }
            }
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest => {
                let may_hand_on = self.may_hand_on()
                    // In the queue nobody would look at the limit.
                    && (self.queue_limit.is_none() || self.sibling_is_free());
                if may_hand_on && connection.hand_on(&self.handoff) {
                    // Closing would not remove it: the connection stays open in the queue, and
                    // would stay in our poller.
                    let socket = connection.channel.transport().descriptor();
                    self.poller.remove(socket).ok();
                    self.discard(connection.endpoints.take());
                    drop(connection);
                    self.parking.vacate(place);
                    return;
                }
                if let Some(limit) = &self.queue_limit
                    && limit.is_over(&mut connection, now)
                {
                    limit.refuse(&mut connection, now);
                    let deadline = connection.wait_for(Waiting::Close, &self.timeouts, now);
                    self.parking.put(place, connection, deadline);
                    return;
                }
            }
        }
        self.parking.put_back(place, connection);
    }

    /// Keeps it until the worker drops it.
    fn discard(&self, endpoints: Option<E>) {
        if let Some(endpoints) = endpoints {
            self.discarded.lock().push(endpoints);
            self.has_discarded.store(true, Ordering::Release);
        }
    }

    /// Whether another worker has a thread that is free.
    fn sibling_is_free(&self) -> bool {
        let shared = self.scoreboard.shared();
        if shared.wanted() <= 1 {
            return false;
        }
        let most = shared.wanted().saturating_mul(2);
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        (0..most.min(self.scoreboard.cells())).any(|index| {
            let is_own = |cell: &Cell| std::ptr::eq(cell, self.cell);
            !self.scoreboard.cell(index).is_some_and(is_own) && self.scoreboard.is_free(index)
        })
    }

    /// Whether there is a sibling that can take a connection.
    fn may_hand_on(&self) -> bool {
        let shared = self.scoreboard.shared();
        let is_drained = self.leave.drain.load(Ordering::Relaxed);
        shared.wanted() > 1 && shared.stop_mode().is_none() && !is_drained
    }
}

#[cfg(test)]
mod tests;
