//! One timer for all waits of a connection, one after the other.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A deadline that may be moved for free: the kernel's timer is only set again when it is too late
/// for the deadline, or has fired too early.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    due: Option<Instant>,
}

/// A limit of the settings in milliseconds; `None` for 0, no limit.
pub(crate) fn limit(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

/// The end of a wait that begins now.
pub(crate) fn due_in(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self {
            sleep: None,
            due: None,
        }
    }

    /// Sets the deadline; `None` waits for ever.
    pub(crate) fn set(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                self.due = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Waits for something until the deadline; `None` if that comes first.
    pub(crate) async fn until<T>(
        &mut self,
        due: Option<Instant>,
        wait: impl Future<Output = T>,
    ) -> Option<T> {
        self.set(due);
        let mut wait = std::pin::pin!(wait);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = wait.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            self.poll(cx).map(|()| None)
        })
        .await
    }
}
