//! One front: a process, and the link to it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::Pid;
use rcorn_front_link::wire::{Reader, Received, Writer};
use rcorn_front_link::{CertificateFacts, FromFront, LINK_FD, ToFront};
use rcorn_sys::clock;
use rcorn_sys::descriptor::{adopt, set_inherited};
use rcorn_sys::spawn::Spawn;
use rcorn_types::Monotonic;

use super::program::FrontProgram;
use crate::process::{is_child, signal};

/// How long a front may take to exit once its time is over.
pub(super) const EXIT_GRACE: Duration = Duration::from_secs(2);

/// What a front counts, by name.
pub(super) type Counters = BTreeMap<String, u64>;

/// How far a front is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said yet that it serves.
    Starting,
    /// It serves.
    Serving,
    /// It was told to leave, and is killed at this time.
    Leaving(Monotonic),
}

/// A running front.
#[derive(Debug)]
pub(super) struct FrontProcess {
    pub(super) pid: Pid,
    link: OwnedFd,
    writer: Writer,
    reader: Reader,
    is_closed: bool,
    pub(super) begun: Monotonic,
    pub(super) stage: Stage,
    /// Which set of listeners it has.
    pub(super) set: u32,
    /// What it has said last.
    pub(super) counters: Counters,
    pub(super) connections: u64,
    pub(super) certificates: Vec<CertificateFacts>,
}

impl FrontProcess {
    /// Starts one, with its first message.
    ///
    /// # Errors
    ///
    /// The program cannot be written or executed; there is no descriptor for the link.
    pub(super) fn start(
        program: &FrontProgram,
        first: &ToFront,
        descriptors: Vec<OwnedFd>,
        set: u32,
    ) -> io::Result<Self> {
        let program = program.path()?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let backtrace = std::env::var_os("RUST_BACKTRACE");
        let spawn = Spawn {
            program,
            name: Some("rcorn-front".into()),
            clears_environment: true,
            environment: backtrace
                .into_iter()
                .map(|value| ("RUST_BACKTRACE".into(), value))
                .collect(),
            renumbered: Some((theirs.as_raw_fd(), LINK_FD)),
            ignore_interrupt: true,
            die_with_parent: true,
            ..Spawn::default()
        };
        let pid = Pid(spawn.start()?);
        let mut process = Self {
            pid,
            link: ours.into(),
            writer: Writer::default(),
            reader: Reader::default(),
            is_closed: false,
            begun: clock::now(),
            stage: Stage::Starting,
            set,
            counters: Counters::new(),
            connections: 0,
            certificates: Vec::new(),
        };
        process.writer.push(first, descriptors)?;
        // An error shows when it is read from: it has ended.
        process.writer.flush(process.link.as_fd()).ok();
        Ok(process)
    }

    /// Takes one over that another build of this arbiter has started.
    ///
    /// # Errors
    ///
    /// The descriptor is not open.
    pub(super) fn take_over(pid: Pid, link: i32) -> io::Result<Self> {
        let link = adopt(link)?;
        set_inherited(&link, false)?;
        Ok(Self {
            pid,
            link,
            writer: Writer::default(),
            reader: Reader::default(),
            is_closed: false,
            begun: clock::now(),
            stage: Stage::Serving,
            set: 0,
            counters: Counters::new(),
            connections: 0,
            certificates: Vec::new(),
        })
    }

    /// Its end of the link.
    pub(super) fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Makes the loop wake up for its messages.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let source = self.link.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&source), token, interest)
    }

    /// Sends a message. One that has ended gets none; its end is seen elsewhere.
    pub(super) fn send(&mut self, message: &ToFront) {
        self.writer.push(message, Vec::new()).ok();
        self.writer.flush(self.link.as_fd()).ok();
    }

    /// Continues to send, and returns what it has said. An error: what it says cannot be
    /// understood.
    pub(super) fn receive(&mut self) -> io::Result<Vec<FromFront>> {
        self.writer.flush(self.link.as_fd()).ok();
        // What it has said before its end is there all the same.
        self.is_closed |= self.reader.read(self.link.as_fd())? == Received::Closed;
        let mut messages = Vec::new();
        while let Some((message, _no_descriptors)) = self.reader.take()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Whether it has closed the link: it has ended, or is about to.
    pub(super) fn has_closed(&self) -> bool {
        self.is_closed
    }

    /// Tells it to accept nothing more, and to finish what runs until then.
    pub(super) fn leave(&mut self, now: Monotonic, within: Duration) {
        if matches!(self.stage, Stage::Leaving(_)) {
            return;
        }
        let seconds = within.as_secs();
        self.send(&ToFront::Drain { seconds });
        let until = now.after(within).after(EXIT_GRACE);
        self.stage = Stage::Leaving(until);
    }

    /// Ends it at once. It was not reaped yet.
    pub(super) fn kill(&self) {
        signal(self.pid, Signal::SIGKILL);
    }

    /// Ends it at once, unless it was reaped.
    pub(super) fn kill_child(&self) {
        if is_child(self.pid) {
            self.kill();
        }
    }
}
