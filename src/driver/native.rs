//! The native modules, which this executable contains, as descriptors that Python can import from.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use miniz_oxide::inflate::decompress_to_vec;

use rcorn_sys::memfd::{self, Content};
use rcorn_types::remedy;

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

/// What `build.rs` puts before a compressed module: a mark and a number.
const COMPRESSED_HEAD_BYTES: usize = 32;

/// The native modules: shared libraries that the user's Python imports, and that the executable
/// contains. Those for interpreters without the GIL are compressed (RFC 1951, after a head of
/// [`COMPRESSED_HEAD_BYTES`]), and empty if this build has none.
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
        let module = self.module(abi)?;
        // With vm.memfd_noexec=2, or without memfd at all: a file of this user is used.
        let opened = memfd::sealed(NAME, &module, Content::Program)
            .or_else(|refused| cached(&module, &refused));
        rcorn_sys::process::forget_pages(self.image(abi));
        opened.map(Some)
    }

    fn module(self, abi: Abi) -> io::Result<Cow<'static, [u8]>> {
        let image = self.image(abi);
        if abi == Abi::WithGil {
            return Ok(Cow::Borrowed(image));
        }
        let packed = image.get(COMPRESSED_HEAD_BYTES..).unwrap_or_default();
        let module = decompress_to_vec(packed);
        module
            .map(Cow::Owned)
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

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
    /// Those of write(2) and fcntl(2): [`Self::open`] has another way.
    pub(super) fn fill(&mut self, abi: Abi, mut blank: File) -> io::Result<()> {
        memfd::fill(&mut blank, &self.modules.module(abi)?)?;
        rcorn_sys::process::forget_pages(self.modules.image(abi));
        self.made = Some((abi, blank.into()));
        Ok(())
    }

    /// The file, open for reading; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be written, neither to memory nor to a folder; this build has no such module.
    pub(super) fn open(&mut self, abi: Abi) -> io::Result<BorrowedFd<'_>> {
        if self.made(abi).is_none() {
            self.made = self.modules.open(abi)?.map(|file| (abi, file));
        }
        self.made(abi)
            .ok_or_else(|| io::Error::other("this build has no module for Python"))
    }
}

/// The module as a file in a folder that only this user can write to.
fn cached(module: &[u8], refused: &io::Error) -> io::Result<OwnedFd> {
    let folder = cache_folder();
    cached_in(&folder, module).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "cannot write the module for Python into {}: {error}, nor into an executable memory file (vm.memfd_noexec): {refused}; hint: {}",
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

fn cached_in(folder: &Path, module: &[u8]) -> io::Result<OwnedFd> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let about = fs::symlink_metadata(folder)?;
    let uid = nix::unistd::geteuid();
    if !about.is_dir() || about.uid() != uid.as_raw() || about.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not a folder of ours alone"));
    }
    let path = folder.join(format!(
        "native-{}-{}.so",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    ));
    let written = write(&path, module);
    // From here on the descriptor is enough; half a file is of no use.
    let removed = fs::remove_file(&path);
    let reading = written?;
    removed?;
    Ok(reading.into())
}

/// Writes the file and opens it for reading.
fn write(path: &Path, module: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(module)?;
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
    fn a_compressed_module_is_what_it_was() {
        let mut packed = vec![b' '; COMPRESSED_HEAD_BYTES];
        packed.extend(miniz_oxide::deflate::compress_to_vec(b"module", 9));
        let modules = NativeModules {
            cp314t: Box::leak(packed.into_boxed_slice()),
            ..NativeModules::default()
        };
        let mut text = String::new();
        let module = modules.open(Abi::NoGil314).unwrap().unwrap();
        File::from(module).read_to_string(&mut text).unwrap();
        assert_eq!(
            (text.as_str(), modules.abis()),
            ("module", vec!["cp314t".to_owned()])
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
        let mut module = File::from(cached_in(&folder, b"module").unwrap());
        module.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), entries(&folder)), ("module", 0));
    }
}
