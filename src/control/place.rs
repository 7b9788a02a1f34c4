//! Where control sockets are: one path an instance, in a folder that only its user can write to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};

/// The folders for sockets of this user, the preferred one first.
#[must_use]
pub fn folders(environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(runtime) = environment("XDG_RUNTIME_DIR").filter(|path| path.starts_with('/')) {
        folders.push(PathBuf::from(runtime).join("rcorn"));
    }
    if geteuid().is_root() {
        folders.push(PathBuf::from("/run/rcorn"));
    }
    folders.push(PathBuf::from(format!("/tmp/rcorn-{}", geteuid())));
    folders
}

/// The socket of the instance with this pid. Its folder is made if it is missing.
///
/// # Errors
///
/// No folder can be made or used.
pub fn default(environment: &dyn Fn(&str) -> Option<String>, pid: u32) -> io::Result<PathBuf> {
    let mut last = io::Error::other("no folder for it");
    for folder in folders(environment) {
        match prepare(&folder) {
            Ok(()) => {
                sweep(&folder);
                return Ok(folder.join(format!("{pid}.sock")));
            }
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
            }
        }
    }
    Err(last)
}

/// Makes a folder that is ours alone.
///
/// # Errors
///
/// It cannot be made; one that somebody else prepared for us (`/tmp` is everyone's) is refused.
pub fn prepare(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let about = fs::symlink_metadata(folder)?;
    if !about.is_dir() || about.uid() != geteuid().as_raw() || about.mode() & 0o022 != 0 {
        return Err(io::Error::other(
            "it exists, and is not a folder that only this user can write to",
        ));
    }
    Ok(())
}

/// Removes what instances that were killed have left. One whose pid means nothing here (another
/// container) is only removed when nobody answers either.
fn sweep(folder: &Path) {
    for path in sockets(folder) {
        let pid = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<i32>().ok());
        let gone = pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(nix::Error::ESRCH));
        let refused = |path: &Path| {
            UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if gone && refused(&path) {
            // Somebody else may have done it at the same time.
            drop(fs::remove_file(&path));
        }
    }
}

fn sockets(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
}

/// All sockets in the folders of this user.
fn all(environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folders(environment)
        .iter()
        .flat_map(|folder| sockets(folder))
        .collect();
    found.sort();
    found
}

/// The sockets of the instances with these pids; with no pid: those of all instances of this user.
#[must_use]
pub fn of(environment: &dyn Fn(&str) -> Option<String>, pids: &[u32]) -> Vec<PathBuf> {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let is_wanted = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy());
        pids.is_empty() || stem.is_some_and(|stem| pids.iter().any(|pid| *pid == stem))
    };
    all(environment).into_iter().filter(is_wanted).collect()
}
