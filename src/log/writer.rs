//! Writes to a descriptor without waiting for its reader longer than a given time.
//!
//! A log that nobody reads (a supervisor that hangs, a stopped pager, a terminal after Ctrl-S) must
//! stop neither the arbiter nor a worker. `O_NONBLOCK` is no way: it belongs to the open file
//! description, which standard output and standard error share with other programs. So each kind
//! of file has its own way:
//!
//! | File | How it is written |
//! |---|---|
//! | socket (journald) | send(2) with `MSG_DONTWAIT` |
//! | pipe, FIFO, terminal | opened again by `/proc/self/fd`: a description of our own, with
//! `O_NONBLOCK` |
//! | the same, if that is not allowed (another user's pipe) | `RWF_NOWAIT`, on Linux 6.4 or later |
//! | the same before Linux 6.4, and another user's terminal | poll(2), then a write of at most a
//! page; to a pipe only while three quarters of it are free, because other processes write to it
//! too |
//! | anything else, such as a regular file | write(2) |
//!
//! Records of several processes and threads must not mix, though they share a file. How much of one
//! reaches it in one piece differs, too:
//!
//! | File | Written in one piece |
//! |---|---|
//! | pipe, FIFO | up to `PIPE_BUF` bytes; with `O_NONBLOCK` all or none of them (pipe(7)) |
//! | stream socket | no promise; Linux has up to 32 KiB in one buffer of a unix socket, which it
//! queues whole or not at all |
//! | datagram socket | everything (unix(7)) |
//! | regular file | everything: with `O_APPEND` (open(2)), or where all share one file position
//! (write(2), since Linux 3.14); not on NFS |
//! | terminal | no promise; Linux lets one write(2) at a time to it, which ends early if the
//! terminal is slow |
//!
//! A longer record is divided ([`fit::pieces`]), or cut before by whoever needs it on one line
//! ([`Writer::whole_bytes`]).
//!
//! If there is no room, the writer waits for it, at most for its *patience*. Then it is *stalled*:
//! until a write succeeds again, it does not wait at all. A short record may fit where a long one
//! did not, so for some time after a wait in vain the patience is shorter.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, send, sockopt};
use nix::unistd::{self, isatty};

use rcorn_sys::bounded_write::{unread_bytes, write_nowait};
use rcorn_sys::clock;
use rcorn_sys::descriptor::replace;
use rcorn_types::Monotonic;

use super::fit;

/// What a pipe takes in one piece (pipe(7)), in bytes. No file takes less.
pub(super) const PIPE_BUF: usize = 4096;
/// What a unix socket takes in one piece ...
const STREAM_WHOLE_BYTES: usize = 32 * 1024;
/// ... if it is at most this part of the size of its buffer.
const STREAM_PARTS: usize = 4;
/// A write of this many bytes to a terminal with room does not wait, as a rule.
const TERMINAL_CHUNK_BYTES: usize = 256;
/// One part in so many of a pipe may be in use while another process could fill it.
const PIPE_PARTS: usize = 4;

/// For so many times the patience after a wait in vain ...
const SHORT_PATIENCE_TIMES: u32 = 20;
/// ... it is so many times shorter.
const SHORT_PATIENCE_PART: f32 = 10.0;
/// How often to look for room where poll(2) cannot tell.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How bytes get into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// write(2): it does not wait for a reader, or fails with `EAGAIN`.
    Plain,
    /// send(2).
    Send,
    /// `pwritev2(2)`.
    NoWait,
    /// A look whether there is room, then write(2).
    Look,
}

impl Method {
    const ALL: [Self; 4] = [Self::Plain, Self::Send, Self::NoWait, Self::Look];
}

/// A descriptor, and how it is written.
#[derive(Debug)]
pub(super) struct Writer {
    /// Keeps its number when the file is replaced.
    fd: OwnedFd,
    /// An index of [`Method::ALL`]. Not behind a lock, which a fork could leave locked.
    method: AtomicU8,
    /// See [`Writer::whole_bytes`].
    whole_bytes: AtomicUsize,
    /// The longest wait for one record.
    patience: Duration,
    /// The last record waited in vain.
    is_stalled: AtomicBool,
    /// Until when the patience is shorter, in nanoseconds of the monotonic clock.
    short_until: AtomicU64,
    /// The last record was written in part.
    is_torn: AtomicBool,
}

impl Writer {
    /// Writes to the file of `fd`.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub(super) fn new(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<Self> {
        let (fd, method) = open(fd)?;
        Ok(Self::with(fd, method, patience))
    }

    /// Writes to `fd` in this way.
    pub(super) fn with(fd: OwnedFd, method: Method, patience: Duration) -> Self {
        Self {
            whole_bytes: AtomicUsize::new(whole_bytes(&fd, method)),
            fd,
            method: AtomicU8::new(index(method)),
            patience,
            is_stalled: AtomicBool::new(false),
            short_until: AtomicU64::new(0),
            is_torn: AtomicBool::new(false),
        }
    }

    /// Writes to the file of `fd` from now on.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub(super) fn replace(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let (new, method) = open(fd)?;
        replace(&self.fd, &new)?;
        self.method.store(index(method), Ordering::Relaxed);
        let whole = whole_bytes(&self.fd, method);
        self.whole_bytes.store(whole, Ordering::Relaxed);
        self.is_torn.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The longest record, in bytes, that reaches the file in one piece.
    pub(super) fn whole_bytes(&self) -> usize {
        self.whole_bytes.load(Ordering::Relaxed)
    }

    /// Writes all of a record, in pieces if it is too long for one.
    ///
    /// # Errors
    ///
    /// Those of write(2). `TimedOut` when there was no room in time; a part may be written.
    pub(super) fn write(&self, record: &[u8]) -> io::Result<()> {
        let mut until = None;
        if record.len() > PIPE_BUF {
            let whole = self.whole_bytes();
            if record.len() > whole {
                let mut pieces = fit::pieces(record, whole).into_iter();
                return pieces.try_for_each(|piece| self.write_piece(&piece, &mut until));
            }
        }
        self.write_piece(record, &mut until)
    }

    /// Writes all of a piece. `until`: the end of the wait for room, once that has begun.
    fn write_piece(&self, piece: &[u8], until: &mut Option<Monotonic>) -> io::Result<()> {
        if self.is_torn.load(Ordering::Relaxed) {
            // Ends what is there of the record before.
            self.write_part(b"\n", until)?;
            self.is_torn.store(false, Ordering::Relaxed);
        }
        let mut rest = piece;
        while !rest.is_empty() {
            match self.write_part(rest, until) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) => {
                    if rest.len() < piece.len() {
                        self.is_torn.store(true, Ordering::Relaxed);
                    }
                    return Err(error);
                }
            }
        }
        // Not a store each time: the value would move between the processors for nothing.
        if self.is_stalled.load(Ordering::Relaxed) {
            self.is_stalled.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes at least one byte. `until`: the end of the wait for room, once that has begun.
    fn write_part(&self, bytes: &[u8], until: &mut Option<Monotonic>) -> io::Result<usize> {
        loop {
            match self.attempt(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => return Ok(written),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let until = *until.get_or_insert_with(|| self.end_of_wait());
                    if !self.wait_for_room(until)? {
                        self.stall();
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until there may be room; false when there was none in time.
    fn wait_for_room(&self, until: Monotonic) -> io::Result<bool> {
        let left = until.since(clock::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut room = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
        let (wanted, left): (&mut [PollFd<'_>], _) = match self.method() {
            // There may be room, but not enough of it.
            Method::Look => (&mut [], left.min(LOOK_INTERVAL)),
            Method::Plain | Method::Send | Method::NoWait => (&mut room, left),
        };
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(wanted, left) {
            Ok(_) | Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn method(&self) -> Method {
        let method = Method::ALL.get(usize::from(self.method.load(Ordering::Relaxed)));
        method.copied().unwrap_or(Method::Plain)
    }

    fn end_of_wait(&self) -> Monotonic {
        if self.is_stalled.load(Ordering::Relaxed) {
            return Monotonic::ZERO;
        }
        let now = clock::now();
        if now.as_nanos() < self.short_until.load(Ordering::Relaxed) {
            return now.after(self.patience.div_f32(SHORT_PATIENCE_PART));
        }
        now.after(self.patience)
    }

    /// Notes a wait in vain.
    fn stall(&self) {
        if !self.is_stalled.swap(true, Ordering::Relaxed) {
            let until = clock::now().after(self.patience.saturating_mul(SHORT_PATIENCE_TIMES));
            self.short_until.store(until.as_nanos(), Ordering::Relaxed);
        }
    }

    /// One system call that writes. `EAGAIN`: there is no room.
    fn attempt(&self, bytes: &[u8]) -> nix::Result<usize> {
        let fd = self.fd.as_fd();
        match self.method() {
            Method::Plain => unistd::write(fd, bytes),
            Method::Send => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                match send(fd.as_raw_fd(), bytes, flags) {
                    // Another thread is replacing the file.
                    Err(Errno::ENOTSOCK) => unistd::write(fd, bytes),
                    sent => sent,
                }
            }
            Method::NoWait => match write_nowait(fd, bytes).map_err(errno) {
                Err(Errno::EOPNOTSUPP) => {
                    let look = index(Method::Look);
                    self.method.store(look, Ordering::Relaxed);
                    write_if_room(fd, bytes)
                }
                written => written,
            },
            Method::Look => write_if_room(fd, bytes),
        }
    }
}

#[expect(clippy::as_conversions, reason = "a fieldless enum of four")]
fn index(method: Method) -> u8 {
    method as u8
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// How many bytes reach a file in one piece.
fn whole_bytes(fd: &OwnedFd, method: Method) -> usize {
    if method != Method::Send {
        let is_pipe = fcntl(fd, FcntlArg::F_GETPIPE_SZ).is_ok();
        return if is_pipe { PIPE_BUF } else { usize::MAX };
    }
    if getsockopt(fd, sockopt::SockType) != Ok(SockType::Stream) {
        return usize::MAX;
    }
    let buffer = getsockopt(fd, sockopt::SndBuf).unwrap_or_default();
    let part = buffer.div_euclid(STREAM_PARTS);
    part.clamp(PIPE_BUF, STREAM_WHOLE_BYTES)
}

/// The descriptor to write to, and how.
fn open(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Method)> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // Without /proc the file is taken for a regular one, unless it is a terminal.
    let kind = fs::metadata(&path).map(|about| about.file_type()).ok();
    let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(test);
    if is(FileTypeExt::is_socket) {
        return Ok((fd.try_clone_to_owned()?, Method::Send));
    }
    if !is(FileTypeExt::is_fifo) && !isatty(fd).unwrap_or(false) {
        return Ok((fd.try_clone_to_owned()?, Method::Plain));
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let again = fs::OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open(&path);
    match again {
        Ok(file) => Ok((file.into(), Method::Plain)),
        Err(_not_ours) => Ok((fd.try_clone_to_owned()?, Method::NoWait)),
    }
}

/// Writes a part that fits; `EAGAIN` if nothing does. Only for files that have no better way:
/// another process may take the room between the look and the write.
fn write_if_room(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let mut wanted = [PollFd::new(fd, PollFlags::POLLOUT)];
    if poll(&mut wanted, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    let most = match fcntl(fd, FcntlArg::F_GETPIPE_SZ) {
        Ok(size) => {
            let used = unread_bytes(fd).map_err(errno)?.saturating_mul(PIPE_PARTS);
            if used > usize::try_from(size).unwrap_or(0) {
                return Err(Errno::EAGAIN);
            }
            PIPE_BUF
        }
        Err(_no_pipe) => TERMINAL_CHUNK_BYTES,
    };
    unistd::write(fd, bytes.get(..most).unwrap_or(bytes))
}
