//! Connections to the workers, over their unix socket. A thread keeps those that no request uses.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rcorn_sys::net::receive;
use tokio::time::Instant;

use crate::body_block::BodyBlock;
use crate::buffered::Buffered;
use crate::inner_socket::InnerSocket;

/// Unused connections that a thread keeps.
const MAX_KEPT: usize = 128;

/// For how long a connection is kept whose worker shares memory on it, if no request uses it: there
/// are as many as there were responses at a time, and each holds its memory until it is closed.
const BLOCK_KEPT_FOR: Duration = Duration::from_secs(1);

/// How long to wait before another attempt when the workers' queue is full: nothing tells when
/// there is room.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// A connection to a worker, and what it has sent that nobody has used yet.
pub(crate) type Inner = Buffered<InnerSocket>;

impl Inner {
    /// Whether the worker has neither closed it nor sent what nobody asked for, as far as the event
    /// loop has heard.
    fn is_quiet(&self) -> bool {
        waits(self.stream.try_read(&mut [0]))
    }

    /// The same, as the kernel knows it.
    fn is_quiet_now(&self) -> bool {
        waits(receive(self.stream.as_fd(), &mut [0]))
    }

    /// Whether some of the last response is still to be sent from the worker's memory: then it must
    /// get no request.
    fn is_in_use(&self) -> bool {
        self.stream.block().is_some_and(BodyBlock::is_in_use)
    }
}

/// Whether a read has found nothing.
fn waits(read: io::Result<usize>) -> bool {
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether a connection was used within so long.
fn is_fresh(since: Instant, limit: Option<Duration>) -> bool {
    limit.is_none_or(|limit| since.elapsed() < limit)
}

/// The unused connections of one thread.
#[derive(Debug)]
pub(crate) struct Pool {
    address: PathBuf,
    kept: RefCell<Vec<(Inner, Instant)>>,
}

impl Pool {
    /// Connections to the socket of this path.
    pub(crate) fn new(address: PathBuf) -> Self {
        let kept = RefCell::default();
        Self { address, kept }
    }

    /// The connection that was used last, within so long: it is the least likely to be closed by
    /// now. If the request cannot be repeated, the kernel is asked as well.
    pub(crate) fn take(&self, limit: Option<Duration>, is_idempotent: bool) -> Option<Inner> {
        let mut kept = self.kept.borrow_mut();
        while let Some(last) = kept.iter().rposition(|(inner, _since)| !inner.is_in_use()) {
            let (inner, since) = kept.remove(last);
            if is_fresh(since, limit) && inner.is_quiet() && (is_idempotent || inner.is_quiet_now())
            {
                return Some(inner);
            }
        }
        None
    }

    /// Keeps a connection that the worker keeps.
    pub(crate) fn keep(&self, inner: Inner) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MAX_KEPT {
            kept.push((inner, Instant::now()));
        }
    }

    /// Closes what the workers have closed, and what nobody has used for so long.
    pub(crate) fn sweep(&self, limit: Option<Duration>) {
        let with_block = Some(limit.map_or(BLOCK_KEPT_FOR, |limit| limit.min(BLOCK_KEPT_FOR)));
        let mut kept = self.kept.borrow_mut();
        kept.retain(|(inner, since)| {
            let limit = if inner.stream.block().is_some() {
                with_block
            } else {
                limit
            };
            is_fresh(*since, limit) && inner.is_quiet()
        });
    }

    /// Opens a connection. While the workers' queue is full it tries again, for at most so long.
    ///
    /// # Errors
    ///
    /// Those of connect(2): nobody listens any more, or the queue is still full.
    pub(crate) async fn connect(&self, limit: Option<Duration>) -> io::Result<Inner> {
        let begin = Instant::now();
        loop {
            match InnerSocket::connect(&self.address) {
                Ok(socket) => return Ok(Inner::new(socket)),
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && limit.is_none_or(|limit| begin.elapsed() < limit) =>
                {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
