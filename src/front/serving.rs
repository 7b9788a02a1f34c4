//! The threads. Each has a loop of its own, accepts for itself and shares nothing with the others
//! that a request needs.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcorn_front_link::FrontListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::accept::{self, Acceptor};
use crate::counters::Counters;
use crate::inner::Pool;
use crate::local::Local;
use crate::records::Records;
use crate::running::Running;
use crate::timer::limit;

/// How often kept connections to workers are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What all threads serve.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) listeners: Vec<(OwnedFd, FrontListener)>,
    /// The path of the workers' socket.
    pub(crate) inner: PathBuf,
    pub(crate) challenges: Option<Arc<OwnedFd>>,
    pub(crate) threads: usize,
    /// The most connections that there are descriptors for.
    pub(crate) room: usize,
    pub(crate) running: watch::Receiver<Arc<Running>>,
    /// True from the beginning of the end on.
    pub(crate) drain: watch::Receiver<bool>,
    pub(crate) records: Records,
    pub(crate) open: Arc<Open>,
}

/// The open connections of all threads.
#[derive(Debug, Default)]
pub(crate) struct Open {
    count: AtomicUsize,
    none: Notify,
}

impl Open {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there is none.
    pub(crate) async fn until_none(&self) {
        loop {
            let none = self.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// An open connection, until it is dropped.
struct Guard {
    open: Arc<Open>,
    thread: Rc<Room>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.thread.leave();
        if self.open.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.open.none.notify_waiters();
        }
    }
}

/// The open connections of one thread.
#[derive(Debug, Default)]
struct Room {
    taken: std::cell::Cell<usize>,
    freed: Notify,
}

impl Room {
    fn leave(&self) {
        self.taken.set(self.taken.get().saturating_sub(1));
        self.freed.notify_one();
    }

    /// Waits until there are fewer than so many.
    async fn until_free(&self, most: usize) {
        while self.taken.get() >= most {
            self.freed.notified().await;
        }
    }
}

/// A loop for one thread.
///
/// # Errors
///
/// There is no descriptor left for it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Starts a thread that serves.
///
/// # Errors
///
/// Those of `pthread_create(3)`, or of [`runtime`].
pub(crate) fn start_thread(
    plan: Arc<Plan>,
    counters: Arc<Counters>,
    number: usize,
) -> io::Result<()> {
    let runtime = runtime()?;
    std::thread::Builder::new()
        .name(format!("front {number}"))
        .spawn(move || {
            LocalSet::new().block_on(&runtime, serve(plan, counters));
        })
        .map(|_handle| ())
}

/// Serves in this thread, within a [`LocalSet`], until the front drains and longer.
pub(crate) async fn serve(plan: Arc<Plan>, counters: Arc<Counters>) {
    let pool = Pool::new(plan.inner.clone());
    let local = Local::new(pool, counters, plan.records.clone());
    let room = Rc::new(Room::default());
    for index in 0..plan.listeners.len() {
        let (plan, local, room) = (Arc::clone(&plan), Rc::clone(&local), Rc::clone(&room));
        tokio::task::spawn_local(listen(plan, index, local, room));
    }
    let mut drain = plan.drain.clone();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        let draining = local.draining().is_some();
        tokio::select! {
            _tick = sweep.tick() => {
                let limits = plan.running.borrow().limits().inner_idle_ms;
                local.pool.sweep(limit(limits));
            }
            // Without a sender nobody drains: the process is about to end.
            _begun = drain.wait_for(|begun| *begun), if !draining => local.begin_drain(),
        }
    }
}

/// For how long connections are accepted once the front drains: those whose handshake of TCP was in
/// progress when the arbiter has closed the listener for new ones.
pub(crate) const QUEUE_WATCH: Duration = Duration::from_millis(100);

/// Accepts on one listener until the front drains, and the queue is empty.
async fn listen(plan: Arc<Plan>, index: usize, local: Rc<Local>, room: Rc<Room>) {
    let Some((socket, listener)) = plan.listeners.get(index) else {
        return;
    };
    let acceptor = match socket.try_clone().and_then(Acceptor::new) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            let text = format!("Cannot listen on {}: {error}", listener.address);
            return local.record(rcorn_types::Level::Error, text);
        }
    };
    let mut drain = plan.drain.clone();
    let mut drains_since = None;
    loop {
        let most = match plan.running.borrow().limits().connections {
            0 => plan.room,
            most => most.min(plan.room),
        };
        let share = most.div_ceil(plan.threads.max(1));
        let accepted = async {
            room.until_free(share).await;
            acceptor.accept().await
        };
        let accepted = if let Some(since) = drains_since {
            // What is in the queue is taken even if the time is over.
            let rest = QUEUE_WATCH.saturating_sub(Instant::elapsed(&since));
            match tokio::time::timeout(rest, accepted).await {
                Ok(accepted) => accepted,
                Err(_queue_is_empty) => return,
            }
        } else {
            tokio::select! {
                accepted = accepted => accepted,
                _begun = drain.wait_for(|begun| *begun) => {
                    drains_since = Some(Instant::now());
                    continue;
                }
            }
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept::after_error(&local, &listener.address, &error).await;
                continue;
            }
        };
        room.taken.set(room.taken.get().saturating_add(1));
        plan.open.count.fetch_add(1, Ordering::SeqCst);
        let guard = Guard {
            open: Arc::clone(&plan.open),
            thread: Rc::clone(&room),
        };
        let running = Arc::clone(&plan.running.borrow());
        let (local, kind) = (Rc::clone(&local), listener.kind);
        let challenges = plan.challenges.clone();
        tokio::task::spawn_local(async move {
            accept::serve(local, running, accepted, kind, challenges).await;
            drop(guard);
        });
    }
}
