//! Refork: a worker that has served becomes the template of its generation, and all other workers
//! are replaced by forks of it. It is replaced like a worker that retires, so its replacement is
//! ready before it leaves, and with the retire token, so one worker leaves at a time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::values::WorkerId;

/// Who is to become the template, and who was forked from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refork {
    /// Workers that have served enough requests.
    willing: BTreeSet<WorkerId>,
    /// The worker that is to become the template. It serves until the retire token comes to it;
    /// then it is asked to leave as one that becomes the template, and looks at itself.
    candidate: Option<WorkerId>,
    /// Workers up to this one were forked from a template before; 0: none of them is left.
    outdated: u64,
    /// A number of requests leads to no more reforks: it has, since the app was imported last.
    is_settled: bool,
}

impl Refork {
    /// Whether this is what builds without it have; it is not saved.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The worker that is to become the template.
    pub(super) fn candidate(&self) -> Option<WorkerId> {
        self.candidate
    }

    /// Whether this worker is to become the template.
    pub(super) fn is_candidate(&self, id: WorkerId) -> bool {
        self.candidate == Some(id)
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.candidate.is_some() || self.outdated > 0
    }

    /// Whether this worker is to be replaced, because it was forked from a template before. Its
    /// generation is for the caller to compare.
    pub(super) fn is_outdated(&self, id: WorkerId) -> bool {
        id.0 <= self.outdated
    }

    /// A worker has served enough requests. Returns whether that matters.
    pub(super) fn offer(&mut self, id: WorkerId) -> bool {
        self.willing.insert(id) && !self.is_settled
    }

    /// The workers that could become the template because of their requests, the oldest first.
    pub(super) fn willing(&self) -> impl Iterator<Item = WorkerId> {
        let willing = (!self.is_settled).then_some(&self.willing);
        willing.into_iter().flatten().copied()
    }

    /// This worker is to become the template.
    pub(super) fn begin(&mut self, id: WorkerId) {
        self.candidate = Some(id);
        self.is_settled = true;
    }

    /// No worker becomes the template because of its requests.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// The candidate is the template; workers up to `last` were forked from the one before.
    pub(super) fn promoted(&mut self, last: u64) {
        self.candidate = None;
        self.outdated = last;
    }

    /// The candidate does not become the template.
    pub(super) fn refused(&mut self) {
        self.candidate = None;
    }

    /// The candidate leaves without that it was looked at. Another one may become the template.
    pub(super) fn lost(&mut self) {
        self.candidate = None;
        self.is_settled = false;
    }

    /// All workers that were forked from a template before are gone.
    pub(super) fn finish(&mut self) {
        self.outdated = 0;
    }

    /// The app is, or will be, imported again: what was begun is over, and requests may lead to
    /// another one. Returns the worker that was to become the template.
    pub(super) fn begin_again(&mut self) -> Option<WorkerId> {
        self.outdated = 0;
        self.is_settled = false;
        self.candidate.take()
    }

    /// The worker is gone. Returns whether it was to become the template; then another one may.
    pub(super) fn forget(&mut self, id: WorkerId) -> bool {
        self.willing.remove(&id);
        let was_candidate = self.is_candidate(id);
        if was_candidate {
            self.lost();
        }
        was_candidate
    }
}
