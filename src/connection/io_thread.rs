//! The helper thread of a worker: it does what needs no Python while the worker is in the app. It sends what the app
//! has given and does not add to, and when a request takes long it looks after the connections that are parked
//! meanwhile: it lets replies leave, and hands those that have a request on to the siblings.
//!
//! Started when it is needed for the first time; asleep while nothing happens. It never touches Python, and drops
//! nothing that might be Python's: see [`IoThread::take_discarded`].

use std::fmt::Debug;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::time::TimeSpec;

use rcorn_log as log;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::channel::{Channel, WeakChannel, WriteOffload};
use super::connection::Connection;
use super::connections::Connections;
use super::handoff::HandoffQueue;
use super::parking::Parking;
use super::poller::{Events, Poller};
use super::state::Waiting;
use super::sync::Lock;

/// How long a part of a reply waits for the next one.
const MAX_HOLD: Duration = Duration::from_millis(1);
/// How long a request may take before the thread looks after the other connections; and how often it looks then.
const BUSY_REQUEST: Duration = Duration::from_millis(2);
/// What the first look's interval is doubled from.
const FIRST_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// The longest time between two looks at a worker whose requests are quick: each look doubles it. Under load every
/// look interrupts the worker; in a virtual machine that costs as much as several requests.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(16);
/// The least wait: what is due any moment is done together.
const MIN_WAIT: Duration = Duration::from_micros(50);
/// How long it stays awake after the last request: to be woken costs the worker a system call.
const AWAKE_AFTER_REQUEST: Duration = Duration::from_millis(50);
/// It calls little and nothing deep.
const STACK_BYTES: usize = 128 * 1024;

/// The helper thread, as the worker's own thread knows it. Cheap to clone.
#[derive(Debug)]
pub struct IoThread<E>(Arc<Shared<E>>);

impl<E> Clone for IoThread<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What both threads know.
#[derive(Debug)]
struct Shared<E> {
    parking: Arc<Parking<Connection<E>>>,
    poller: Arc<Poller>,
    handoff: Arc<HandoffQueue>,
    cell: &'static Cell,
    scoreboard: &'static Scoreboard,
    /// The worker was told to leave.
    leaving: Arc<AtomicBool>,
    agenda: Lock<Agenda>,
    /// Channels with replies that the kernel may keep.
    unflushed: Lock<Vec<WeakChannel>>,
    /// What connections had that were handed on: for the worker to drop.
    discarded: Lock<Vec<E>>,
    has_discarded: AtomicBool,
    asleep: AtomicBool,
    bell: EventFd,
    /// Whether the thread runs; `None` inside: it could not be started.
    thread: OnceLock<Option<()>>,
}

/// What the thread will do next.
#[derive(Debug)]
struct Agenda {
    /// A reply of which something waits, and when that is to be sent.
    held: Option<(WeakChannel, Monotonic)>,
    /// When it looks again without the bell.
    looks_at: Monotonic,
}

impl<E: Debug + Send + 'static> IoThread<E> {
    /// Does not run yet. `leaving`: the worker was told to leave.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new(
        connections: &Connections<E>,
        poller: Arc<Poller>,
        handoff: Arc<HandoffQueue>,
        cell: &'static Cell,
        scoreboard: &'static Scoreboard,
        leaving: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(Shared {
            parking: Arc::clone(connections.parking()),
            poller,
            handoff,
            cell,
            scoreboard,
            leaving,
            agenda: Lock::new(Agenda {
                held: None,
                looks_at: Monotonic::NEVER,
            }),
            unflushed: Lock::default(),
            discarded: Lock::new(Vec::new()),
            has_discarded: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            bell: EventFd::from_value_and_flags(0, flags)?,
            thread: OnceLock::new(),
        })))
    }

    /// A request begins, and other connections may need something meanwhile.
    pub fn attend(&self) {
        if self.0.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        let started = self.0.thread.get_or_init(|| {
            let shared = Arc::clone(&self.0);
            // Signals are the worker's: its system calls must be interrupted by them.
            let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
            let spawned = thread::Builder::new()
                .name("rcorn io".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.run());
            if let Ok(before) = before {
                before.thread_set_mask().ok();
            }
            let failed = spawned.map(drop).map_err(|error| {
                log::warning(format_args!("a worker has no helper thread: {error}"));
            });
            failed.ok()
        });
        if started.is_some() && self.0.asleep.swap(false, Ordering::AcqRel) {
            self.0.bell.write(1).ok();
        }
    }

    /// Lets the replies go that the kernel may keep.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// What connections had that the thread has handed on. To be dropped by the worker's own thread.
    #[must_use]
    pub fn take_discarded(&self) -> Vec<E> {
        if self.0.has_discarded.swap(false, Ordering::Acquire) {
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
        agenda.held = Some((channel.downgrade(), due));
        let late = agenda.looks_at > due.after(BUSY_REQUEST);
        drop(agenda);
        if late {
            self.0.bell.write(1).ok();
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
        loop {
            let now = clock::now();
            let holds = self.send_held(now);
            interval = if self.serve_parked(now, &mut events) || holds {
                BUSY_REQUEST
            } else {
                MAX_LOOK_INTERVAL.min(interval.saturating_mul(2))
            };
            let requests = self.cell.requests();
            if holds || self.busy_since().is_some() || requests != served {
                awake_until = now.after(AWAKE_AFTER_REQUEST);
            } else if now >= awake_until && self.asleep.swap(true, Ordering::AcqRel) {
                self.sleep();
                (awake_until, interval) = (Monotonic::ZERO, FIRST_LOOK_INTERVAL);
                continue;
            }
            served = requests;
            // Also when it has just said that it sleeps: the worker may have looked before.
            self.pause(now, now.after(interval));
        }
    }

    /// Waits until then, or until what is held is due, or for the bell.
    fn pause(&self, now: Monotonic, look: Monotonic) {
        let mut agenda = self.agenda.lock();
        agenda.looks_at = agenda.held.as_ref().map_or(look, |(_, due)| look.min(*due));
        let time = agenda.looks_at.since(now).max(MIN_WAIT);
        drop(agenda);
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

    /// Sends what waits for the app's next part, when that is due. Whether more of it will be.
    fn send_held(&self, now: Monotonic) -> bool {
        let mut agenda = self.agenda.lock();
        let Some((channel, due)) = agenda.held.as_mut() else {
            return false;
        };
        if *due <= now {
            if channel.get().is_none_or(|channel| channel.pump_aside()) {
                agenda.held = None;
                return false;
            }
            // The client takes nothing just now.
            *due = now.after(BUSY_REQUEST);
        }
        true
    }

    fn flush(&self) {
        for channel in self.unflushed.lock().drain(..) {
            if let Some(channel) = channel.get() {
                channel.transport().flush();
            }
        }
    }

    /// When the request in hand began.
    fn busy_since(&self) -> Option<Monotonic> {
        self.cell.request_entry().begun()
    }

    /// Looks after the parked connections when the worker cannot; whether it cannot.
    fn serve_parked(&self, now: Monotonic, events: &mut Events) -> bool {
        let busy = |since: Monotonic| now >= since.after(BUSY_REQUEST);
        if !self.busy_since().is_some_and(busy) || self.parking.held() == 0 {
            return false;
        }
        self.flush();
        // Not waiting here keeps the listeners' EPOLLEXCLUSIVE from waking us for a connection that we do not take.
        if self.poller.wait(events, Some(Duration::ZERO)).is_ok() {
            events.connections().for_each(|place| self.service(place));
        }
        true
    }

    fn service(&self, place: usize) {
        let Some(mut connection) = self.parking.take(place) else {
            return;
        };
        match connection.state.waiting {
            // A failure is for the worker to find.
            Waiting::Reply(_) => {
                let _all_out: bool = connection.channel.pump_aside();
            }
            Waiting::Close => {}
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest => {
                if self.may_hand_on() && connection.hand_on(&self.handoff) {
                    // Closing would not end it: it lives on in the queue, and would stay in our poller.
                    let socket = connection.channel.transport().descriptor();
                    self.poller.remove(socket).ok();
                    self.discard(connection.endpoints.take());
                    drop(connection);
                    self.parking.vacate(place);
                    return;
                }
            }
        }
        self.parking.put_back(place, connection);
    }

    /// Leaves it for the worker to drop.
    fn discard(&self, endpoints: Option<E>) {
        if let Some(endpoints) = endpoints {
            self.discarded.lock().push(endpoints);
            self.has_discarded.store(true, Ordering::Release);
        }
    }

    /// Whether a sibling is there to take a connection.
    fn may_hand_on(&self) -> bool {
        let shared = self.scoreboard.shared();
        shared.wanted() > 1 && shared.stop_mode().is_none() && !self.leaving.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};

    use super::*;
    use crate::connection::WaitTimeouts;
    use crate::connections::Expired;
    use crate::connections::tests::connection;
    use crate::fd_budget::FdBudget;
    use crate::handoff::tests::queue;
    use crate::state::Next;

    /// What only one thread may drop.
    #[derive(Debug)]
    struct Pythons(thread::ThreadId);

    impl Drop for Pythons {
        fn drop(&mut self) {
            assert_eq!(self.0, thread::current().id(), "dropped by another thread");
        }
    }

    struct World {
        connections: Connections<Pythons>,
        thread: IoThread<Pythons>,
        handoff: Arc<HandoffQueue>,
        cell: &'static Cell,
    }

    fn world(timeout: Duration) -> World {
        let (board, _fd) = Scoreboard::create(1).unwrap();
        let board: &'static Scoreboard = Box::leak(Box::new(board));
        let cell = board.cell(0).unwrap();
        board.shared().set_wanted(2);
        let poller = Arc::new(Poller::new().unwrap());
        let limit = Some(timeout);
        let timeouts = WaitTimeouts {
            head: limit,
            body: limit,
            idle: limit,
            write: limit,
            close: limit,
        };
        let budget = FdBudget::new(100);
        let connections = Connections::new(
            Arc::clone(&poller),
            cell.connections_gauge(),
            timeouts,
            budget,
        );
        let handoff = Arc::new(queue());
        let leaving = Arc::default();
        let thread = IoThread::new(
            &connections,
            poller,
            Arc::clone(&handoff),
            cell,
            board,
            leaving,
        );
        World {
            connections,
            thread: thread.unwrap(),
            handoff,
            cell,
        }
    }

    fn parked(world: &mut World, waiting: Waiting) -> std::os::unix::net::UnixStream {
        let (one, client) = connection();
        let mut ours = Connection::new(one.channel.clone(), one.client(), one.state);
        ours.endpoints = Some(Pythons(thread::current().id()));
        world.connections.settle_new(ours, Next::Park(waiting));
        client
    }

    /// The app is in a long request from now on.
    fn begin_request(world: &World) {
        world.cell.request_entry().begin(clock::now(), b"", b"");
        world.thread.attend();
    }

    fn until(what: impl Fn() -> bool) {
        let limit = clock::now().after(Duration::from_secs(10));
        while !what() {
            assert!(clock::now() < limit, "it never happens");
            thread::yield_now();
        }
    }

    #[test]
    fn a_request_of_another_connection_is_handed_on_and_its_objects_are_dropped_here() {
        let mut world = world(Duration::from_mins(1));
        let mut client = parked(&mut world, Waiting::NextRequest);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        begin_request(&world);
        until(|| world.connections.held() == 0);
        let taken = world.handoff.receive().unwrap().unwrap();
        assert_eq!(taken.state.waiting, Waiting::NextRequest);
        assert_eq!(world.thread.take_discarded().len(), 1);
        assert!(world.thread.take_discarded().is_empty());
        // The connection lives on.
        taken.transport.send(b"hi", crate::Flush::Now).unwrap();
        let mut got = [0; 2];
        client.read_exact(&mut got).unwrap();
    }

    #[test]
    fn nothing_is_handed_on_by_a_worker_that_is_alone_or_leaves() {
        let mut world = world(Duration::from_mins(1));
        let mut client = parked(&mut world, Waiting::NextRequest);
        client.write_all(b"GET").unwrap();
        world.thread.0.leaving.store(true, Ordering::Relaxed);
        assert!(!world.thread.0.may_hand_on());
        world.thread.0.service(0);
        assert_eq!(world.connections.held(), 1);
        world.thread.0.leaving.store(false, Ordering::Relaxed);
        let shared = world.thread.0.scoreboard.shared();
        shared.set_wanted(1);
        world.thread.0.service(0);
        assert_eq!(world.connections.held(), 1);
        assert!(world.handoff.receive().unwrap().is_none());
    }

    #[test]
    fn what_the_app_does_not_add_to_is_sent_soon() {
        let world = world(Duration::from_mins(1));
        let (one, mut client) = connection();
        one.channel.hold(&[IoSlice::new(b"part")]);
        world.thread.send_soon(&one.channel);
        let mut got = [0; 4];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"part");
    }

    #[test]
    fn a_client_that_takes_nothing_meets_its_time_limit_though_the_thread_has_looked_at_it() {
        let mut world = world(Duration::from_millis(1));
        let (one, _client) = connection();
        let reply = vec![1; 4 << 20];
        one.channel.hold(&[IoSlice::new(&reply)]);
        let ours = Connection::new(one.channel.clone(), one.client(), one.state);
        world.connections.settle_new(ours, Next::Done);
        // The thread has the connection while the worker looks for those whose time is over.
        let taken = world.connections.take(0).unwrap();
        assert!(world.connections.expired(clock::coarse_now()).is_empty());
        world.thread.0.parking.put_back(0, taken);
        world.thread.0.service(0);
        // Nobody parks anything else, and the time limit holds all the same.
        let mut reset = false;
        while world.connections.held() > 0 {
            until(|| clock::coarse_now() >= world.connections.next_deadline());
            for place in world.connections.expired(clock::coarse_now()) {
                reset |= matches!(world.connections.end_wait(place), Expired::Reply(_));
            }
        }
        assert!(reset);
    }
}
