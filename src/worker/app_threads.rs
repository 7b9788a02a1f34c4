//! The threads of a worker that has several. Each is attached to the interpreter once and for all,
//! so that its thread-locals last, and holds the GIL only while it serves. One of them leads
//! ([`super::leadership`]). The main thread follows orders, and runs nothing of the app but its
//! signal handlers.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::gettid;
use pyo3::prelude::*;

use rcorn_connection::{Connections, IoThread, Next};
use rcorn_log as log;
use rcorn_python::thread as python_thread;
use rcorn_scoreboard::{Answered, Cell};
use rcorn_sys::clock;
use rcorn_types::Monotonic;
use rcorn_wsgi::Endpoints;

use super::event_loop::{EventLoop, ThreadPool};
use super::leadership::Reclaimed;
use super::lifecycle::Survivor;
use super::orders::{LeaveOrders, Orders};
use super::rules::Rules;
use super::slot::RequestSlot;
use super::work::Work;

/// The stack of a thread where the process has no limit: what glibc takes then, rounded up.
const DEFAULT_STACK_BYTES: usize = 8 << 20;

/// How often the main thread looks at requests that were to be ended, in milliseconds.
const HUNG_LOOK_INTERVAL: u8 = 100;

/// What all threads of the worker know.
#[derive(Debug)]
pub(super) struct AppThreads {
    pool: ThreadPool,
    rules: Arc<Rules>,
    connections: Connections<Endpoints>,
    io: IoThread<Endpoints>,
    leave: LeaveOrders,
    /// How many threads have panicked: they serve nobody any more.
    failed: AtomicUsize,
    /// `timeout`: how long a request may take.
    limit: Option<Duration>,
    /// The worker serves on if requests that take too long end by the exception.
    survivor: Option<Survivor>,
}

/// One thread, as it knows itself.
#[derive(Debug)]
struct AppThread {
    /// Counted from 1.
    number: u16,
    cell: &'static Cell,
    slot: RequestSlot,
    /// It has not panicked.
    is_able: bool,
}

impl AppThread {
    /// Its place among all threads.
    fn index(&self) -> usize {
        usize::from(self.number.saturating_sub(1))
    }

    /// Makes the thread known to Python, under the name that it has under gunicorn, and to the main
    /// thread.
    fn introduce(&self, py: Python<'_>) -> PyResult<()> {
        let ident = python_thread::ident(py)?;
        self.cell
            .register_thread(ident, gettid().as_raw().cast_unsigned());
        let index = self.index();
        python_thread::set_name(py, &format!("ThreadPoolExecutor-0_{index}"))
    }
}

/// What is left of a worker with several threads.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code.
    pub(super) code: i32,
    /// The loop, if all threads have ended.
    pub(super) event_loop: Option<EventLoop>,
    pub(super) orders: Orders,
}

/// The threads of a worker that are ready to serve: they wait for its loop.
#[derive(Debug)]
pub(super) struct Started {
    threads: Arc<AppThreads>,
    handles: Vec<JoinHandle<()>>,
    orders: Orders,
}

/// Starts the threads of a worker, one for each slot.
///
/// # Errors
///
/// Those of `pthread_create(3)`; the module `threading` cannot be imported.
pub(super) fn start(
    py: Python<'_>,
    event_loop: &EventLoop,
    slots: Vec<RequestSlot>,
    pool: ThreadPool,
    orders: Orders,
) -> io::Result<Started> {
    // It takes the thread that imports it for the main one.
    py.import("threading").map_err(io::Error::other)?;
    let cells = pool.cells;
    let threads = Arc::new(AppThreads {
        rules: Arc::clone(&event_loop.rules),
        connections: event_loop.connections.clone(),
        io: event_loop.io.clone(),
        leave: orders.leave().clone(),
        failed: AtomicUsize::new(0),
        limit: event_loop.rules.settings.timeout.limit(),
        survivor: event_loop
            .rules
            .settings
            .survive_timeout
            .then(|| event_loop.lifecycle.survivor()),
        pool,
    });
    let app_threads = (1..).zip(cells.iter().zip(slots));
    let app_threads = app_threads.map(|(number, (cell, slot))| AppThread {
        number,
        cell,
        slot,
        is_able: true,
    });
    let handles = app_threads
        .map(|thread| threads.start(py, thread))
        .collect::<io::Result<Vec<_>>>()
        .inspect_err(|_| threads.pool.leadership.end(None))?;
    Ok(Started {
        threads,
        handles,
        orders,
    })
}

impl Started {
    /// Runs the worker until it leaves.
    pub(super) fn run(self, py: Python<'_>, event_loop: EventLoop) -> Ended {
        let Self {
            threads,
            handles,
            mut orders,
        } = self;
        let cell = event_loop.cell;
        threads.pool.leadership.start(Box::new(event_loop));
        threads.stand_by(py, &mut orders);
        threads.pool.leadership.end(None);
        let mut event_loop = None;
        if threads.leave.quit() {
            threads.tell_of_dropped();
        } else if threads.pool.leadership.elsewhere() == 0 {
            // Thread-locals end with their threads.
            py.detach(|| handles.into_iter().for_each(|handle| drop(handle.join())));
            event_loop = threads.pool.leadership.take_left();
        }
        cell.set_connections(0);
        let has_failed = threads.failed.load(Ordering::Relaxed) > 0;
        // Says that the requests that took too long have not ended.
        let is_hung = threads.pool.hung.given_up(clock::now()).threads > 0;
        Ended {
            code: i32::from(has_failed || is_hung),
            event_loop: event_loop.map(|event_loop| *event_loop),
            orders,
        }
    }
}

impl AppThreads {
    /// Starts a thread.
    fn start(self: &Arc<Self>, py: Python<'_>, thread: AppThread) -> io::Result<JoinHandle<()>> {
        let this = Arc::clone(self);
        // Python code needs as much of it as in the main thread.
        let stack = match python_thread::stack_bytes(py) {
            Ok(0) | Err(_) => stack_limit(),
            Ok(bytes) => bytes,
        };
        thread::Builder::new()
            .name(format!("rcorn app {}", thread.number))
            .stack_size(stack)
            .spawn(move || {
                let run = AssertUnwindSafe(|| this.run_thread(thread));
                if catch_unwind(run).is_err() {
                    // The loop is lost with it.
                    this.note_panic("");
                    this.pool.finished.notify();
                }
            })
    }

    /// A thread has panicked: the worker leaves when the requests of the others have ended.
    /// `request`: the one that it had in hand; empty for none.
    fn note_panic(&self, request: &str) {
        log::error(format_args!(
            "a thread of the worker cannot go on: it panicked{request}"
        ));
        let before = self.failed.fetch_add(1, Ordering::Relaxed);
        self.leave.order_drain();
        self.pool.wake.notify();
        if before.saturating_add(1) >= self.pool.cells.len() {
            // Nobody is left to lead.
            self.pool.finished.notify();
        }
    }

    /// A thread, from its start to its end.
    fn run_thread(&self, mut thread: AppThread) {
        // Attached once and for all: thread state, thread-locals and base context stay.
        Python::attach(|py| {
            if let Err(error) = thread.introduce(py) {
                log::warning(format_args!("a thread of the worker has no name: {error}"));
            }
            py.detach(|| self.follow(&mut thread));
            drop(thread);
            if let Err(error) = python_thread::forget(py) {
                log::warning(format_args!("a thread of the worker stays known: {error}"));
            }
        });
    }

    /// Waits to be called, leads, and waits again, without the GIL in between.
    fn follow(&self, thread: &mut AppThread) {
        while thread.is_able && self.pool.leadership.wait(thread.number) {
            let asked = clock::now();
            Python::attach(|py| {
                self.pool.count_gil_wait(asked);
                if let Some(event_loop) = self
                    .pool
                    .leadership
                    .take_over(|event_loop, channel| event_loop.connections.unwatch(channel))
                {
                    self.lead(py, event_loop, thread);
                }
            });
        }
    }

    /// Drives the loop as long as no other thread does.
    fn lead(&self, py: Python<'_>, mut event_loop: Box<EventLoop>, thread: &mut AppThread) {
        self.begin_to_lead(&event_loop, thread);
        loop {
            // Before each request: the turn may take long.
            event_loop.lifecycle.retire_if_due();
            match event_loop.step(py, &mut thread.slot) {
                Ok(Some(work)) => match self.serve(py, event_loop, work, thread) {
                    Some(same) => event_loop = same,
                    None => return,
                },
                Ok(None) => break,
                Err(error) => {
                    log::error(format_args!("the worker cannot go on: {error}"));
                    break;
                }
            }
        }
        event_loop.cell.sleep();
        self.pool.leadership.end(Some(event_loop));
        self.pool.finished.notify();
    }

    /// The thread leads from now on, after another.
    fn begin_to_lead(&self, event_loop: &EventLoop, thread: &mut AppThread) {
        thread.slot.handler.refresh_common_headers();
        event_loop.cell.wake(clock::coarse_now());
        // Responses of the one who is in the app now.
        self.io.flush();
    }

    /// Serves a connection; gives the loop back, unless another thread drives it now.
    fn serve(
        &self,
        py: Python<'_>,
        event_loop: Box<EventLoop>,
        mut work: Work,
        thread: &mut AppThread,
    ) -> Option<Box<EventLoop>> {
        let begun = clock::now();
        let requests = thread.cell.requests();
        work.channel().served_by(thread.number);
        // A new one is not watched.
        let in_hand = work.has_place().then(|| work.channel().clone());
        self.pool.hung.note_place(thread.index(), in_hand.is_some());
        thread.cell.wake(begun);
        event_loop.cell.sleep();
        let leadership = &self.pool.leadership;
        leadership.release(event_loop, thread.number, in_hand, begun);
        self.io.attend();
        let slot = &mut thread.slot;
        let served = catch_unwind(AssertUnwindSafe(|| work.serve(py, &self.rules, slot)));
        // A request slot is not what it was after a panic.
        let is_able = served.is_ok();
        let next = served.unwrap_or(Next::Abort);
        let took = clock::now().since(begun);
        let took = (thread.cell.requests() != requests).then_some(took);
        let reclaimed = leadership.reclaim(thread.number, took, |event_loop, channel| {
            event_loop.connections.unwatch(channel);
        });
        let event_loop = match reclaimed {
            Reclaimed::Kept(event_loop) => {
                event_loop.cell.wake(clock::coarse_now());
                work.finish(&event_loop.connections, next);
                Some(event_loop)
            }
            Reclaimed::Changed(event_loop) => {
                self.begin_to_lead(&event_loop, thread);
                work.finish_unwatched(&self.connections, next);
                self.returned(thread);
                Some(event_loop)
            }
            Reclaimed::Lost => {
                work.finish_unwatched(&self.connections, next);
                self.returned(thread);
                None
            }
        };
        thread.cell.sleep();
        self.pool.hung.came_free(py, (thread.index(), thread.cell));
        if is_able {
            return event_loop;
        }
        self.retire(thread, event_loop);
        None
    }

    /// A thread that has panicked serves nobody any more: another one leads.
    fn retire(&self, thread: &mut AppThread, event_loop: Option<Box<EventLoop>>) {
        thread.is_able = false;
        let entry = thread.cell.request_entry();
        let mut in_hand = String::new();
        if entry.begun().is_some() {
            if let Some(request) = entry.request() {
                in_hand = format!(" in request {}", log::escaped(&request.line));
            }
            entry.end(clock::coarse_now());
            thread.cell.sleep();
        }
        if let Some(event_loop) = event_loop {
            event_loop.cell.sleep();
            self.pool.leadership.start(event_loop);
        }
        self.note_panic(&in_hand);
    }

    /// A thread that had lost the loop has come back from the app.
    fn returned(&self, thread: &mut AppThread) {
        thread.slot.handler.end_turn();
        self.pool.leadership.settled();
        // The leader may wait for just this.
        if self.leave.drain() || self.leave.abort() {
            self.pool.wake.notify();
        }
    }

    /// The main thread: follows orders until the worker leaves.
    fn stand_by(&self, py: Python<'_>, orders: &mut Orders) {
        let mut orphaned_since = None;
        loop {
            let is_over = py.detach(|| {
                let is_over = self.wait_for_orders(orders);
                // The leader need not wait until this thread has the GIL.
                self.pool.wake.notify();
                is_over
            });
            if is_over {
                return;
            }
            orders.follow(py);
            if self.leave.quit() {
                return;
            }
            let limit = self.limit_now(&mut orphaned_since);
            if orders.must_unwind() {
                self.end_hung_requests(py, limit);
                self.decide(orders);
            }
            if self.leave.abort() {
                self.end_hung_requests(py, limit);
                if self.all_are_given_up() {
                    self.leave_for_them(py);
                    return;
                }
            }
            self.pool.wake.notify();
        }
    }

    /// How long a request may take; `None`: not at all, because the arbiter is gone and the worker
    /// had its time to leave. `orphaned_since`: when that was seen.
    fn limit_now(&self, orphaned_since: &mut Option<Monotonic>) -> Option<Duration> {
        if !self.leave.is_orphaned() {
            return self.limit;
        }
        let graceful = self.rules.settings.graceful_timeout.duration();
        let now = clock::now();
        let is_over = now >= orphaned_since.get_or_insert(now).after(graceful);
        self.limit.filter(|_| !is_over)
    }

    /// Serves on if the requests have ended that took too long, and leaves if they have had their
    /// time. Until then the other threads go on.
    fn decide(&self, orders: &Orders) {
        let hung = &self.pool.hung;
        if hung.given_up(clock::now()).threads > 0 {
            orders.leave_with_hung_requests();
        } else if hung.are_over() {
            // Before the report: the arbiter may send the next one any time after it.
            let served_on = orders.serve_on();
            let survivor = self.survivor.as_ref();
            let told = served_on.and_then(|()| survivor.map_or(Ok(()), Survivor::report));
            if let Err(error) = told {
                log::warning(format_args!("the worker cannot serve on: {error}"));
                orders.leave_with_hung_requests();
            }
        }
    }

    /// No thread is left that could lead: the main thread does what the order to leave asks for.
    fn leave_for_them(&self, py: Python<'_>) {
        let leadership = &self.pool.leadership;
        let event_loop = leadership.take_over(|event_loop, channel| {
            event_loop.connections.unwatch(channel);
        });
        let Some(mut event_loop) = event_loop else {
            return;
        };
        if event_loop.lifecycle.must_begin_to_leave()
            && let Err(error) = event_loop.begin_to_leave(py)
        {
            log::error(format_args!("the worker cannot leave properly: {error}"));
        }
        leadership.end(Some(event_loop));
    }

    /// Raises an exception in each thread whose request takes too long.
    fn end_hung_requests(&self, py: Python<'_>, limit: Option<Duration>) {
        let now = clock::now();
        for (index, cell) in self.pool.cells.iter().enumerate() {
            let hung = &self.pool.hung;
            hung.end_request(py, (index, cell), limit, now);
        }
    }

    /// Whether no thread is left that could lead.
    fn all_are_given_up(&self) -> bool {
        let given_up = self.pool.hung.given_up(clock::now()).threads;
        let failed = self.failed.load(Ordering::Relaxed);
        given_up.saturating_add(failed) >= self.pool.cells.len()
    }

    /// Waits for an order; whether the worker has nothing left to do.
    fn wait_for_orders(&self, orders: &Orders) -> bool {
        let wake = orders.wake();
        let mut ready = [
            PollFd::new(wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.pool.finished.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = if self.leave.abort() || orders.must_unwind() {
            PollTimeout::from(HUNG_LOOK_INTERVAL)
        } else {
            PollTimeout::NONE
        };
        // A signal that interrupts it has written to the pipe.
        poll(&mut ready, timeout).ok();
        let [_, over] = &ready;
        over.any().unwrap_or(false)
    }

    /// Says in the log which requests are dropped. They are over: nobody else is to miss them.
    fn tell_of_dropped(&self) {
        for cell in self.pool.cells {
            let entry = cell.request_entry();
            let Some(request) = entry.begun().and_then(|_| entry.request()) else {
                continue;
            };
            if entry.answered() == Answered::Yes {
                continue;
            }
            let line = log::escaped(&request.line);
            log::warning(format_args!(
                "Dropped request {line}: told to leave at once"
            ));
            entry.discard();
        }
    }
}

/// As much as glibc gives to a thread: `RLIMIT_STACK`.
fn stack_limit() -> usize {
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(soft, _hard)| soft);
    match usize::try_from(limit) {
        Ok(usize::MAX) | Err(_) => DEFAULT_STACK_BYTES,
        Ok(limit) => limit.min(64 << 20),
    }
}
