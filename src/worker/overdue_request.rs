//! A request that the I/O thread has answered, as the access log shows it. A line that must go
//! through a logger of Python waits here, until a thread with the GIL writes one of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcorn_http::{Field, Head};
use rcorn_log as log;

use super::access_line::{AccessLine, Seen};
use super::request::{Request, RequestOrigin};

/// Service Unavailable (RFC 9110 section 15.6.4).
pub(super) const OVERDUE_STATUS: u16 = 503;
/// The most lines that are kept for a logger of Python.
const MAX_KEPT: usize = 1000;
/// No further one is kept when they take so many bytes.
const MAX_KEPT_BYTES: usize = 2 << 20;

/// Requests whose lines a thread with the GIL is to write.
#[derive(Debug, Default)]
pub(super) struct KeptLines {
    kept: Mutex<Kept>,
    has_some: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<OverdueRequest>,
    /// What they take.
    bytes: usize,
}

/// A request that was answered without a thread.
#[derive(Debug)]
pub(super) struct OverdueRequest {
    pub(super) head: Head,
    /// The bytes that the head's spans refer to.
    pub(super) text: Vec<u8>,
    pub(super) client: String,
    pub(super) response_head: Vec<u8>,
    /// The bytes of the body of its response.
    pub(super) sent: u64,
    pub(super) waited: Duration,
    /// A proxy has sent it whose fields are believed.
    pub(super) is_trusted: bool,
    /// If requests have ids.
    pub(super) id: Option<String>,
}

impl KeptLines {
    /// Keeps one. If nobody takes them, further ones are lost, and counted.
    pub(super) fn keep(&self, request: OverdueRequest) {
        let mut kept = self.lock();
        let has_room = kept.requests.len() < MAX_KEPT && kept.bytes < MAX_KEPT_BYTES;
        if has_room {
            kept.bytes = kept.bytes.saturating_add(request.bytes());
            kept.requests.push_back(request);
            self.has_some.store(true, Ordering::Relaxed);
        } else {
            drop(kept);
            log::add_lost(1);
        }
    }

    /// Takes the first of those that are kept, at most so many.
    pub(super) fn take(&self, most: usize) -> Vec<OverdueRequest> {
        if !self.has_some.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut kept = self.lock();
        let count = most.min(kept.requests.len());
        let taken: Vec<OverdueRequest> = kept.requests.drain(..count).collect();
        let bytes = taken.iter().map(OverdueRequest::bytes).sum();
        kept.bytes = kept.bytes.saturating_sub(bytes);
        self.has_some
            .store(!kept.requests.is_empty(), Ordering::Relaxed);
        taken
    }

    /// Counts those that are kept as lost: nobody can write them any more.
    pub(super) fn lose(&self) {
        let lost = self.take(usize::MAX).len();
        log::add_lost(u64::try_from(lost).unwrap_or(u64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OverdueRequest {
    /// What it takes, as far as a client can enlarge it.
    fn bytes(&self) -> usize {
        let fields = self.head.fields.len();
        let fields = fields.saturating_mul(size_of::<Field>());
        let texts = self.text.len().saturating_add(self.client.len());
        texts.saturating_add(fields)
    }

    /// Calls `use_it` with the request.
    pub(super) fn with_request<T>(&self, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
        use_it(&Request {
            head: &self.head,
            text: &self.text,
            length: self.head.length,
            behind: &[],
            origin: RequestOrigin::Client,
            peer: &self.client,
        })
    }

    /// Calls `write` with what the access log has of it.
    pub(super) fn with_line(&self, write: impl FnOnce(&AccessLine<'_, '_>)) {
        self.with_request(|request| {
            write(&AccessLine {
                request,
                status: OVERDUE_STATUS,
                sent: self.sent,
                duration: self.waited,
                response_head: &self.response_head,
                request_id: self.id.as_deref(),
                seen: Seen {
                    environ: None,
                    changed_fields: None,
                    file_head: None,
                },
            });
        });
    }
}
