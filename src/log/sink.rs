//! The destinations of logs. The forms of records are in `formatter` and `access`.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{STDERR_FILENO, STDOUT_FILENO};
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{self, Gid, Uid, fchown};

use super::FileError;
use super::writer::Writer;
use rcorn_sys::descriptor::{duplicate, replace};

/// How long the arbiter waits for a log that nobody reads, once until it is read again: enough for
/// a reader that is awake to make room for a burst, such as the stacks of all workers.
pub const ARBITER_PATIENCE: Duration = Duration::from_millis(20);
/// How long a template or a worker waits, once until the log is read again.
pub const WORKER_PATIENCE: Duration = Duration::from_millis(250);

/// The destination of the bytes of records. Both logs use it and report its failures; a sink does
/// not log. [`write`](Sink::write) must not take a lock, because a fork meanwhile would leave it
/// locked in the child for ever.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Writes a whole record, usually with one system call. If it is longer than what the
    /// destination takes in one piece, it becomes several ([`whole_bytes`](Sink::whole_bytes)). If
    /// nobody reads the destination, it waits for a bounded time only.
    ///
    /// # Errors
    ///
    /// The record or a part of it is lost.
    fn write(&self, record: &[u8]) -> io::Result<()>;

    /// The longest record, in bytes, that reaches the destination in one piece, whoever else writes
    /// to it.
    fn whole_bytes(&self) -> usize {
        usize::MAX
    }

    /// Opens the destination again, for log rotation. On failure the old one stays in use.
    ///
    /// # Errors
    ///
    /// The new file cannot be opened, or cannot replace the old one.
    fn reopen(&self) -> Result<(), FileError>;

    /// Writes to the file of `fd` from now on. [`reopen`](Sink::reopen) opens `path`.
    ///
    /// # Errors
    ///
    /// The file cannot replace the old one.
    fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) -> Result<(), FileError>;

    /// The descriptor of the destination, if there is one.
    #[cfg(test)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>>;
}

/// A descriptor, with its path if it is a file. Records of several processes do not mix; see
/// `writer`.
#[derive(Debug)]
pub struct DescriptorSink {
    /// What others inherit and write to.
    fd: OwnedFd,
    /// What records are written to: the same file.
    writer: Writer,
    /// Only reopening and redirecting take this lock, in the one thread that gets the order.
    /// Writing takes no lock.
    path: Mutex<Option<PathBuf>>,
}

impl DescriptorSink {
    /// A sink that writes to `fd`. Without a path, reopening does nothing. A record waits for room
    /// at most for `patience`.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn new(fd: OwnedFd, path: Option<PathBuf>, patience: Duration) -> io::Result<Self> {
        Ok(Self {
            writer: Writer::new(fd.as_fd(), patience)?,
            fd,
            path: Mutex::new(path),
        })
    }

    /// Replaces the file behind our descriptor number, in one step: a line that another thread
    /// writes meanwhile goes to the old file or to the new one, and children that inherited the
    /// number write to the new one.
    fn put(&self, new: &OwnedFd) -> Result<(), FileError> {
        let replaced = replace(&self.fd, new).and_then(|()| self.writer.replace(new.as_fd()));
        replaced.map_err(|source| FileError::Replace { source })
    }
}

impl Sink for DescriptorSink {
    fn write(&self, record: &[u8]) -> io::Result<()> {
        self.writer.write(record)
    }

    fn whole_bytes(&self) -> usize {
        self.writer.whole_bytes()
    }

    fn reopen(&self) -> Result<(), FileError> {
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        match path.as_deref() {
            // A standard stream is not reopened under its other names either: in a process that
            // prints to the log it leads back to the log.
            Some(path) if standard_stream(path).is_none() => self.put(&open_after(path, &self.fd)?),
            Some(_) | None => Ok(()),
        }
    }

    fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) -> Result<(), FileError> {
        self.put(fd)?;
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
        Ok(())
    }

    #[cfg(test)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Opens a log file for appending. If the file does not exist, it is created with mode 0644 (minus
/// the umask) and the owner `owner`, because workers without privileges must be able to reopen it.
/// gunicorn's mode is 0666, which lets everyone forge records under its umask of 0.
///
/// # Errors
///
/// The file cannot be opened or created, or its owner cannot be set.
pub fn open(path: &Path, owner: Option<(Uid, Gid)>) -> Result<OwnedFd, FileError> {
    // Duplicated, not opened by the path: that fails for sockets (journald) and without privileges,
    // and a file would not share its position with other writers of the same standard output.
    let failed = |source| FileError::Open {
        path: path.into(),
        source,
    };
    if let Some(number) = standard_stream(path) {
        return duplicate(number).map_err(failed);
    }
    let (fd, is_new) = append(path).map_err(failed)?;
    if let Some((uid, gid)) = owner.filter(|_| is_new) {
        fchown(&fd, Some(uid), Some(gid)).map_err(|errno| FileError::Own {
            path: path.into(),
            source: errno.into(),
        })?;
    }
    Ok(fd)
}

/// The number of the standard stream that a path names.
fn standard_stream(path: &Path) -> Option<RawFd> {
    match path.to_str() {
        Some("/dev/stdout" | "/proc/self/fd/1") => Some(STDOUT_FILENO),
        Some("/dev/stderr" | "/proc/self/fd/2") => Some(STDERR_FILENO),
        Some(_) | None => None,
    }
}

/// Opens the successor of the file `old`. If it must be created, it gets the same owner, because
/// workers could not open a new file of root's. A process that is not root need not set the owner.
fn open_after(path: &Path, old: &OwnedFd) -> Result<OwnedFd, FileError> {
    let owner = fstat(old)
        .ok()
        .filter(|_| unistd::geteuid().is_root())
        .map(|FileStat { st_uid, st_gid, .. }| (Uid::from_raw(st_uid), Gid::from_raw(st_gid)));
    open(path, owner)
}

/// Opens a file for appending; returns whether the file was created.
fn append(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let mut options = OpenOptions::new();
    // O_NONBLOCK: for a FIFO without a reader, open(2) must fail instead of blocking the arbiter.
    options
        .append(true)
        .mode(0o644)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    let (file, is_new) = match options.clone().create_new(true).open(path) {
        Ok(file) => (file, true),
        // Also a dangling symbolic link, which `create` follows and `create_new` does not.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            (options.create(true).open(path)?, false)
        }
        Err(error) => return Err(error),
    };
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(
        &file,
        FcntlArg::F_SETFL(flags.difference(OFlag::O_NONBLOCK)),
    )?;
    Ok((file.into(), is_new))
}
