//! The access log: one record for each request. `format` compiles the operator's format, `render`
//! fills it in. Here are the values of a request ([`Record`]), the form ([`AccessFormatter`]) and
//! the destination ([`AccessLog`]). A worker writes the record when the response is complete; the
//! arbiter writes it for a request whose worker died.
//!
//! Two things differ from gunicorn. Control characters, bytes that are not ASCII and backslashes in
//! values from the client are escaped (`\x0a`, `\\`), not only the double quote, so that nobody can
//! forge a line. And a conversion that does not fit its value (`%(h)d`) prints the value as text
//! instead of raising an exception. A format that is JSON itself is escaped by the rules of JSON
//! instead (`json`).

mod atom;
mod destination;
mod format;
mod held;
pub(crate) mod json;
mod piece;
mod render;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use format::{AccessFormat, FormatError};
pub use held::KeepsLines;
pub use json::{JsonFields, JsonFormat};

use destination::Destination;
use held::Held;

use super::fit;
use super::journal::{self, Entry};
use super::lost::Lost;
use super::sink::{DescriptorSink, Sink};
use super::writer::PIPE_BUF;
use super::{FileError, error, relay};

/// The values of a request. They are raw: rendering escapes them.
pub trait Record {
    /// The address of the client; empty on a unix socket.
    fn remote_addr(&self) -> &str;
    /// When the response was complete, in seconds since 1970 (UTC).
    fn time(&self) -> i64;
    /// The method.
    fn method(&self) -> &[u8];
    /// The request target as it was sent.
    fn raw_uri(&self) -> &[u8];
    /// The version, such as `HTTP/1.1`.
    fn protocol(&self) -> &[u8];
    /// `PATH_INFO`
    fn path(&self) -> &[u8];
    /// `QUERY_STRING`
    fn query(&self) -> &[u8];
    /// The status code of the response.
    fn status(&self) -> u16;
    /// The number of body bytes that were sent, if known.
    fn body_bytes(&self) -> Option<u64>;
    /// The time from the head of the request to the end of the response, in nanoseconds.
    fn duration_ns(&self) -> u64;
    /// The process that served the request.
    fn pid(&self) -> u32;
    /// The id of the request, if it has one.
    fn request_id(&self) -> Option<&str> {
        None
    }
    /// Appends the value of the last request field of this name, and returns whether there is one.
    /// The name is in lower case; the comparison ignores case.
    fn request_header(&self, name: &str, out: &mut Vec<u8>) -> bool;
    /// The same for a field of the response.
    fn response_header(&self, name: &str, out: &mut Vec<u8>) -> bool;
    /// The same for a value of the environ. The name is as the operator wrote it; the comparison
    /// ignores case.
    fn environ(&self, name: &str, out: &mut Vec<u8>) -> bool;
}

/// Turns a request into the bytes of its record. To add a form, implement this trait and add the
/// form to [`AccessForm`](crate::AccessForm).
pub trait AccessFormatter {
    /// Appends the record and its end, usually a line feed.
    fn format(&self, record: &impl Record, out: &mut Vec<u8>);
}

/// A line in the operator's format.
impl AccessFormatter for AccessFormat {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        self.render(record, out);
        out.push(b'\n');
    }
}

/// The access log of this process, after [`init_access`].
static ACCESS: OnceLock<AccessLog> = OnceLock::new();

/// Sets the access log of this process; see [`AccessLog::new`]. Only the first call has an effect.
///
/// # Errors
///
/// There is no descriptor left.
pub fn init_access(fd: OwnedFd, path: Option<PathBuf>, patience: Duration) -> io::Result<()> {
    if ACCESS.get().is_none() {
        let log = AccessLog::new(fd, path, patience)?;
        ACCESS.get_or_init(|| log);
    }
    Ok(())
}

/// Sets an access log without a file: its lines go to syslog alone. Only the first call of this or
/// of [`init_access`] has an effect.
pub fn init_access_for_syslog() {
    ACCESS.get_or_init(AccessLog::without_file);
}

/// The access log of this process, if there is one.
pub fn access_log() -> Option<&'static AccessLog> {
    ACCESS.get()
}

/// An access log: the destination of its records.
#[derive(Debug)]
pub struct AccessLog {
    /// `None`: its lines go to syslog alone.
    destination: Option<Destination>,
    /// Its destination is the journal: lines go there with fields.
    is_journal: AtomicBool,
    /// Lines that will be written with the next one.
    held: Held,
}

impl AccessLog {
    /// An access log that writes to `fd`. [`AccessLog::reopen`] opens `path`; without a path it
    /// does nothing. A line waits for room at most for `patience`.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn new(fd: OwnedFd, path: Option<PathBuf>, patience: Duration) -> io::Result<Self> {
        let is_journal = AtomicBool::new(journal::is_behind(fd.as_fd()));
        let sink = DescriptorSink::new(fd, path, patience)?;
        Ok(Self {
            is_journal,
            ..Self::with(Box::new(sink))
        })
    }

    /// An access log with this destination.
    pub fn with(sink: Box<dyn Sink>) -> Self {
        Self {
            destination: Some(Destination {
                sink,
                lost: Lost::default(),
            }),
            is_journal: AtomicBool::new(false),
            held: Held::default(),
        }
    }

    /// An access log whose lines go to syslog alone.
    #[must_use]
    pub fn without_file() -> Self {
        Self {
            destination: None,
            is_journal: AtomicBool::new(false),
            held: Held::default(),
        }
    }

    /// Writes a record that its formatter has ended, and empties `record` for the next one. It goes
    /// to syslog, too, if the settings say so. Each record is one line: if it is longer than what a
    /// pipe takes in one piece, its longest values are cut. `request_id`: that of the request, if
    /// it has one. Lines that are held are written before it.
    pub fn write(&self, record: &mut Vec<u8>, request_id: Option<&str>) {
        relay::access(record);
        if let Some(destination) = self.destination_of(record, request_id)
            && (self.held.is_empty() || !self.held.write_with(record, destination))
        {
            destination.write(record, 1);
        }
        record.clear();
    }

    /// The same, but the record may be held until the next one is written, or
    /// [`write_held`](Self::write_held) is called: the caller does that soon. One that nobody would
    /// keep if this process died ([`hold_in`](Self::hold_in)) is written at once.
    pub fn hold(&self, record: &mut Vec<u8>, request_id: Option<&str>) {
        if !self.held.can_hold() {
            return self.write(record, request_id);
        }
        relay::access(record);
        if let Some(destination) = self.destination_of(record, request_id)
            && !self.held.hold(record, destination)
        {
            destination.write(record, 1);
        }
        record.clear();
    }

    /// Lets [`hold`](Self::hold) hold lines in this process, which are with `keeper`, too.
    pub fn hold_in(&self, keeper: &'static dyn KeepsLines) {
        self.held.begin(keeper);
    }

    /// Whether lines are held.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes the lines that are held, if there are any. Any thread may call this.
    pub fn write_held(&self) {
        if !self.held.is_empty()
            && let Some(destination) = &self.destination
        {
            self.held.write(destination);
        }
    }

    /// Writes lines that another process has held, and that have gone to syslog if they were to.
    pub fn write_left(&self, lines: &[u8]) {
        if let Some(destination) = &self.destination {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                destination.write(line, 1);
            }
        }
    }

    /// Where a record is to be written, which has the right length then; `None`: it is written
    /// already, or nowhere.
    fn destination_of(
        &self,
        record: &mut Vec<u8>,
        request_id: Option<&str>,
    ) -> Option<&Destination> {
        let destination = self.destination.as_ref()?;
        if self.is_journal.load(Ordering::Relaxed) && enter(record, request_id) {
            return None;
        }
        if record.len() > PIPE_BUF {
            fit::cut(record, destination.sink.whole_bytes());
        }
        Some(destination)
    }

    /// Opens the file again by its path, for log rotation. The descriptor keeps its number. If the
    /// file cannot be opened, the old one stays in use and the error log says why.
    pub fn reopen(&self) {
        self.write_held();
        if let Some(Destination { sink, .. }) = &self.destination {
            Self::report(sink.reopen());
        }
    }

    /// Writes to the file of `fd` from now on, after a change of settings. The descriptor of the
    /// log keeps its number.
    pub fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) {
        self.write_held();
        if let Some(Destination { sink, .. }) = &self.destination {
            let is_journal = journal::is_behind(fd.as_fd());
            self.is_journal.store(is_journal, Ordering::Relaxed);
            Self::report(sink.redirect(fd, path));
        }
    }

    fn report(result: Result<(), FileError>) {
        if let Err(problem) = result {
            error(format_args!("{}", problem.in_full()));
        }
    }
}

/// Sends a line to the journal; false: it takes none, and the standard stream may.
fn enter(record: &[u8], request_id: Option<&str>) -> bool {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    journal::journal().is_some_and(|journal| journal.send(&Entry::access(request_id, line)).is_ok())
}

#[cfg(test)]
mod tests;
