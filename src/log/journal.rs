//! journald's own protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a record with fields,
//! in one datagram. It is spoken if the log leads to the journal: systemd names the device and the
//! inode of standard error in `JOURNAL_STREAM` then (systemd.exec(5)).

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::memfd::MFdFlags;
use nix::sys::socket::MsgFlags;
use nix::sys::stat::fstat;

use rcorn_sys::memfd;
use rcorn_sys::passing::send_with;
use rcorn_types::Level;

use super::captured::CapturedLine;
use super::formatter::ErrorRecord;
use super::relay::severity;

/// Where journald takes records.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The variable that names device and inode: `8:1234`.
const VARIABLE: &str = "JOURNAL_STREAM";
/// The name of the program in the journal.
const IDENTIFIER: &[u8] = b"rcorn";

/// The journal of this process, once it was needed; `None`: there is no descriptor left.
static JOURNAL: OnceLock<Option<Journal>> = OnceLock::new();
/// The generation of this process; 0 in the arbiter, which has none.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Tells the generation of this process and of all that are forked from it, for the journal.
pub fn set_generation(generation: u32) {
    GENERATION.store(generation, Ordering::Relaxed);
}

/// A way to journald.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

/// Whether what is written to this descriptor comes to the journal.
pub(super) fn is_behind(fd: BorrowedFd<'_>) -> bool {
    let named = std::env::var(VARIABLE).ok();
    let is_named = named.is_some_and(|named| {
        let about = fstat(fd).ok();
        about.is_some_and(|about| named == format!("{}:{}", about.st_dev, about.st_ino))
    });
    is_named && journal().is_some()
}

/// The way to the journal, whether journald is there or not.
pub(super) fn journal() -> Option<&'static Journal> {
    JOURNAL.get_or_init(Journal::open).as_ref()
}

impl Journal {
    fn open() -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        Some(Self { socket })
    }

    /// Sends a record. Never waits.
    ///
    /// # Errors
    ///
    /// journald is away, or takes nothing more for now.
    pub(super) fn send(&self, entry: &Entry) -> io::Result<()> {
        match self.attempt(entry) {
            Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::EPIPE) => {
                // For the first time, or its socket is another one now.
                self.socket.connect(SOCKET)?;
                Ok(self.attempt(entry)?)
            }
            sent => Ok(sent?),
        }
    }

    fn attempt(&self, entry: &Entry) -> nix::Result<()> {
        let send = |bytes: &[u8], memory: Option<BorrowedFd<'_>>| {
            let parts = [IoSlice::new(bytes)];
            let sent = send_with(self.socket.as_fd(), &parts, memory, MsgFlags::MSG_DONTWAIT);
            sent.map_err(|error| errno(&error))
        };
        match send(&entry.0, None) {
            // Too large for a datagram: it goes in a sealed file.
            Err(Errno::EMSGSIZE | Errno::ENOBUFS) => {
                let memory = sealed(&entry.0).map_err(|error| errno(&error))?;
                send(&[], Some(memory.as_fd()))
            }
            sent => sent,
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A file that journald takes. Not `memfd::sealed`, whose further seal older ones do not expect.
fn sealed(bytes: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd::create(c"rcorn-journal", flags)?);
    file.write_all(bytes)?;
    memfd::seal(&mut file)?;
    Ok(file)
}

/// A record as journald takes it. Its fields are named in the guide about logs
/// (`man/guide/logging.md`).
#[derive(Debug)]
pub(super) struct Entry(Vec<u8>);

impl Entry {
    fn new(log: &str, level: Level, pid: u32, generation: u32, message: &[u8]) -> Self {
        let mut entry = Self(Vec::with_capacity(message.len().saturating_add(256)));
        entry.field("MESSAGE", message);
        entry.number("PRIORITY", severity(level).into());
        entry.field("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry.field("RCORN_LOG", log.as_bytes());
        entry.number("RCORN_PID", pid);
        if generation > 0 {
            entry.number("RCORN_GENERATION", generation);
        }
        entry
    }

    /// A record of the error log.
    pub(super) fn error(record: &ErrorRecord<'_>, logger: Option<&str>, message: &[u8]) -> Self {
        let generation = GENERATION.load(Ordering::Relaxed);
        let mut entry = Self::new("error", record.level, record.pid, generation, message);
        if let Some(logger) = logger {
            entry.field("RCORN_LOGGER", logger.as_bytes());
        }
        entry.request(record.request_id)
    }

    /// A line that the app has printed.
    pub(super) fn captured(line: &CapturedLine<'_>, message: &[u8]) -> Self {
        let mut entry = Self::new("output", Level::Info, line.pid, line.generation, message);
        entry.field("RCORN_STREAM", line.stream.as_bytes());
        entry
    }

    /// A line of the access log.
    pub(super) fn access(request_id: Option<&str>, message: &[u8]) -> Self {
        let generation = GENERATION.load(Ordering::Relaxed);
        let entry = Self::new(
            "access",
            Level::Info,
            std::process::id(),
            generation,
            message,
        );
        entry.request(request_id)
    }

    fn request(mut self, id: Option<&str>) -> Self {
        if let Some(id) = id {
            self.field("RCORN_REQUEST_ID", id.as_bytes());
        }
        self
    }

    fn number(&mut self, name: &str, number: u32) {
        self.field(name, itoa::Buffer::new().format(number).as_bytes());
    }

    /// `NAME=VALUE`; or, of a value with several lines, the name, the length in 64 bits of little
    /// endian, and the value.
    fn field(&mut self, name: &str, value: &[u8]) {
        let out = &mut self.0;
        out.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            out.push(b'\n');
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            out.extend_from_slice(&length.to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use rcorn_types::WallClock;

    use super::*;

    const RECORD: ErrorRecord<'_> = ErrorRecord {
        time: WallClock(0),
        pid: 7,
        level: Level::Error,
        request_id: Some("id"),
        text: format_args!(""),
    };

    #[test]
    fn a_record_of_one_line_is_text() {
        let entry = Entry::error(&RECORD, Some("gunicorn.error"), b"a=b");
        let text = String::from_utf8(entry.0).unwrap();
        assert_eq!(
            text,
            "MESSAGE=a=b\nPRIORITY=3\nSYSLOG_IDENTIFIER=rcorn\nRCORN_LOG=error\nRCORN_PID=7\n\
             RCORN_LOGGER=gunicorn.error\nRCORN_REQUEST_ID=id\n"
        );
    }

    #[test]
    fn a_value_of_several_lines_has_a_length_and_ends_nothing() {
        let line = CapturedLine {
            time: WallClock(0),
            pid: 7,
            generation: 2,
            stream: "stdout",
            text: b"",
        };
        let entry = Entry::captured(&line, b"a\nPRIORITY=0");
        let beginning = b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=6\n";
        assert!(entry.0.starts_with(beginning), "{}", entry.0.escape_ascii());
        assert!(
            entry
                .0
                .ends_with(b"RCORN_PID=7\nRCORN_GENERATION=2\nRCORN_STREAM=stdout\n"),
            "{}",
            entry.0.escape_ascii()
        );
    }
}
