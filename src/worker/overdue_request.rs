//! A request that the I/O thread has answered, as the access log shows it. A line that must go
//! through a logger of Python waits here, until a thread with the GIL writes one of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rcorn_http::Head;
use rcorn_log as log;
use rcorn_wsgi::{Ending, Served};

use super::access_line::{AccessLine, Seen};
use super::request::Request;

/// Service Unavailable (RFC 9110 section 15.6.4).
pub(super) const OVERDUE_STATUS: u16 = 503;
/// The most lines that are kept for a logger of Python.
const MAX_KEPT: usize = 1000;

/// Requests whose lines a thread with the GIL is to write.
#[derive(Debug, Default)]
pub(super) struct KeptLines {
    kept: Mutex<Vec<OverdueRequest>>,
    has_some: AtomicBool,
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
}

impl KeptLines {
    /// Keeps one. If nobody takes them, further ones are lost, and counted.
    pub(super) fn keep(&self, request: OverdueRequest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(request);
        } else {
            log::add_lost(1);
        }
        self.has_some.store(true, Ordering::Release);
    }

    /// Takes those that are kept.
    pub(super) fn take(&self) -> Vec<OverdueRequest> {
        if !self.has_some.load(Ordering::Relaxed) || !self.has_some.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OverdueRequest {
    /// Calls `write` with what the access log has of it.
    pub(super) fn with_line(&self, write: impl FnOnce(&AccessLine<'_, '_>)) {
        let request = Request {
            head: &self.head,
            text: &self.text,
            length: self.head.length,
            behind: &[],
            variables: None,
            peer: &self.client,
        };
        let served = Served {
            status: OVERDUE_STATUS,
            sent: self.sent,
            ending: Ending::Close,
            error: None,
        };
        write(&AccessLine {
            request: &request,
            served: &served,
            duration: self.waited,
            response_head: &self.response_head,
            request_id: None,
            seen: Seen {
                environ: None,
                changed_fields: None,
                file_head: None,
            },
        });
    }
}
