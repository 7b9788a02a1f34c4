//! Files of unix sockets, for listeners and for the control socket: a stale one is taken over, a
//! new one is bound under a umask, one that is still ours is removed.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_log as log;

/// Why a path cannot be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum Occupied {
    /// A process listens there.
    #[error("another process listens there")]
    InUse,
    /// There is a file that is not a socket.
    #[error("there is a file of that name that is not a socket")]
    NotSocket,
    /// A stale socket that cannot be removed.
    #[error(transparent)]
    Stays(#[from] io::Error),
}

/// Makes room for a new socket: removes the file of one that nobody listens on, left over from a
/// crash.
///
/// # Errors
///
/// The path is in use, or its file cannot be removed.
pub(super) fn remove_stale(path: &Path) -> Result<(), Occupied> {
    let Ok(about) = path.symlink_metadata() else {
        return Ok(());
    };
    if !about.file_type().is_socket() {
        return Err(Occupied::NotSocket);
    }
    if is_answered(path) {
        return Err(Occupied::InUse);
    }
    Ok(std::fs::remove_file(path)?)
}

/// Whether a process listens there. Never waits: a full queue (EAGAIN, connect(2)) is an answer,
/// too.
fn is_answered(path: &Path) -> bool {
    let connect = || -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Runs `bind` under a umask: the socket has its permissions from the first moment on.
pub(super) fn with_umask<T>(mask: u32, bind: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_bits_truncate(mask));
    let bound = bind();
    umask(before);
    bound
}

/// The file of a socket that we have bound, identified by device and inode, because another process
/// may have put its own in the same place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    /// The file that is at `path` now.
    ///
    /// # Errors
    ///
    /// Those of lstat(2): there is none.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(path)?,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody has removed it.
    pub(super) fn is_gone(&self) -> bool {
        let error = self.path.symlink_metadata().err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Gives it another name.
    ///
    /// # Errors
    ///
    /// Those of rename(2).
    pub(super) fn rename(&mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Removes it, if it is still ours.
    pub(super) fn remove(&self) {
        let is_ours = id(&self.path).is_ok_and(|id| id == self.id);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            log::warning(format_args!(
                "cannot remove {}: {error}",
                self.path.display()
            ));
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let about = path.symlink_metadata()?;
    Ok((about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        remove_stale(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(remove_stale(&path), Err(Occupied::InUse)));
        drop(listener);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert!(matches!(remove_stale(&path), Err(Occupied::NotSocket)));
    }

    /// A blocking connect(2) would wait for room in the queue, and the arbiter with it.
    #[test]
    fn a_listener_with_a_full_queue_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let clients: Vec<_> = (0..3).map(|_| is_answered(&path)).collect();
        assert_eq!(clients, [true, true, true]);
    }

    #[test]
    fn a_file_that_another_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _one = UnixListener::bind(&path).unwrap();
        let file = SocketFile::at(&path).unwrap();
        std::fs::rename(&path, folder.path().join("kept")).unwrap();
        let _two = UnixListener::bind(&path).unwrap();
        file.remove();
        assert!(path.exists());
        SocketFile::at(&path).unwrap().remove();
        assert!(!path.exists());
    }
}
