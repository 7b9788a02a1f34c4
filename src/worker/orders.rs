//! What the arbiter asks of this worker, by signal: the handlers only note it and wake the loop.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;
use pyo3::prelude::*;

use rcorn_python::call;
use rcorn_sys::{process, signal};
use rcorn_wsgi::reply::close_connections;

/// The arbiter's own orders, which `pkill -HUP -f rcorn` sends to templates and workers too.
const THE_ARBITERS: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// The orders to a worker.
const A_WORKERS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// Lets no order in: one that comes before its handler stands waits in the kernel instead of killing us.
pub fn hold() -> io::Result<()> {
    let mut orders = SigSet::empty();
    for signal in A_WORKERS {
        orders.add(signal);
    }
    orders.thread_block()?;
    Ok(())
}

/// What a template does about orders: nothing, but a reopen is remembered for the worker it becomes. Whoever
/// signals the whole process group (a terminal, `stopasgroup`) means the arbiter, which ends its templates.
pub fn stand_by() -> io::Result<()> {
    A_WORKERS.into_iter().try_for_each(signal::disregard)?;
    disregard_the_arbiters()
}

/// A worker that still imports its app holds nothing: an order to leave ends it.
pub fn fall() -> io::Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT] {
        signal::reset(signal)?;
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

fn disregard_the_arbiters() -> io::Result<()> {
    THE_ARBITERS.into_iter().try_for_each(signal::disregard)
}

/// The orders received so far, and the pipe that wakes the loop.
#[derive(Debug)]
pub struct Orders {
    drain: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Orders {
    /// Installs the handlers, and lets signals in that [`hold`] kept waiting. To be called after the app was imported, which may have installed others
    /// (`import signal` alone installs one for SIGINT).
    ///
    /// `arbiter`: when it is not our parent any more, its death sent us TERM; the `doors` are closed that instant,
    /// whatever the app does, so that a new arbiter can bind their addresses.
    pub fn install(py: Python<'_>, arbiter: i32, doors: Vec<RawFd>) -> io::Result<Self> {
        hold()?;
        call::catch_interrupts(py).map_err(io::Error::other)?;
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let flag = || Arc::new(AtomicBool::new(false));
        let orders = Self {
            drain: flag(),
            quit: flag(),
            reopen: flag(),
            wake,
        };
        let null = File::open("/dev/null")?;
        let mut doors = Some((doors, null));
        for (number, flag) in [
            (Signal::SIGTERM, &orders.drain),
            (Signal::SIGUSR1, &orders.reopen),
        ] {
            let (flag, waker) = (Arc::clone(flag), waker.try_clone()?);
            signal::reset(number)?;
            let drains = number == Signal::SIGTERM;
            let doors = doors.take_if(|_| drains);
            signal::on(rcorn_sys::signal::number(number), move || {
                flag.store(true, Ordering::Relaxed);
                if let Some((doors, null)) = &doors {
                    close_connections();
                    if getppid().as_raw() != arbiter {
                        for door in doors {
                            process::put_over(null.as_fd(), *door);
                        }
                    }
                }
                wake_up(&waker);
            })?;
        }
        for number in [Signal::SIGINT, Signal::SIGQUIT] {
            let (flag, waker) = (Arc::clone(&orders.quit), waker.try_clone()?);
            signal::reset(number)?;
            signal::on(rcorn_sys::signal::number(number), move || {
                flag.store(true, Ordering::Relaxed);
                call::interrupt();
                wake_up(&waker);
            })?;
            // A request that waits in a system call is to be dropped, too.
            signal::interrupt_calls(number)?;
        }
        disregard_the_arbiters()?;
        signal::ignore(Signal::SIGPIPE)?;
        signal::reset(Signal::SIGABRT)?;
        if signal::was_swallowed(Signal::SIGUSR1) {
            orders.reopen.store(true, Ordering::Relaxed);
        }
        SigSet::empty().thread_set_mask()?;
        Ok(orders)
    }

    /// What to wait on beside the sockets.
    pub fn wake(&self) -> impl AsFd + '_ {
        self.wake.as_fd()
    }

    /// Empties the wake-up pipe.
    pub fn awake(&mut self) {
        let mut sink = [0; 64];
        while matches!(self.wake.read(&mut sink), Ok(count) if count > 0) {}
    }

    /// TERM: finish and leave.
    #[must_use]
    pub fn drain(&self) -> bool {
        self.drain.load(Ordering::Relaxed)
    }

    /// The order to leave, for those who cannot ask us.
    #[must_use]
    pub fn draining(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.drain)
    }

    /// INT, QUIT: leave now.
    #[must_use]
    pub fn quit(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }

    /// USR1, once for each.
    pub fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::Relaxed)
    }
}

/// One byte; a full pipe means that the loop will wake anyway.
fn wake_up(waker: &UnixStream) {
    drop(rcorn_sys::net::send(waker.as_fd(), &[1], false));
}
