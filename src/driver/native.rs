//! The native module, which this executable contains, as a descriptor that Python can import from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rcorn_sys::memfd::{self, Content};

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
        Err(_refused) => cached(module),
    }
}

/// The module as a file in a folder that only this user can write to.
fn cached(module: &[u8]) -> io::Result<OwnedFd> {
    let uid = nix::unistd::geteuid();
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let folder = match base {
        Some(base) if base.is_absolute() => base.join("rcorn"),
        Some(_) | None => std::env::temp_dir().join(format!("rcorn-{uid}")),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let about = fs::symlink_metadata(&folder)?;
    if !about.is_dir() || about.uid() != uid.as_raw() || about.mode() & 0o022 != 0 {
        let text = format!("{} is not a folder of ours alone", folder.display());
        return Err(io::Error::other(text));
    }
    let path = folder.join(format!(
        "native-{}-{}.so",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    ));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(module)?;
    let reading = File::open(&path)?;
    // From here on the descriptor is enough.
    fs::remove_file(&path)?;
    Ok(reading.into())
}
