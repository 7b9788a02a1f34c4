//! The native modules, which this executable contains, as descriptors that Python can import from.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcorn_sys::memfd::{self, Content};
use rcorn_sys::process::forget_pages;
use rcorn_types::remedy;

use super::packed;

/// What a module and an interpreter agree on: a module serves those that have its ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    /// The stable ABI of CPython 3.9: all builds with the GIL.
    WithGil,
    /// That of 3.14 without the GIL, which has no stable one.
    NoGil314,
    /// The stable ABI of 3.15 without the GIL (PEP 803).
    NoGil,
}

impl Abi {
    pub(super) const ALL: [Self; 3] = [Self::WithGil, Self::NoGil314, Self::NoGil];

    /// As tags of wheels have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WithGil => "abi3-py39",
            Self::NoGil314 => "cp314t",
            Self::NoGil => "abi3t-py315",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|abi| abi.name() == name)
    }

    /// That of the interpreter at this path, as far as its name tells: only the interpreter itself
    /// knows it.
    pub(super) fn expected_of(python: &Path) -> Self {
        let file = python.canonicalize();
        let name = file
            .as_ref()
            .ok()
            .and_then(|file| file.file_name()?.to_str());
        let minor = name.and_then(|name| {
            let minor = name.strip_prefix("python3.")?.strip_suffix('t')?;
            minor.parse::<u16>().ok()
        });
        match minor {
            None => Self::WithGil,
            Some(14) => Self::NoGil314,
            Some(_) => Self::NoGil,
        }
    }
}

/// The native modules: shared libraries that the user's Python imports, and that the executable
/// contains in the form of [`packed`]. Those for interpreters without the GIL say what they change
/// in the usual one, and are empty if this build has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeModules {
    /// For CPython 3.9 and later, with the GIL.
    pub abi3: &'static [u8],
    /// For CPython 3.14 without it.
    pub cp314t: &'static [u8],
    /// For CPython 3.15 and later without it.
    pub abi3t: &'static [u8],
}

impl NativeModules {
    /// The ABIs of those that this build has.
    #[must_use]
    pub fn abis(self) -> Vec<String> {
        let has = |abi: &Abi| !self.image(*abi).is_empty();
        let names = Abi::ALL.into_iter().filter(has).map(Abi::name);
        names.map(str::to_owned).collect()
    }

    fn image(self, abi: Abi) -> &'static [u8] {
        match abi {
            Abi::WithGil => self.abi3,
            Abi::NoGil314 => self.cp314t,
            Abi::NoGil => self.abi3t,
        }
    }

    /// The ABI of the interpreter at this path, as far as can be told before it runs, if this build
    /// has a module for it.
    pub(super) fn expected_of(self, python: &Path) -> Abi {
        let expected = Abi::expected_of(python);
        if self.image(expected).is_empty() {
            Abi::WithGil
        } else {
            expected
        }
    }

    /// A descriptor of the module for this ABI, open for reading; `None`: this build has none.
    pub(super) fn open(self, abi: Abi) -> io::Result<Option<OwnedFd>> {
        if self.image(abi).is_empty() {
            return Ok(None);
        }
        let made = memfd::sealable(NAME, Content::Program).and_then(|blank| self.fill(abi, blank));
        let opened = made.or_else(|refused| {
            if refused.kind() == ErrorKind::InvalidData {
                return Err(refused);
            }
            // With vm.memfd_noexec=2, or without memfd at all: a file of this user is used.
            cached(&CACHED, |file| self.write(abi, file), &refused)
        });
        opened.map(Some)
    }

    /// Writes the module to a file in memory, and seals it.
    fn fill(self, abi: Abi, mut blank: File) -> io::Result<OwnedFd> {
        self.write(abi, &mut blank)?;
        memfd::seal(&mut blank)?;
        Ok(blank.into())
    }

    fn write(self, abi: Abi, file: &mut File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(WRITTEN_AT_ONCE_BYTES, file);
        if abi == Abi::WithGil {
            packed::write_whole(self.abi3, &mut out)?;
        } else {
            let mut usual = Vec::new();
            packed::write_whole(self.abi3, &mut usual)?;
            packed::write_changed(self.image(abi), &usual, &mut out)?;
            forget_pages(self.abi3);
        }
        out.flush()?;
        forget_pages(self.image(abi));
        Ok(())
    }
}

/// Little memory for what is decompressed, and few calls to write it.
const WRITTEN_AT_ONCE_BYTES: usize = 64 * 1024;

/// The name of the file in memory.
const NAME: &CStr = c"rcorn";

/// A module as a file, made for the first interpreter. It is kept for those that follow: they need
/// not wait for a copy, and map the same pages as those before.
#[derive(Debug, Default)]
pub(super) struct ModuleFile {
    modules: NativeModules,
    made: Option<(Abi, OwnedFd)>,
}

impl ModuleFile {
    /// One of these modules.
    pub(super) fn new(modules: NativeModules) -> Self {
        Self {
            modules,
            made: None,
        }
    }

    /// See [`NativeModules::expected_of`].
    pub(super) fn expected_of(&self, python: &Path) -> Abi {
        self.modules.expected_of(python)
    }

    fn made(&self, abi: Abi) -> Option<BorrowedFd<'_>> {
        let made = self.made.as_ref().filter(|(of, _)| *of == abi);
        made.map(|(_, file)| file.as_fd())
    }

    /// A file in memory that [`Self::fill`] is to fill. `None`: there is a file, or it must be
    /// another one; see [`Self::open`].
    pub(super) fn blank(&self, abi: Abi) -> Option<File> {
        if self.made(abi).is_some() || self.modules.image(abi).is_empty() {
            return None;
        }
        memfd::sealable(NAME, Content::Program).ok()
    }

    /// Fills the file, and keeps it.
    ///
    /// # Errors
    ///
    /// Those of write(2) and fcntl(2): [`Self::open`] has another way. `InvalidData`: the
    /// executable is damaged.
    pub(super) fn fill(&mut self, abi: Abi, blank: File) -> io::Result<()> {
        self.made = Some((abi, self.modules.fill(abi, blank)?));
        Ok(())
    }

    /// The file, open for reading; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be written, neither to memory nor to a folder; the executable is damaged; this
    /// build has no such module.
    pub(super) fn open(&mut self, abi: Abi) -> io::Result<BorrowedFd<'_>> {
        if self.made(abi).is_none() {
            self.made = self.modules.open(abi)?.map(|file| (abi, file));
        }
        self.made(abi)
            .ok_or_else(|| io::Error::other("this build has no module for Python"))
    }
}

/// What is written to a file that has no name for longer than that.
#[derive(Debug)]
pub(super) struct Cached {
    /// What it is, for errors.
    pub(super) what: &'static str,
    /// How the name of the file begins and ends.
    pub(super) name: &'static str,
    pub(super) ending: &'static str,
    /// Its permissions.
    pub(super) mode: u32,
}

const CACHED: Cached = Cached {
    what: "the module for Python",
    name: "native",
    ending: ".so",
    mode: 0o600,
};

/// Something as a file in a folder that only this user can write to, open for reading.
pub(super) fn cached(
    about: &Cached,
    content: impl FnOnce(&mut File) -> io::Result<()>,
    refused: &io::Error,
) -> io::Result<OwnedFd> {
    let folder = cache_folder();
    cached_in(&folder, about, content).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "cannot write {} into {}: {error}, nor into an executable memory file (vm.memfd_noexec): {refused}; hint: {}",
                about.what,
                folder.display(),
                remedy(refused).unwrap_or(
                    "let XDG_CACHE_HOME name a folder that can be written to, and is not full"
                ),
            ),
        )
    })
}

fn cache_folder() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    match base {
        Some(base) if base.is_absolute() => base.join("rcorn"),
        Some(_) | None => {
            let name = format!("rcorn-{}", nix::unistd::geteuid());
            std::env::temp_dir().join(name)
        }
    }
}

fn cached_in(
    folder: &Path,
    about: &Cached,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    let uid = nix::unistd::geteuid();
    if !found.is_dir() || found.uid() != uid.as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not a folder of ours alone"));
    }
    let path = folder.join(format!(
        "{}-{}-{}{}",
        about.name,
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        about.ending
    ));
    let written = write(&path, about.mode, content);
    // From here on the descriptor is enough; half a file is of no use.
    let removed = fs::remove_file(&path);
    let reading = written?;
    removed?;
    Ok(reading.into())
}

/// Writes the file and opens it for reading.
fn write(
    path: &Path,
    mode: u32,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    content(&mut file)?;
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_name_of_an_interpreter_tells_whether_it_has_a_gil() {
        let folder = tempfile::tempdir().unwrap();
        let expected = |name: &str| {
            let file = folder.path().join(name);
            fs::write(&file, "").unwrap();
            let link = folder.path().join("python3");
            fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(&file, &link).unwrap();
            Abi::expected_of(&link)
        };
        assert_eq!(expected("python3.14"), Abi::WithGil);
        assert_eq!(expected("python3.14t"), Abi::NoGil314);
        assert_eq!(expected("python3.15t"), Abi::NoGil);
        assert_eq!(expected("python3t"), Abi::WithGil);
        assert_eq!(Abi::expected_of(Path::new("/nonexistent")), Abi::WithGil);
    }

    #[test]
    fn a_build_without_a_module_expects_the_usual_one() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python3.15t");
        fs::write(&python, "").unwrap();
        let modules = NativeModules {
            abi3: b"usual",
            ..NativeModules::default()
        };
        assert_eq!(modules.abis(), ["abi3-py39"]);
        assert_eq!(modules.expected_of(&python), Abi::WithGil);
        assert!(modules.open(Abi::NoGil314).unwrap().is_none());
    }

    #[test]
    fn each_abi_gets_its_module() {
        let modules = NativeModules {
            abi3: packed::tests::image(b"the usual module").leak(),
            cp314t: packed::tests::changes(b"the usual module", b"the other module").leak(),
            ..NativeModules::default()
        };
        assert_eq!(modules.abis(), ["abi3-py39", "cp314t"]);
        for (abi, expected) in [
            (Abi::WithGil, "the usual module"),
            (Abi::NoGil314, "the other module"),
        ] {
            let mut text = String::new();
            let module = modules.open(abi).unwrap().unwrap();
            File::from(module).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_is_damaged_is_not_written_elsewhere() {
        let mut image = packed::tests::image(b"module");
        let last = image.len() - 1;
        image[last] ^= 1;
        let modules = NativeModules {
            abi3: image.leak(),
            ..NativeModules::default()
        };
        let error = modules.open(Abi::WithGil).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the module for Python in this executable is damaged; hint: install rcorn again"
        );
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_module_in_a_file_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let mut text = String::new();
        let mut module =
            File::from(cached_in(&folder, &CACHED, |file| file.write_all(b"module")).unwrap());
        module.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), entries(&folder)), ("module", 0));
    }
}
