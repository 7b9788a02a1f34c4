//! How this process was started: the program, its arguments and its directory.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How this process was started: what a successor, and each reload, needs.
///
/// A release may be deployed by moving a symbolic link. So paths are kept as they were written, and
/// lead to the current release: /srv/shop/current, not /srv/shop/releases/7.
#[derive(Debug)]
pub struct Origin {
    /// The executable, by the path under which a new build would be found.
    pub program: PathBuf,
    /// The whole command line.
    pub arguments: Vec<OsString>,
    /// The directory it was started in.
    pub directory: PathBuf,
}

impl Origin {
    /// The origin of this process, which was started with these arguments. `directory`: where it
    /// was started, as it was written.
    ///
    /// # Errors
    ///
    /// The executable cannot be determined.
    pub fn of_process(arguments: &[OsString], directory: &Path) -> io::Result<Self> {
        let word = arguments.first().map(PathBuf::from).unwrap_or_default();
        let folders = std::env::var_os("PATH").unwrap_or_default();
        // After an installation the new build has the same name, but another inode. So the name is
        // kept, not the target of /proc/self/exe.
        let program =
            match named(&word, directory, &folders).filter(|path| is_this_executable(path)) {
                Some(path) => path,
                None => std::env::current_exe()?,
            };
        Ok(Self {
            program,
            arguments: arguments.to_vec(),
            directory: directory.to_owned(),
        })
    }
}

/// The path that a shell finds for a command: with a slash it is a path, without one it is looked
/// for in PATH.
fn named(word: &Path, directory: &Path, folders: &OsString) -> Option<PathBuf> {
    if word.components().count() > 1 {
        return Some(directory.join(word));
    }
    let folders = std::env::split_paths(folders);
    let mut candidates = folders.map(|folder| directory.join(folder).join(word));
    candidates.find(|path| path.is_file())
}

/// Whether the path leads to the executable that is running.
fn is_this_executable(path: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|about| (about.dev(), about.ino())).ok();
    id(path).is_some() && id(path) == id(Path::new("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_as_a_shell_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("rcorn");
        std::fs::write(&program, "").unwrap();
        let folders = std::env::join_paths([Path::new("/nonexistent"), folder.path()]).unwrap();
        let directory = Path::new("/srv");
        let found = |word: &str| named(Path::new(word), directory, &folders);
        assert_eq!(found("rcorn"), Some(program));
        assert_eq!(found("other"), None);
        assert_eq!(found("./rcorn"), Some(PathBuf::from("/srv/./rcorn")));
        assert_eq!(
            found("/usr/bin/rcorn"),
            Some(PathBuf::from("/usr/bin/rcorn"))
        );
    }

    #[test]
    fn only_the_running_executable_is_this_one() {
        assert!(is_this_executable(&std::env::current_exe().unwrap()));
        assert!(!is_this_executable(Path::new("/nonexistent")));
        assert!(!is_this_executable(Path::new("/")));
    }
}
