//! The native module, which this executable contains, as a descriptor that Python can import from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcorn_sys::memfd::{self, Content};
use rcorn_types::remedy;

/// The native module: a shared library that the user's Python imports, and that the executable
/// contains.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeModule(pub &'static [u8]);

impl NativeModule {
    /// A descriptor of the module, open for reading.
    pub(super) fn open(self) -> io::Result<OwnedFd> {
        open(self.0)
    }
}

fn open(module: &'static [u8]) -> io::Result<OwnedFd> {
    match memfd::sealed(c"rcorn", module, Content::Program) {
        Ok(memory) => {
            rcorn_sys::process::forget_pages(module);
            Ok(memory)
        }
        // With vm.memfd_noexec=2, or without memfd at all: a file of this user is used.
        Err(refused) => cached(module, &refused),
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
