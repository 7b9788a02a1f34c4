//! The retire token: workers that are to be replaced one at a time, each only after its replacement
//! is ready. So a limit that all workers reach together (`max_requests`, `max_worker_age`) never
//! empties the server.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::values::WorkerId;

/// Who waits for the retire token, and who holds it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Retirement {
    /// Workers that wait for the token, in order.
    #[serde(rename = "retiring")]
    queue: VecDeque<WorkerId>,
    /// The worker that is being replaced. It serves until its replacement is ready.
    token: Option<WorkerId>,
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

    /// The worker is gone: it waits no more, and gives the token back.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.queue.retain(|other| *other != id);
        self.token = self.token.filter(|holder| *holder != id);
    }
}
