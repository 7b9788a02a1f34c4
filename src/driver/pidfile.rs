//! The pid file: it is written completely or not at all, refused while its owner lives, and removed
//! only by its owner.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use rcorn_log as log;
use rcorn_sys::procfs::Stat;

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another instance has it.
    #[error("Already running on PID {0} (or pid file '{1}' is stale)")]
    Running(i32, String),
    /// It cannot be written.
    #[error("cannot write the pid file {path}: {source}")]
    Write {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// A pid file of ours.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes a temporary file in the same folder, then renames it, so that nobody ever reads a
    /// partial one.
    pub(super) fn create(path: &Path) -> Result<Self, PidFileError> {
        let pid = std::process::id();
        if let Some(other) = read(path)
            && u32::try_from(other) != Ok(pid)
            && is_alive(other)
        {
            return Err(PidFileError::Running(other, path.display().to_string()));
        }
        let write = || -> io::Result<()> {
            let temporary = temporary(path, pid);
            let mut file = fs::File::create(&temporary)?;
            writeln!(file, "{pid}")?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            fs::rename(&temporary, path)
        };
        let write = || {
            write().inspect_err(|_error| {
                // A partial file is removed.
                drop(fs::remove_file(temporary(path, pid)));
            })
        };
        write().map_err(|source| PidFileError::Write {
            path: path.display().to_string(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            pid,
        })
    }

    /// Writes it again if somebody has removed it.
    pub(super) fn restore(&self) {
        if self.path.symlink_metadata().is_ok() {
            return;
        }
        let path = self.path.display();
        match Self::create(&self.path) {
            Ok(_again) => log::warning(format_args!(
                "The pid file {path} was removed; it is written again."
            )),
            Err(error) => log::error(format_args!("{error}; it was removed")),
        }
    }

    /// Removes it, if it still holds our pid; logs why it cannot.
    pub(super) fn remove_or_warn(&self) {
        if let Err(error) = self.remove() {
            log::warning(format_args!("cannot remove the pid file: {error}"));
        }
    }

    /// Removes it, if it still holds our pid.
    fn remove(&self) -> io::Result<()> {
        if read(&self.path).and_then(|pid| u32::try_from(pid).ok()) == Some(self.pid) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

/// The file beside it, which is renamed when it is complete.
fn temporary(path: &Path, pid: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{pid}"));
    path.with_file_name(name)
}

fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
}

/// Whether a process with this pid lives. One that we may not signal counts as living, a zombie
/// does not.
fn is_alive(pid: i32) -> bool {
    if Stat::of(pid).is_some_and(|stat| stat.is_zombie()) {
        return false;
    }
    !matches!(kill(Pid::from_raw(pid), None), Err(nix::Error::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_a_living_owner_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        fs::write(&path, "999999999\n").unwrap();
        let ours = PidFile::create(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        ours.remove().unwrap();
        assert!(!path.exists());
        // Pid 1 lives on every machine.
        fs::write(&path, "1\n").unwrap();
        assert!(matches!(
            PidFile::create(&path),
            Err(PidFileError::Running(1, _))
        ));
    }

    #[test]
    fn a_file_that_another_took_over_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        let ours = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        ours.remove().unwrap();
        assert!(path.exists());
    }
}
