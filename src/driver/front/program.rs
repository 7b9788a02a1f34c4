//! The executable of fronts, as a file to execute. This one contains it in the form of [`packed`];
//! in a package, which has room for two, it lies beside this one.

use std::cell::OnceCell;
use std::env;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rcorn_sys::memfd::{self, Content};
use rcorn_sys::process::forget_pages;

use crate::native::{Cached, cached};
use crate::packed;

/// The name of the file in memory.
const NAME: &CStr = c"rcorn-front";
/// The name of the file beside this executable.
const FILE_NAME: &str = "rcorn-front";

/// As a file of this user, where memory cannot be executed.
const CACHED: Cached = Cached {
    what: "the program of fronts",
    name: "front",
    ending: "",
    mode: 0o700,
};

/// Little memory for what is decompressed, and few calls to write it.
const WRITTEN_AT_ONCE_BYTES: usize = 64 * 1024;

/// The executable, made for the first front and kept for those that follow.
#[derive(Debug)]
pub(crate) struct FrontProgram {
    image: &'static [u8],
    file: OnceCell<OwnedFd>,
}

impl FrontProgram {
    /// The one in this image; an empty one is none: then it lies beside this executable.
    pub(crate) fn new(image: &'static [u8]) -> Self {
        Self {
            image,
            file: OnceCell::new(),
        }
    }

    /// Its path, for a child of this process.
    ///
    /// # Errors
    ///
    /// It cannot be written, neither to memory nor to a folder; this executable is damaged; there
    /// is none.
    pub(super) fn path(&self) -> io::Result<PathBuf> {
        let file = if let Some(file) = self.file.get() {
            file
        } else {
            let made = self.make()?;
            self.file.get_or_init(|| made)
        };
        Ok(format!("/proc/self/fd/{}", file.as_raw_fd()).into())
    }

    fn make(&self) -> io::Result<OwnedFd> {
        if self.image.is_empty() {
            return open_beside(&env::current_exe()?);
        }
        let made = memfd::sealable(NAME, Content::Program).and_then(|mut blank| {
            self.write(&mut blank)?;
            memfd::seal(&mut blank)?;
            // What is open for writing cannot be executed (ETXTBSY).
            let path = format!("/proc/self/fd/{}", blank.as_raw_fd());
            Ok(File::open(path)?.into())
        });
        made.or_else(|refused: io::Error| {
            if refused.kind() == ErrorKind::InvalidData {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "the program of fronts in this executable is damaged; hint: install rcorn again",
                ));
            }
            cached(&CACHED, |file| self.write(file), &refused)
        })
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(WRITTEN_AT_ONCE_BYTES, file);
        packed::write_whole(self.image, &mut out)?;
        out.flush()?;
        forget_pages(self.image);
        Ok(())
    }
}

/// The one beside this executable. It stays open: an upgrade of the package replaces both.
fn open_beside(executable: &Path) -> io::Result<OwnedFd> {
    let path = executable.with_file_name(FILE_NAME);
    let opened = File::open(&path).map_err(|error| {
        let text = format!(
            "the program that speaks TLS is not there: {}: {error}; hint: install rcorn again, or let a proxy speak TLS",
            path.display()
        );
        io::Error::new(error.kind(), text)
    });
    opened.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_contained_lies_beside() {
        let folder = tempfile::TempDir::new().unwrap();
        let executable = folder.path().join("rcorn");
        let error = open_beside(&executable).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(
            text.contains("/rcorn-front: ") && text.contains("hint: "),
            "{text}"
        );
        std::fs::write(folder.path().join(FILE_NAME), "a program").unwrap();
        open_beside(&executable).unwrap();
    }
}
