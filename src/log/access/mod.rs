//! The access log: one record for each request, by default a line in a format that the operator
//! chose. `format` compiles it, `render` fills it in, and here are the request's side ([`Record`]),
//! the form ([`AccessFormatter`]) and the destination ([`AccessLog`]). Called by the worker when
//! the reply is complete, and by the arbiter for a request whose worker died.
//!
//! Two things differ from gunicorn, on purpose. Control characters, bytes beyond ASCII and
//! backslashes that come from the peer are escaped (`\x0a`, `\\`), not only the double quote:
//! nobody can forge a line. And a conversion that does not fit its value (`%(h)d`) prints the value
//! as text instead of raising.

mod atom;
mod format;
mod render;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

pub use format::{AccessFormat, FormatError};

use super::sink::{DescriptorSink, Sink};
use super::{FileError, error};

/// What the format can ask of a request. Values are raw: rendering escapes them.
pub trait Record {
    /// The peer's address; empty for a unix peer.
    fn remote_addr(&self) -> &str;
    /// When the reply was complete, in seconds since 1970 (UTC).
    fn time(&self) -> i64;
    /// The method.
    fn method(&self) -> &[u8];
    /// The target as it was sent.
    fn raw_uri(&self) -> &[u8];
    /// `HTTP/1.1`.
    fn protocol(&self) -> &[u8];
    /// `PATH_INFO`.
    fn path(&self) -> &[u8];
    /// `QUERY_STRING`.
    fn query(&self) -> &[u8];
    /// The status code of the reply.
    fn status(&self) -> u16;
    /// How many bytes of the body were sent, when known.
    fn body_bytes(&self) -> Option<u64>;
    /// How long it took, in nanoseconds.
    fn duration_ns(&self) -> u64;
    /// The process that served it.
    fn pid(&self) -> u32;
    /// Appends the value of this request field (the last one of that name; the name is in lower
    /// case and to be compared without case) and says whether there is one.
    fn request_header(&self, name: &str, out: &mut Vec<u8>) -> bool;
    /// The same for a field of the reply.
    fn response_header(&self, name: &str, out: &mut Vec<u8>) -> bool;
    /// The same for a value of the environ; the name is as the operator wrote it, to be compared
    /// without case.
    fn environ(&self, name: &str, out: &mut Vec<u8>) -> bool;
}

/// Turns a request into the bytes of its record. To add a form, implement this and add it to
/// [`AccessForm`](crate::AccessForm).
pub trait AccessFormatter {
    /// Appends the record with its end, as a rule a line feed.
    fn format(&self, record: &impl Record, out: &mut Vec<u8>);
}

/// One line by the operator's format.
impl AccessFormatter for AccessFormat {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        self.render(record, out);
        out.push(b'\n');
    }
}

/// Where the records of the access log go.
#[derive(Debug)]
pub struct AccessLog {
    sink: Box<dyn Sink>,
    /// Lines lost since the last one that was written.
    lost: AtomicU64,
}

impl AccessLog {
    /// An access log that writes to `fd`. `path` is what [`AccessLog::reopen`] opens; without it
    /// there is nothing to reopen.
    pub fn new(fd: OwnedFd, path: Option<PathBuf>) -> Self {
        Self::with(Box::new(DescriptorSink::new(fd, path)))
    }

    /// An access log with this destination.
    pub fn with(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            lost: AtomicU64::new(0),
        }
    }

    /// Writes a record, which its formatter has ended, in one go, and leaves `record` empty for the
    /// next. Failures go to the error log, once when they begin and once when they are over.
    pub fn write(&self, record: &mut Vec<u8>) {
        let result = self.sink.write(record);
        record.clear();
        match result {
            Ok(()) => {
                // Read first: a swap for every line would bounce between threads for nothing.
                if self.lost.load(Ordering::Relaxed) > 0 {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    error(format_args!(
                        "The access log can be written again; {lost} lines are lost"
                    ));
                }
            }
            Err(cause) => {
                if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    error(format_args!("Cannot write the access log: {cause}"));
                }
            }
        }
    }

    /// Opens the file again by its path, for log rotation. The descriptor keeps its number. When it
    /// cannot be opened, the old one stays in use and the error log says why.
    pub fn reopen(&self) {
        Self::report(self.sink.reopen());
    }

    /// Changes where lines go (new settings) to the file of `fd`; the log's descriptor keeps its
    /// number.
    pub fn redirect(&self, fd: &OwnedFd, path: Option<PathBuf>) {
        Self::report(self.sink.redirect(fd, path));
    }

    fn report(result: Result<(), FileError>) {
        if let Err(problem) = result {
            error(format_args!("{}", problem.in_full()));
        }
    }
}

#[cfg(test)]
mod tests;
