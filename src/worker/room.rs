//! Room for one more connection: how many there may be, and what is done when there can be no more of them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use nix::sys::resource::{Resource, getrlimit};

use rcorn_log as log;
use rcorn_sys::{clock, process};

use super::desk::Desk;

/// How often the log tells of it, and for how long it is believed that there is no room for more.
const BETWEEN_COMPLAINTS: Duration = Duration::from_mins(1);
/// How long a worker that can take nobody leaves them to wait, or to its siblings.
const REST: Duration = Duration::from_millis(100);

/// How full it may become, and what has come of it.
#[derive(Debug)]
pub(super) struct Room {
    /// `worker_connections`.
    most: usize,
    /// How many descriptors the process may have (getrlimit(2), `RLIMIT_NOFILE`).
    limit: u64,
    /// The kernel gives the lowest number that is free. This one and those above it are left to the app.
    ceiling: RawFd,
    /// How many connections there were room for when the ceiling was reached; and when that is tried again.
    fits: usize,
    fits_until: u64,
    /// Idle connections that were closed, since the log told of it.
    closed: u64,
    /// When it may tell of that again, and of connections that could not be taken.
    tells_of_closed: u64,
    tells_of_waiting: u64,
}

impl Room {
    pub(super) fn new(worker_connections: u32) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _hard)| soft);
        let apps = (limit / 32).clamp(8, 64);
        Self {
            most: usize::try_from(worker_connections).unwrap_or(usize::MAX),
            limit,
            ceiling: RawFd::try_from(limit.saturating_sub(apps)).unwrap_or(RawFd::MAX),
            fits: usize::MAX,
            fits_until: 0,
            closed: 0,
            tells_of_closed: 0,
            tells_of_waiting: 0,
        }
    }
}

/// Whether something may be told now; if so, not again for a while.
fn may_tell(again: &mut u64) -> bool {
    let now = clock::coarse();
    let may = now >= *again;
    if may {
        *again = now.saturating_add(clock::nanoseconds(BETWEEN_COMPLAINTS));
    }
    may
}

impl Desk<'_> {
    /// One more connection is parked. Closes the most idle one when there are too many, or few descriptors left.
    pub(super) fn make_room(&mut self, newest: usize, socket: RawFd) {
        let (most, held) = (self.room.most, self.held());
        let now = clock::coarse();
        if socket >= self.room.ceiling {
            self.room.fits = held.saturating_sub(1);
            self.room.fits_until = now.saturating_add(clock::nanoseconds(BETWEEN_COMPLAINTS));
        } else if now >= self.room.fits_until {
            self.room.fits = usize::MAX;
        }
        if held > most {
            if self.close_most_idle(None) && may_tell(&mut self.room.tells_of_closed) {
                log::warning(format_args!(
                    "More connections than worker_connections ({most}): closed {} that were idle for longest; hint: \
                     raise worker_connections, or lower keepalive",
                    std::mem::take(&mut self.room.closed)
                ));
            }
        } else if held > self.room.fits && self.close_most_idle(Some(newest)) {
            self.tell_of_few_descriptors();
        }
    }

    /// No connection can be taken. Whether there is room now: if not, it is tried again later.
    pub(super) fn has_made_room(&mut self, error: &io::Error) -> bool {
        let lacks = matches!(
            error.raw_os_error(),
            Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)
        );
        if lacks && self.close_most_idle(None) {
            self.tell_of_few_descriptors();
            return true;
        }
        if may_tell(&mut self.room.tells_of_waiting) {
            log::error(format_args!(
                "cannot take a connection: {error}; new ones wait; hint: raise the limit of open files (ulimit -n, \
                 LimitNOFILE=), which is {}",
                self.room.limit
            ));
        }
        if let Err(error) = self.close_doors().and_then(|()| self.leave_lot()) {
            log::error(format_args!("cannot wait for better times: {error}"));
        }
        self.sit_out_until = clock::monotonic().saturating_add(clock::nanoseconds(REST));
        false
    }

    /// Whether a descriptor can be received; the kernel drops one for which there is no room (unix(7)).
    pub(super) fn has_room_for_one(&mut self) -> bool {
        loop {
            match process::duplicate(self.lot.1.as_raw_fd()) {
                Ok(_free) => return true,
                Err(error) if self.has_made_room(&error) => {}
                Err(_told) => return false,
            }
        }
    }

    fn close_most_idle(&mut self, spared: Option<usize>) -> bool {
        let chosen = self.deputy.parking.places().most_idle(spared);
        if let Some(index) = chosen {
            self.forget(index);
            self.room.closed = self.room.closed.saturating_add(1);
        }
        chosen.is_some()
    }

    fn tell_of_few_descriptors(&mut self) {
        if may_tell(&mut self.room.tells_of_closed) {
            log::warning(format_args!(
                "Few descriptors are left of {}: closed {} connections that were idle for longest; hint: raise the \
                 limit of open files (ulimit -n, LimitNOFILE=), or lower worker_connections or keepalive",
                self.room.limit,
                std::mem::take(&mut self.room.closed)
            ));
        }
    }
}
