//! The executable of fronts, which this one contains in the form of [`packed`], as a file to
//! execute.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rcorn_sys::memfd::{self, Content};
use rcorn_sys::process::forget_pages;

use crate::native::{Cached, cached};
use crate::packed;

/// The name of the file in memory.
const NAME: &CStr = c"rcorn-front";

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
    /// The one in this image; an empty one is none.
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
    /// It cannot be written, neither to memory nor to a folder; this executable is damaged; this
    /// build has none.
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
            return Err(io::Error::other(
                "this build cannot speak TLS; hint: build it without RCORN_FRONT, or let a proxy speak TLS",
            ));
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
