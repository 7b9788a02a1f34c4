//! A directory whose files are served, and nothing beside it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;

/// The directory, or a single file.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// `None` as long as there is nothing at the path.
    directory: Option<OwnedFd>,
}

/// Never waits, for a FIFO or for a terminal; changes nothing.
const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);

const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

impl Root {
    /// The directory at this path, which may be missing still.
    pub(crate) fn at(path: PathBuf) -> Self {
        let directory = open(&path, DIRECTORY, Mode::empty()).ok();
        Self { path, directory }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what this relative path names; an empty one: the single file that the root is.
    /// Symbolic links are followed as long as they stay below.
    ///
    /// # Errors
    ///
    /// It is not there, may not be read, or is not below.
    pub(crate) fn open(&self, relative: &Path) -> io::Result<File> {
        if relative.as_os_str().is_empty() {
            return Ok(open(&self.path, READ, Mode::empty())?.into());
        }
        let opened;
        let directory = if let Some(directory) = &self.directory {
            directory.as_fd()
        } else {
            // It was missing when the worker began, and may have been made since.
            opened = open(&self.path, DIRECTORY, Mode::empty())?;
            opened.as_fd()
        };
        let how = OpenHow::new()
            .flags(READ)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(directory, relative, how) {
            // An old kernel (before 5.6), or a seccomp filter that does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM) => Ok(walk(directory, relative)?.into()),
            opened => Ok(opened?.into()),
        }
    }
}

/// Opens it name by name, without following any link.
fn walk(directory: impl AsFd, relative: &Path) -> nix::Result<OwnedFd> {
    let mut names = relative.components().peekable();
    let mut here: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return Err(Errno::EXDEV);
        };
        let flags = if names.peek().is_some() {
            DIRECTORY
        } else {
            READ
        };
        let from = here.as_ref().map_or(directory.as_fd(), AsFd::as_fd);
        here = Some(openat(
            from,
            name,
            flags | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )?);
    }
    here.ok_or(Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(file: io::Result<File>) -> Option<String> {
        let mut text = String::new();
        file.ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn only_what_is_below_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("css")).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("css/a.css"), "a").unwrap();
        symlink("a.css", root.join("css/link.css")).unwrap();
        symlink("css", root.join("styles")).unwrap();
        symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
        symlink("../secret", root.join("relative")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/proc/self/root/etc/hostname", root.join("magic")).unwrap();
        let served = Root::at(root.clone());
        let opened = |path: &str| read(served.open(Path::new(path)));
        let walked = |path: &str| {
            let file = walk(served.directory.as_ref().unwrap(), Path::new(path));
            read(file.map(File::from).map_err(io::Error::from))
        };
        assert_eq!(opened("css/a.css").as_deref(), Some("a"));
        assert_eq!(opened("css/link.css").as_deref(), Some("a"));
        assert_eq!(opened("styles/a.css").as_deref(), Some("a"));
        assert_eq!(walked("css/a.css").as_deref(), Some("a"));
        for link in ["css/link.css", "styles/a.css"] {
            assert_eq!(walked(link), None, "{link}");
        }
        for out in [
            "absolute",
            "relative",
            "up/secret",
            "../secret",
            "css/../../secret",
            "magic",
            "none",
        ] {
            assert_eq!((opened(out), walked(out)), (None, None), "{out}");
        }
    }

    #[test]
    fn a_root_may_come_later_or_be_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later");
        let root = Root::at(path.clone());
        assert!(root.open(Path::new("a")).is_err());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), "a").unwrap();
        assert_eq!(read(root.open(Path::new("a"))).as_deref(), Some("a"));
        let single = Root::at(path.join("a"));
        assert_eq!(read(single.open(Path::new(""))).as_deref(), Some("a"));
        assert!(single.open(Path::new("b")).is_err());
    }
}
