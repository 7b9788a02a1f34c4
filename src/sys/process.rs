//! What a process does to itself: its title, its memory, leaving.
#![expect(
    unsafe_code,
    reason = "the argument area and hints about memory have no safe form"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::libc;
use nix::sys::prctl;
use nix::unistd::{SysconfVar, sysconf};

use crate::environment;
use crate::procfs::Stat;

/// The size of a page, the unit in which memory is given back: 4 KiB on x86-64; a kernel of aarch64
/// has 4, 16 or 64.
fn page_bytes() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let asked = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        let size = asked.and_then(|size| usize::try_from(size).ok());
        size.filter(|size| size.is_power_of_two())
            .unwrap_or(LARGEST_PAGE_BYTES)
    })
}

/// The largest page of any kernel; a multiple of all others.
const LARGEST_PAGE_BYTES: usize = 64 * 1024;

/// Ends the process at once: no destructors, no exit handlers, no flushing of stdio.
/// Async-signal-safe.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any integer and never returns.
    unsafe { libc::_exit(code) }
}

/// The resident memory of a process in KiB: `VmRSS` of `proc_pid_status(5)`.
#[must_use]
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A descriptor that becomes readable when the process ends (`pidfd_open(2)`, Linux 5.3).
///
/// # Errors
///
/// Those of `pidfd_open(2)`: there is no such process, or no such call.
pub fn watch(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes any pid, and flags of 0.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: pidfd_open has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives the pages of a part of this program's file back: it was read once and is not needed again.
/// What is read later comes from the file. Does nothing where the kernel does not show that the
/// pages are as the file has them.
pub fn forget_pages(bytes: &'static [u8]) {
    let Ok(mappings) = std::fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    let address = bytes.as_ptr().addr();
    let page = page_bytes();
    let start = address.next_multiple_of(page);
    let end = address.saturating_add(bytes.len()) & !page.saturating_sub(1);
    if start >= end || !is_unchanged_file(&mappings, start, end) {
        return;
    }
    let Some(first) = bytes.get(start.saturating_sub(address)..) else {
        return;
    };
    let length = end.saturating_sub(start);
    // SAFETY: whole pages of a file that is mapped read-only, none of which was ever written to:
    // after MADV_DONTNEED they read as before. Without the right to write nobody in this
    // process can have changed them since.
    unsafe {
        libc::madvise(
            first.as_ptr().cast_mut().cast(),
            length,
            libc::MADV_DONTNEED,
        )
    };
}

/// Whether a range lies in a mapping of a file of which no page can differ from the file.
fn is_unchanged_file(mappings: &str, start: usize, end: usize) -> bool {
    unchanged_files(mappings)
        .iter()
        .any(|(first, last)| *first <= start && end <= *last)
}

/// Gives the pages of this program's and its libraries' files back: most of their code runs once,
/// at the start. What is used again comes from the page cache by itself.
///
/// A mapping of which the kernel shows a changed copy of a page (a debugger's breakpoint, a
/// relocation) is left alone whole.
///
/// # Errors
///
/// `/proc/self/smaps` cannot be read (`proc_pid_smaps(5)`); nothing has changed then.
pub fn release_file_pages() -> io::Result<()> {
    for (start, end) in unchanged_files(&std::fs::read_to_string("/proc/self/smaps")?) {
        // SAFETY: whole pages of a file that is mapped without the right to write, and of which no
        // page is a changed copy: after MADV_DONTNEED they read and run as before. Without
        // that right nobody in this process can have changed one since; a debugger that
        // has, just now, loses a breakpoint.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            )
        };
    }
    Ok(())
}

/// The ranges of files that are mapped without the right to write and of which no page is a changed
/// copy (`proc_pid_smaps(5)`).
fn unchanged_files(mappings: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in mappings.lines() {
        if let Some(size) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| size.trim() == "0 kB"));
        } else if let Some(mapping) = file_mapping(line) {
            candidate = Some(mapping).filter(|(_, _, rights)| matches!(*rights, "r--p" | "r-xp"));
        }
    }
    found
        .into_iter()
        .map(|(start, end, _)| (start, end))
        .collect()
}

/// Range and rights of the file that a heading line of `smaps` describes.
fn file_mapping(line: &str) -> Option<(usize, usize, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let rights = words.next()?;
    let inode = words.nth(2)?;
    (inode != "0").then_some((start, end, rights))
}

/// Gives the unused pages of the C heap back to the kernel, so that a fork shares fewer dirty ones.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time; 0 keeps no padding.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What `ps` shows of this process; none where the kernel does not tell the area. The lock lets one
/// thread at a time write there.
static TITLE: OnceLock<Option<Mutex<Title>>> = OnceLock::new();

/// The memory that `/proc/PID/cmdline` shows, and what was written to it.
struct Title {
    start: usize,
    end: usize,
    /// What the memory has since the last call; none before the first.
    written: Option<Vec<u8>>,
}

/// Moves the environment to the heap, so that the title may also use the memory that it had at
/// exec. For the arbiter, whose own arguments are short. Does nothing after the first call of
/// [`set_title`].
///
/// # Errors
///
/// Those of [`environment::set`].
pub fn widen_title_area() -> io::Result<()> {
    environment::move_to_heap()?;
    TITLE.get_or_init(|| Title::until(51));
    Ok(())
}

impl Title {
    /// From `arg_start` of `proc_pid_stat(5)` to the address in that field: 49 is `arg_end`, 51
    /// `env_end`.
    fn until(end_field: usize) -> Option<Mutex<Self>> {
        let stat = Stat::of_self()?;
        let (start, end) = (stat.address(48)?, stat.address(end_field)?);
        let written = None;
        (start < end).then_some(Mutex::new(Self {
            start,
            end,
            written,
        }))
    }

    fn set(&mut self, text: &str) {
        // SAFETY: /proc/self/stat says that [start, end) is this process's own argument (and, when
        // widened, environment) area, which the kernel has mapped writable at exec. Nothing refers
        // to it any more: CPython and `main` have copied the arguments, `widen_title_area` has
        // copied the environment. `self` is borrowed mutably, and there is one in a process: there
        // is no second reference.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut::<u8>(self.start),
                self.end.saturating_sub(self.start),
            )
        };
        if replace_title(bytes, self.written.as_deref(), text) {
            self.written = Some(bytes.to_vec());
        }
    }
}

/// Sets what `ps` shows for this process from now on. Does nothing where the kernel does not tell
/// the area. A title or a name of the process that somebody else has set since the last call, such
/// as the app, stays.
///
/// The text is written over the memory of the command line. [`std::env::args_os`] reads there: it
/// is called once, at the start of `main` (elsewhere clippy refuses it: `.clippy.toml`).
pub fn set_title(text: &str) {
    const NAME: &CStr = c"rcorn";
    let Some(title) = TITLE.get_or_init(|| Title::until(49)) else {
        return;
    };
    let mut title = title.lock().unwrap_or_else(PoisonError::into_inner);
    if title.written.is_none() {
        prctl::set_name(NAME).ok();
    }
    title.set(text);
}

/// Writes the text, unless the area has something else than what was written last.
fn replace_title(area: &mut [u8], written: Option<&[u8]>, text: &str) -> bool {
    let is_ours = written.is_none_or(|written| written == area);
    if is_ours {
        fill_with_title(area, text);
    }
    is_ours
}

/// The text, cut to what fits before one NUL at least, and NULs behind it.
fn fill_with_title(area: &mut [u8], text: &str) {
    area.fill(0);
    let room = area.len().saturating_sub(1);
    for (to, from) in area.iter_mut().zip(text.bytes().take(room)) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_cut_and_ends_with_a_nul() {
        let mut area = *b"python3\0-c\0";
        fill_with_title(&mut area, "rcorn: template [x:y]");
        assert_eq!(&area, b"rcorn: tem\0");
        fill_with_title(&mut area, "ab");
        assert_eq!(&area, b"ab\0\0\0\0\0\0\0\0\0");
        fill_with_title(&mut [], "ab");
    }

    #[test]
    fn a_title_of_somebody_else_stays() {
        let mut area = *b"python3\0-c\0";
        assert!(replace_title(&mut area, None, "rcorn"));
        let ours = area;
        assert!(replace_title(&mut area, Some(&ours), "worker"));
        assert!(!replace_title(&mut area, Some(&ours), "again"));
        assert_eq!(&area, b"worker\0\0\0\0\0");
    }

    /// The bytes of a file's page, but for one that was written to.
    #[test]
    fn only_unchanged_pages_of_a_file_are_given_back() {
        let mapping = |rights: &str, inode: u32, changed: u32| {
            format!(
                "1000-2000 rw-p 00000000 00:00 0\nAnonymous: 4 kB\n\
                 2000-6000 {rights} 00001000 08:01 {inode}  /usr/bin/rcorn\nSize: 16 kB\nAnonymous: {changed} kB\n\
                 6000-7000 r--p 00000000 08:01 7 /x\nAnonymous: 0 kB\n"
            )
        };
        let file = mapping("r--p", 7, 0);
        assert!(is_unchanged_file(&file, 0x2000, 0x6000));
        assert!(is_unchanged_file(&file, 0x3000, 0x4000));
        assert!(!is_unchanged_file(&file, 0x3000, 0x7000), "two mappings");
        assert!(!is_unchanged_file(&file, 0x1000, 0x2000), "memory");
        assert!(!is_unchanged_file(&file, 0x8000, 0x9000), "nothing");
        for other in [
            mapping("rw-p", 7, 0),
            mapping("r--p", 0, 0),
            mapping("r--p", 7, 4),
        ] {
            assert!(!is_unchanged_file(&other, 0x3000, 0x4000), "{other}");
        }
    }

    #[cfg(not(miri))]
    #[cfg(test)]
    mod of_this_process {
        use super::*;

        #[test]
        fn code_and_constants_are_the_same_after_their_pages_were_given_back() {
            static CONSTANT: [u8; 3 * LARGEST_PAGE_BYTES] = [7; 3 * LARGEST_PAGE_BYTES];
            let changed = vec![9_u8; 3 * LARGEST_PAGE_BYTES];
            release_file_pages().unwrap();
            assert!(CONSTANT.iter().all(|byte| *byte == 7));
            assert!(changed.iter().all(|byte| *byte == 9));
        }

        #[test]
        fn memory_that_is_no_file_is_not_given_back() {
            let leaked: &'static [u8] = vec![7; 4 * LARGEST_PAGE_BYTES].leak();
            forget_pages(leaked);
            assert!(leaked.iter().all(|byte| *byte == 7));
        }
    }
}
