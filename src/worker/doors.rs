//! Where connections come from: the listeners' doors and the lot, and when the worker leaves them to its siblings.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use rcorn_scoreboard::AT_ONCE;
use rcorn_sys::clock;

use super::desk::{Desk, LOT, Leaving};

/// How long a worker with more than its share of connections leaves the listeners to others. They may have done the same.
const SIT_OUT: Duration = Duration::from_millis(1);
/// Whose request takes longer takes no connections now (by the coarse clock, which may be 4 ms late).
const ENGAGED: Duration = Duration::from_millis(8);

impl Desk<'_> {
    pub(super) fn watch_lot(&mut self) -> io::Result<()> {
        if !self.watches_lot {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            self.deputy
                .epoll
                .add(&self.lot.1, EpollEvent::new(flags, LOT))?;
            self.watches_lot = true;
        }
        Ok(())
    }

    pub(super) fn leave_lot(&mut self) -> io::Result<()> {
        if self.watches_lot {
            self.deputy.epoll.delete(&self.lot.1)?;
            self.watches_lot = false;
        }
        Ok(())
    }

    /// Listens again. One worker is woken for one connection (`EPOLLEXCLUSIVE`).
    pub(super) fn open_doors(&mut self) -> io::Result<()> {
        if !self.doors_open {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            for (token, door) in (0_u64..).zip(&self.doors) {
                self.deputy
                    .epoll
                    .add(&door.socket, EpollEvent::new(flags, token))?;
            }
            self.doors_open = true;
        }
        Ok(())
    }

    pub(super) fn close_doors(&mut self) -> io::Result<()> {
        if self.doors_open {
            for door in &self.doors {
                match self.deputy.epoll.delete(&door.socket) {
                    // An orphan's doors were closed by its signal handler.
                    Ok(()) | Err(nix::Error::EPERM | nix::Error::ENOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            self.doors_open = false;
        }
        Ok(())
    }

    /// Whether to take a connection that waits. The order to leave, or to sit out, may have come with the very event that
    /// told of it, and nobody else was woken: a worker that leaves hands it on. Not when the queue is not to be served.
    pub(super) fn may_accept(&self) -> bool {
        let at_once = || self.scoreboard.shared().stopping.load(Ordering::Acquire) == AT_ONCE;
        self.doors_open || (self.leaving != Some(Leaving::Orphaned) && !at_once())
    }

    /// Whether this worker has more than a fair share of the connections. The kernel wakes the same worker for each new
    /// connection, as long as it sleeps; kept ones would all come to be its own.
    pub(super) fn has_more_than_its_share(&self) -> bool {
        let wanted = self.scoreboard.shared().wanted.load(Ordering::Relaxed);
        if wanted <= 1 || self.held() <= 1 || self.leaving.is_some() {
            return false;
        }
        let cells = u16::try_from(wanted.saturating_mul(2))
            .unwrap_or(u16::MAX)
            .min(self.scoreboard.cells());
        let now = clock::coarse();
        let (mut workers, mut total) = (0_usize, 0_usize);
        for cell in (0..cells).filter_map(|index| self.scoreboard.cell(index)) {
            let busy = cell.busy_since.load(Ordering::Relaxed);
            let engaged = busy > 0 && now.saturating_sub(busy) > clock::nanoseconds(ENGAGED);
            if cell.worker.load(Ordering::Relaxed) != 0 && !engaged {
                workers = workers.saturating_add(1);
                let held = cell.connections.load(Ordering::Relaxed);
                total = total.saturating_add(usize::try_from(held).unwrap_or(0));
            }
        }
        // A ceiling: with 5 connections and 4 workers, two are a fair share.
        workers > 1 && self.held() > total.div_ceil(workers)
    }

    /// Leaves new connections to idle siblings for a while.
    pub(super) fn sit_out(&mut self) -> io::Result<()> {
        self.close_doors()?;
        self.sit_out_until = clock::monotonic().saturating_add(clock::nanoseconds(SIT_OUT));
        Ok(())
    }

    pub(super) fn sits_out(&self) -> bool {
        !self.doors_open && self.leaving.is_none()
    }
}
