//! Notices that files of certificates have changed. Their paths are looked at once a second: a file
//! may be written, another one renamed over it (certbot), or a link on the way to it changed
//! (volumes of Kubernetes), and some file systems tell of none of these. inotify would have to
//! watch each folder and link on the way.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcorn_types::Monotonic;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no such file now.
    fn of(path: &Path) -> Option<Self> {
        let about = path.metadata().ok()?;
        Some(Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The files, and how they were when they were last read.
#[derive(Debug, Default)]
pub(super) struct CertificateWatch {
    files: Vec<PathBuf>,
    /// As they are in force, or were found to be of no use.
    known: Vec<Option<Stamp>>,
    /// As they were at the last look, if that is something else: they are read when two looks see
    /// the same.
    seen: Option<Vec<Option<Stamp>>>,
    due: Monotonic,
}

impl CertificateWatch {
    /// Watches these files, which are about to be read.
    pub(super) fn new(files: Vec<PathBuf>, now: Monotonic) -> Self {
        let known = stamps(&files);
        Self {
            files,
            known,
            seen: None,
            due: now.after(INTERVAL),
        }
    }

    /// When the next look is due; `None`: there are no files.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        (!self.files.is_empty()).then_some(self.due)
    }

    /// Looks, if it is time; returns whether the files have changed, and do not change any more.
    pub(super) fn look(&mut self, now: Monotonic) -> bool {
        if self.deadline().is_none_or(|due| due > now) {
            return false;
        }
        self.due = now.after(INTERVAL);
        let current = stamps(&self.files);
        if current == self.known {
            self.seen = None;
            return false;
        }
        if self.seen.as_ref() == Some(&current) {
            self.known = current;
            self.seen = None;
            return true;
        }
        self.seen = Some(current);
        false
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Looks twice, as time goes on.
    fn changes(watch: &mut CertificateWatch) -> bool {
        let first = watch.look(watch.due);
        assert!(!first, "it may still change");
        watch.look(watch.due)
    }

    #[test]
    fn a_file_that_is_renamed_over_another_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert"), "one").unwrap();
        let mut watch = CertificateWatch::new(vec![path("cert")], Monotonic::ZERO);
        assert!(!watch.look(Monotonic::ZERO), "it is not time");
        assert!(!changes(&mut watch));
        std::fs::write(path("new"), "two").unwrap();
        std::fs::rename(path("new"), path("cert")).unwrap();
        assert!(changes(&mut watch));
        assert!(!changes(&mut watch));
        std::fs::remove_file(path("cert")).unwrap();
        assert!(changes(&mut watch));
    }

    /// A volume of Kubernetes: `cert` leads to `..data/cert`, and `..data` to a folder that another
    /// one takes the place of.
    #[test]
    fn a_link_on_the_way_that_changes_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(path(version)).unwrap();
            std::fs::write(path(version).join("cert"), "same").unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/cert", path("cert")).unwrap();
        let mut watch = CertificateWatch::new(vec![path("cert")], Monotonic::ZERO);
        assert!(!changes(&mut watch));
        symlink("..2", path("..tmp")).unwrap();
        std::fs::rename(path("..tmp"), path("..data")).unwrap();
        assert!(changes(&mut watch));
    }

    #[test]
    fn files_that_go_on_changing_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert");
        std::fs::write(&file, "").unwrap();
        let mut watch = CertificateWatch::new(vec![file.clone()], Monotonic::ZERO);
        for size in 1..4 {
            std::fs::write(&file, "x".repeat(size)).unwrap();
            assert!(!watch.look(watch.due));
        }
        assert!(watch.look(watch.due));
    }
}
