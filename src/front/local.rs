//! What the connections of one thread share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use rcorn_types::Level;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::counters::{Counter, Counters};
use crate::inner::Pool;
use crate::records::Records;

/// One thread.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) pool: Pool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) records: Records,
    /// Since when the front drains.
    draining: Cell<Option<Instant>>,
    drain: Notify,
}

impl Local {
    pub(crate) fn new(pool: Pool, counters: Arc<Counters>, records: Records) -> Rc<Self> {
        Rc::new(Self {
            pool,
            counters,
            records,
            draining: Cell::new(None),
            drain: Notify::new(),
        })
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.counters.count(counter);
    }

    pub(crate) fn record(&self, level: Level, text: String) {
        self.records.write(level, text);
    }

    /// From now on connections end after what runs in them.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(Some(Instant::now()));
        self.drain.notify_waiters();
    }

    /// Since when the front drains, if it does.
    pub(crate) fn draining(&self) -> Option<Instant> {
        self.draining.get()
    }

    /// Waits until the front drains.
    pub(crate) async fn until_drain(&self) {
        let begin = self.drain.notified();
        if self.draining.get().is_none() {
            begin.await;
        }
    }
}
