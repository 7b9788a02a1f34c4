//! What is watched, and its present state: the Python files below some directories, and the files
//! that patterns name. Both engines compare what is scanned here; inotify only says when to scan
//! again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcorn_link::CodeDirectory;

use super::pattern::{Segment, is_hidden};

/// The number of directories that are scanned at most: a start in `/` or beside a store of data
/// must not take for ever.
const MAX_DIRECTORIES: usize = 10_000;
/// Directories without the developer's code, beside hidden ones and virtual environments.
const FOREIGN_NAMES: [&str; 4] = [
    "__pycache__",
    "node_modules",
    "site-packages",
    "dist-packages",
];

/// Directories that hold no files at all.
const KERNEL_DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What distinguishes two versions of a file. It includes the ctime, because copying tools restore
/// the mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Stamp {
    fn of(about: &Metadata) -> Self {
        Self {
            size: about.size(),
            changed: (about.ctime(), about.ctime_nsec()),
            modified: (about.mtime(), about.mtime_nsec()),
        }
    }

    /// Whether the file was written after this moment.
    pub(super) fn is_after(self, moment: SystemTime) -> bool {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.modified >= (seconds, i64::from(since.subsec_nanos()))
    }
}

/// Which entries of a directory matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// Python files.
    code: bool,
    /// Directories that may hold some.
    deeper: bool,
    /// Names of these forms.
    names: Vec<Segment>,
}

impl Interest {
    /// Whether an event of this entry may matter.
    pub(super) fn matches(&self, name: &OsStr, is_directory: bool) -> bool {
        self.code && is_code(name)
            || self.deeper && is_directory && !is_foreign(name)
            || self
                .names
                .iter()
                .any(|form| form.matches(name, is_directory))
    }

    /// Both of them.
    pub(super) fn join(&mut self, other: Self) {
        self.code |= other.code;
        self.deeper |= other.deeper;
        self.names.extend(other.names);
    }
}

/// What is watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Directories with Python code.
    pub(super) roots: Vec<CodeDirectory>,
    /// Other files.
    pub(super) extra: Vec<Vec<Segment>>,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The files that there are.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// The directories in which something that happens may matter.
    pub(super) directories: BTreeMap<PathBuf, Interest>,
    /// There were more directories than are looked into.
    pub(super) is_cut: bool,
    /// Trees that were looked into, however they were reached: a link may lead in a circle.
    seen: BTreeSet<(u64, u64)>,
}

impl Scope {
    /// Scans.
    pub(super) fn scan(&self) -> View {
        let mut view = View::default();
        for root in &self.roots {
            view.await_entry(&root.path);
        }
        // Whole trees first: what lies within them needs no second look.
        for whole in [true, false] {
            let roots = self.roots.iter().filter(|root| root.is_recursive == whole);
            let tops = roots.map(|root| root.path.clone());
            view.look_for_code(tops.collect(), whole);
        }
        for segments in &self.extra {
            view.look_for(Path::new("/"), segments);
        }
        view
    }
}

impl View {
    fn watch(&mut self, directory: &Path, interest: Interest) {
        self.directories
            .entry(directory.to_owned())
            .or_default()
            .join(interest);
    }

    fn watch_name(&mut self, directory: &Path, form: Segment) {
        let names = vec![form];
        self.watch(
            directory,
            Interest {
                names,
                ..Interest::default()
            },
        );
    }

    /// A path may come, go, or be put in another's place: the directory nearest to it that there is
    /// knows.
    fn await_entry(&mut self, path: &Path) {
        for entry in path.ancestors() {
            if let (Some(parent), Some(name)) = (entry.parent(), entry.file_name())
                && parent.is_dir()
            {
                self.watch_name(parent, Segment::Literal(name.to_owned()));
                return;
            }
        }
    }

    fn is_full(&mut self) -> bool {
        self.is_cut |= self.directories.len() >= MAX_DIRECTORIES;
        self.is_cut
    }

    /// The Python files of these directories, and, if `whole`, of those below them: the nearest
    /// first.
    fn look_for_code(&mut self, mut queue: VecDeque<PathBuf>, whole: bool) {
        while let Some(directory) = queue.pop_front() {
            let Ok(about) = fs::metadata(&directory) else {
                continue;
            };
            if self.is_full() || !self.seen.insert((about.dev(), about.ino())) {
                continue;
            }
            let interest = Interest {
                code: true,
                deeper: whole,
                names: Vec::new(),
            };
            self.watch(&directory, interest);
            for (name, is_directory, _) in entries(&directory) {
                let path = directory.join(&name);
                if is_directory {
                    let is_foreign = is_foreign(&name)
                        || KERNEL_DIRECTORIES.iter().any(|own| path == Path::new(own));
                    if whole && !is_foreign && !path.join("pyvenv.cfg").exists() {
                        queue.push_back(path);
                    }
                } else if is_code(&name) {
                    self.note(path);
                }
            }
        }
    }

    /// The files that the rest of a pattern names.
    fn look_for(&mut self, directory: &Path, segments: &[Segment]) {
        let Some((segment, rest)) = segments.split_first() else {
            return;
        };
        if self.is_full() {
            return;
        }
        if let Segment::Literal(name) = segment {
            let path = directory.join(name);
            if !rest.is_empty() && path.is_dir() {
                return self.look_for(&path, rest);
            }
            self.watch_name(directory, segment.clone());
            if rest.is_empty() {
                self.named(path);
            }
            return;
        }
        self.watch_name(directory, segment.clone());
        let is_deep = *segment == Segment::Deep;
        if is_deep {
            let everything = [Segment::everything()];
            let rest = if rest.is_empty() { &everything } else { rest };
            self.look_for(directory, rest);
        }
        for (name, is_directory, is_link) in entries(directory) {
            if !segment.matches(&name, is_directory) {
                continue;
            }
            let path = directory.join(name);
            if is_deep && !is_link {
                self.look_for(&path, segments);
            } else if !is_deep && rest.is_empty() {
                self.named(path);
            } else if !is_deep && is_directory {
                self.look_for(&path, rest);
            }
        }
    }

    /// Something that was named: a directory stands for all in it.
    fn named(&mut self, path: PathBuf) {
        if path.is_dir() {
            self.look_for(&path, &[Segment::Deep]);
        } else {
            self.note(path);
        }
    }

    /// A file, if it is one.
    fn note(&mut self, path: PathBuf) {
        let Ok(about) = fs::metadata(&path) else {
            return;
        };
        if path.is_symlink()
            && let Ok(target) = fs::canonicalize(&path)
        {
            self.await_entry(&target);
        }
        self.files.insert(path, Stamp::of(&about));
    }
}

/// The entries of a directory: name, whether it is or leads to a directory, whether it is a link.
/// In order: what is left out, if anything is, is the same each time.
fn entries(directory: &Path) -> Vec<(OsString, bool, bool)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let entries = entries.filter_map(|entry| {
        let kind = entry.file_type().ok()?;
        let is_link = kind.is_symlink();
        let is_directory = kind.is_dir() || is_link && entry.path().is_dir();
        Some((entry.file_name(), is_directory, is_link))
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    entries
}

/// A Python file. A hidden one cannot be imported: editors keep drafts and locks in such.
fn is_code(name: &OsStr) -> bool {
    Path::new(name).extension() == Some(OsStr::new("py")) && !is_hidden(name)
}

fn is_foreign(name: &OsStr) -> bool {
    is_hidden(name) || FOREIGN_NAMES.iter().any(|foreign| *foreign == name)
}

#[cfg(test)]
mod tests {
    use super::super::pattern;
    use super::*;

    fn save(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn names(view: &View, top: &Path) -> Vec<String> {
        let names = view
            .files
            .keys()
            .map(|path| path.strip_prefix(top).unwrap());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn code_is_found_and_what_is_not_the_developers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        for name in [
            "a.py",
            "b/c.py",
            "b/.d.py",
            "b/e.pyc",
            ".git/f.py",
            "node_modules/g.py",
            "venv/pyvenv.cfg",
            "venv/h.py",
            "lib/site-packages/i.py",
            "not-a-name/j.py",
        ] {
            save(top.join(name));
        }
        std::os::unix::fs::symlink(&top, top.join("b/circle")).unwrap();
        let root = |path: &Path, whole| CodeDirectory {
            path: path.to_owned(),
            is_recursive: whole,
        };
        let mut scope = Scope {
            roots: vec![root(&top, true), root(&top.join("b"), true)],
            extra: Vec::new(),
        };
        let view = scope.scan();
        assert_eq!(names(&view, &top), ["a.py", "b/c.py", "not-a-name/j.py"]);
        assert!(!view.is_cut);
        // A root that is named is looked into, whatever it is called; alone, if so wanted.
        scope.roots = vec![root(&top.join(".git"), true), root(&top, false)];
        assert_eq!(names(&scope.scan(), &top), [".git/f.py", "a.py"]);
    }

    #[test]
    fn a_sea_of_directories_is_cut_and_what_is_near_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (sea, other) = (folder.path().join("sea"), folder.path().join("other"));
        for number in 0..=MAX_DIRECTORIES {
            fs::create_dir_all(sea.join(format!("a{number}"))).unwrap();
        }
        save(sea.join("near.py"));
        save(sea.join("a0/far/far.py"));
        save(other.join("near.py"));
        let whole = |path: &PathBuf| CodeDirectory {
            path: path.clone(),
            is_recursive: true,
        };
        let scope = Scope {
            roots: vec![whole(&sea), whole(&other)],
            extra: Vec::new(),
        };
        let view = scope.scan();
        assert!(view.is_cut && view.directories.len() <= MAX_DIRECTORIES);
        // The second root gets its share, and each look sees the same.
        assert_eq!(
            names(&view, folder.path()),
            ["other/near.py", "sea/near.py"]
        );
        assert_eq!(scope.scan().directories, view.directories);
    }

    #[test]
    fn only_what_may_matter_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        save(top.join("b/c.py"));
        let scope = Scope {
            roots: vec![CodeDirectory {
                path: top.clone(),
                is_recursive: true,
            }],
            extra: ["conf/*.toml", "conf/none/x"]
                .iter()
                .map(|path| pattern::read(&top.join(path)))
                .collect(),
        };
        let matches = |directory: &Path, name: &str, is_directory| {
            let view = scope.scan();
            let interest = view.directories.get(directory);
            interest.is_some_and(|interest| interest.matches(OsStr::new(name), is_directory))
        };
        // The directory may be put away and back.
        assert!(matches(folder.path(), "top", true));
        assert!(!matches(folder.path(), "other", true));
        assert!(matches(&top, "new.py", false));
        assert!(matches(&top, "new", true));
        assert!(!matches(&top, "new", false));
        assert!(!matches(&top, "__pycache__", true));
        // Its directory is not there yet.
        assert!(matches(&top, "conf", true));
        save(top.join("conf/y.toml"));
        assert!(matches(&top.join("conf"), "x.toml", false));
        assert!(matches(&top.join("conf"), "none", true));
        assert!(!matches(&top.join("conf"), "x.yaml", false));
        assert_eq!(names(&scope.scan(), &top), ["b/c.py", "conf/y.toml"]);
    }
}
