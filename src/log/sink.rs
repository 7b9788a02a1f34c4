//! Where the records of logs go. Their form is another matter: see `formatter` and `access`.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{self, Gid, Uid, dup2_stderr, dup2_stdout, fchown};

use super::FileError;
use rcorn_sys::descriptor::{replace, set_inherited};

/// How long a record waits for room in a non-blocking pipe before it is given up, in milliseconds.
/// Someone else made the pipe non-blocking (a shell, a container runtime) and reads it slowly.
const MAX_WAIT_MS: u16 = 1000;

/// Where the bytes of records go. Used by the error log and the access log, which report its
/// failures; it prints nothing itself. It must not take a lock in [`write`](Sink::write): a fork
/// meanwhile would leave it locked in the child for ever.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Writes all of one record, as a rule in one go.
    ///
    /// # Errors
    ///
    /// The record, or a part of it, is lost.
    fn write(&self, record: &[u8]) -> io::Result<()>;

    /// Opens the destination again, for log rotation. On failure the old one stays in use.
    ///
    /// # Errors
    ///
    /// The new file cannot be opened or put in place of the old one.
    fn reopen(&self) -> Result<(), FileError>;

    /// Writes to the file of `fd` from now on; `path` is what [`reopen`](Sink::reopen) opens.
    ///
    /// # Errors
    ///
    /// The file cannot be put in place of the old one.
    fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) -> Result<(), FileError>;

    /// The descriptor to which others may write lines of their own, if there is one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// A descriptor, and the path to open it by again when it is a file. One write(2) a record, so that
/// the records of several processes do not mix.
#[derive(Debug)]
pub struct DescriptorSink {
    fd: OwnedFd,
    /// Only reopening and redirecting take this lock: the order comes to one thread. Writing takes
    /// none, because a fork in between would leave it locked in the child for ever.
    path: Mutex<Option<PathBuf>>,
}

impl DescriptorSink {
    /// Writes to `fd`; without a path there is nothing to reopen.
    #[must_use]
    pub fn new(fd: OwnedFd, path: Option<PathBuf>) -> Self {
        Self {
            fd,
            path: Mutex::new(path),
        }
    }

    /// Puts a new file on our descriptor number. Swapped in one step: a line written meanwhile by
    /// another thread goes to the old or the new file, and children that inherited the number
    /// stay right.
    fn put(&self, new: &OwnedFd) -> Result<(), FileError> {
        replace(&self.fd, new).map_err(|source| FileError::Replace { source })
    }
}

impl Sink for DescriptorSink {
    fn write(&self, record: &[u8]) -> io::Result<()> {
        let mut rest = record;
        while !rest.is_empty() {
            match unistd::write(&self.fd, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_for_room(self.as_fd())?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn reopen(&self) -> Result<(), FileError> {
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        match path.as_deref() {
            Some(path) => self.put(&open_after(path, &self.fd)?),
            None => Ok(()),
        }
    }

    fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) -> Result<(), FileError> {
        self.put(fd)?;
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Leads standard output and standard error to a sink.
pub(super) fn capture(sink: &dyn Sink) -> Result<(), FileError> {
    let captured = match sink.descriptor() {
        Some(fd) => dup2_stdout(fd).and_then(|()| dup2_stderr(fd)),
        None => Err(Errno::ENOTSUP),
    };
    captured.map_err(|errno| FileError::Capture {
        source: errno.into(),
    })
}

/// Opens a log file for appending and creates it if need be, with mode 0644 (less the umask), owned
/// by `owner` when it was created: after a privilege drop the workers must be able to reopen it.
/// gunicorn's mode is 0666, which with its umask of 0 lets everyone forge records.
pub fn open(path: &Path, owner: Option<(Uid, Gid)>) -> Result<OwnedFd, FileError> {
    // The path would be opened anew, which fails for sockets (journald) and after a privilege drop,
    // and for a file would not share the position with other writers of the same standard
    // output.
    let standard = match path.to_str() {
        Some("/dev/stdout" | "/proc/self/fd/1") => Some(unistd::dup(io::stdout())),
        Some("/dev/stderr" | "/proc/self/fd/2") => Some(unistd::dup(io::stderr())),
        Some(_) | None => None,
    };
    if let Some(duplicate) = standard {
        return close_on_exec(duplicate).map_err(|source| FileError::Open {
            path: path.into(),
            source,
        });
    }
    let failed = |source| FileError::Open {
        path: path.into(),
        source,
    };
    let (fd, is_new) = append(path).map_err(failed)?;
    if let Some((uid, gid)) = owner.filter(|_| is_new) {
        fchown(&fd, Some(uid), Some(gid)).map_err(|errno| FileError::Own {
            path: path.into(),
            source: errno.into(),
        })?;
    }
    Ok(fd)
}

/// Opens the successor of the file behind `old`. When it has to be created, it gets the same owner:
/// root's new file could not be opened by the workers. Where that is not allowed it is not needed.
fn open_after(path: &Path, old: &OwnedFd) -> Result<OwnedFd, FileError> {
    let owner = fstat(old)
        .ok()
        .filter(|_| unistd::geteuid().is_root())
        .map(|FileStat { st_uid, st_gid, .. }| (Uid::from_raw(st_uid), Gid::from_raw(st_gid)));
    open(path, owner)
}

/// Opens for appending; says whether the file was created.
fn append(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let mut options = OpenOptions::new();
    // O_NONBLOCK: a FIFO that nobody reads must be an error, not an arbiter that hangs.
    options
        .append(true)
        .mode(0o644)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    let (file, is_new) = match options.clone().create_new(true).open(path) {
        Ok(file) => (file, true),
        // Also a link that leads nowhere yet, which `create` follows and `create_new` does not.
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

fn close_on_exec(fd: nix::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let fd = fd?;
    set_inherited(&fd, false)?;
    Ok(fd)
}

impl AsFd for DescriptorSink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn wait_for_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut wanted = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut wanted, PollTimeout::from(MAX_WAIT_MS)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
