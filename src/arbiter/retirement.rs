//! The retire token: workers that are to be replaced one at a time, each only after its replacement
//! is ready. So a limit that all workers reach together (`max_requests`, `max_worker_age`) never
//! empties the server.
//!
//! A replacement may be unable to start as long as the old worker is there: the app binds a port or
//! takes a lock at import, or the memory is not enough for both. Then the old one may leave first,
//! if the settings allow it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::values::{OldFirst, WorkerId};

/// So many replacements fail before the old worker leaves first.
const MIN_FAILURES: u32 = 3;

/// Who waits for the retire token, and who holds it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Retirement {
    /// Workers that wait for the token, in order.
    #[serde(rename = "retiring")]
    queue: VecDeque<WorkerId>,
    /// The worker that is being replaced. It stays until its replacement is ready.
    token: Option<WorkerId>,
    /// How many replacements of it could not start.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    /// It was asked to leave before its replacement is ready.
    #[serde(default, skip_serializing_if = "is_false")]
    leaves_first: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Retirement {
    /// The worker that holds the token.
    pub(super) fn holder(&self) -> Option<WorkerId> {
        self.token
    }

    /// Whether this worker waits for the token or holds it.
    pub(super) fn includes(&self, id: WorkerId) -> bool {
        self.token == Some(id) || self.queue.contains(&id)
    }

    /// Puts a worker into the queue. Returns `false` if it was there already.
    pub(super) fn request(&mut self, id: WorkerId) -> bool {
        let is_new = !self.includes(id);
        if is_new {
            self.queue.push_back(id);
        }
        is_new
    }

    /// Gives the token to the next worker, if nobody holds it.
    pub(super) fn grant_next(&mut self) {
        if self.token.is_none() {
            self.token = self.queue.pop_front();
        }
    }

    /// The worker is gone, or is not to be replaced: it waits no more, and gives the token back.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.queue.retain(|other| *other != id);
        if self.token == Some(id) {
            self.token = None;
            self.failures = 0;
            self.leaves_first = false;
        }
    }

    /// Whether the last replacement of the worker that holds the token could not start.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// A replacement could not start. Returns whom it was to replace, and how many could not.
    pub(super) fn count_failure(&mut self) -> Option<(WorkerId, u32)> {
        let holder = self.token.filter(|_| !self.leaves_first)?;
        self.failures = self.failures.saturating_add(1);
        Some((holder, self.failures))
    }

    /// Who may leave before its replacement is ready, if `wanted` workers are; and after how many
    /// failures.
    pub(super) fn may_leave_first(&self, rule: OldFirst, wanted: u32) -> Option<(WorkerId, u32)> {
        let holder = self.token.filter(|_| !self.leaves_first)?;
        let has_failed = self.failures >= MIN_FAILURES;
        let may = match rule {
            OldFirst::Never => false,
            OldFirst::Auto => has_failed && wanted <= 1,
            OldFirst::AfterFailures => has_failed,
            OldFirst::Always => true,
        };
        may.then_some((holder, self.failures))
    }

    /// The holder of the token is asked to leave before its replacement is ready.
    pub(super) fn leave_first(&mut self) {
        self.leaves_first = true;
    }

    /// Whether the holder of the token was asked to leave before its replacement is ready. Until it
    /// has left, nothing is forked in its place.
    pub(super) fn leaves_first(&self) -> bool {
        self.leaves_first
    }
}
