//! The inner socket, on which workers take what fronts pass on. Its file has no name: a front gets
//! its inode, and nobody else can connect, and so say whose client it is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::mkdtemp;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_link::{self as link, ListenerKind};
use rcorn_settings::Protocol;
use rcorn_sys::descriptor::{adopt, set_inherited};

use crate::owner::Owner;
use crate::unix_socket::with_umask;

/// Nobody but its owner may connect.
const UMASK: u32 = 0o177;
/// The name of the file, for the moment in which it has one.
const FILE: &str = "inner";
/// The longest path of a socket, in bytes.
const MAX_PATH_BYTES: usize = 107;

/// The listening socket, and its inode.
#[derive(Debug)]
pub(super) struct InnerSocket {
    listener: OwnedFd,
    /// An `O_PATH` descriptor.
    inode: OwnedFd,
}

/// Its descriptors, for a build that takes over in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedInnerSocket {
    listener: RawFd,
    inode: RawFd,
}

impl InnerSocket {
    /// Opens it, for a front of this owner.
    ///
    /// # Errors
    ///
    /// There is no folder for it.
    pub(super) fn open(owner: Owner, backlog: i32) -> io::Result<Self> {
        let mut last = None;
        for folder in folders() {
            match Self::open_in(&folder, owner, backlog) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some((folder, error)),
            }
        }
        let (folder, error) =
            last.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
        Err(io::Error::new(
            error.kind(),
            format!(
                "cannot make the socket between fronts and workers in {}: {error}; hint: let TMPDIR name a folder that can be written to",
                folder.display()
            ),
        ))
    }

    fn open_in(folder: &Path, owner: Owner, backlog: i32) -> io::Result<Self> {
        let folder = mkdtemp(&folder.join("rcorn-XXXXXX"))?;
        let path = folder.join(FILE);
        let made = Self::open_at(&path, owner, backlog);
        // From here on the descriptors are enough.
        let removed = std::fs::remove_file(&path);
        let emptied = std::fs::remove_dir(&folder);
        let made = made?;
        removed.and(emptied)?;
        Ok(made)
    }

    fn open_at(path: &Path, owner: Owner, backlog: i32) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        with_umask(UMASK, || socket.bind(&SockAddr::unix(path)?))?;
        socket.listen(backlog)?;
        owner.take(path)?;
        let inode = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self {
            listener: socket.into(),
            inode,
        })
    }

    /// Its description for templates and workers.
    pub(super) fn for_link(&self) -> link::Listener {
        link::Listener {
            fd: self.listener.as_raw_fd(),
            kind: ListenerKind::Unix,
            protocol: Protocol::Http,
            host: String::new(),
            port: String::new(),
            is_inner: true,
        }
    }

    /// What a front needs to connect.
    pub(super) fn inode(&self) -> BorrowedFd<'_> {
        self.inode.as_fd()
    }

    pub(super) fn saved(&self) -> SavedInnerSocket {
        SavedInnerSocket {
            listener: self.listener.as_raw_fd(),
            inode: self.inode.as_raw_fd(),
        }
    }
}

impl SavedInnerSocket {
    /// Its descriptors, which the successor must inherit.
    pub(super) fn descriptors(self) -> [RawFd; 2] {
        [self.listener, self.inode]
    }

    /// Takes it over.
    ///
    /// # Errors
    ///
    /// A descriptor that was not inherited.
    pub(super) fn restore(self) -> io::Result<InnerSocket> {
        let (listener, inode) = (adopt(self.listener)?, adopt(self.inode)?);
        set_inherited(&listener, false)?;
        set_inherited(&inode, false)?;
        Ok(InnerSocket { listener, inode })
    }
}

/// Where it may be made, the best first: sockets work in memory, whatever the disk is.
fn folders() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = ["/run", "/dev/shm", "/tmp"].map(PathBuf::from);
    let all = runtime
        .into_iter()
        .chain([std::env::temp_dir()])
        .chain(usual);
    let fits = |folder: &PathBuf| {
        let longest = folder.join("rcorn-XXXXXX").join(FILE);
        folder.is_absolute() && longest.as_os_str().len() <= MAX_PATH_BYTES
    };
    all.filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rcorn_settings::Settings;

    use super::*;

    #[test]
    fn it_is_reached_by_its_inode_alone() {
        let owner = Owner::find(&Settings::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = InnerSocket::open_in(folder.path(), owner, 16).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let path = format!("/proc/self/fd/{}", socket.inode().as_raw_fd());
        let _client = UnixStream::connect(path).unwrap();
        let listener = Socket::from(socket.listener.try_clone().unwrap());
        listener.accept().unwrap();
        assert!(socket.for_link().is_inner);
    }

    #[test]
    fn a_folder_that_is_not_there_leaves_an_error() {
        let owner = Owner::find(&Settings::default()).unwrap();
        let folder = Path::new("/nonexistent");
        assert!(InnerSocket::open_in(folder, owner, 16).is_err());
    }
}
