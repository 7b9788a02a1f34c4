//! The error log, which is about rcorn itself, and the access log (in [`access`]). A record has a
//! form ([`Formatter`]) and a destination ([`Sink`]), which are independent: a new form or a new
//! destination is one more implementation.
//!
//! The pure crates (`arbiter`, `http`) and those that this crate uses (`types`, `settings`, `sys`)
//! do not log; they return values. A log does not panic, and takes no lock that a fork could leave
//! locked. Records that could not be written are counted, and the count is logged as soon as
//! writing succeeds again.
//!
//! Each record asks the kernel for the pid, so the pid is right after any fork, including one that
//! the app made.
#![forbid(unsafe_code)]

pub mod access;
mod error;
mod escape;
mod form;
mod formatter;
mod json;
mod sink;
mod stamp;

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

pub use access::{
    AccessFormat, AccessFormatter, AccessLog, FormatError, JsonFields, JsonFormat, Record,
};
pub use error::FileError;
pub use escape::{Escaped, escaped};
pub use form::{AccessForm, ErrorForm, ErrorLogSettings};
pub use formatter::{ErrorRecord, Formatter, GunicornFormatter, JsonFormatter};
pub use rcorn_types::Level;
pub use sink::{DescriptorSink, Sink, open};

use rcorn_sys::clock;

/// The error log of this process, after [`init`].
static LOG: OnceLock<Log> = OnceLock::new();

/// An error log: form, destination, and the least severe level that is written.
#[derive(Debug)]
pub struct Log {
    /// The form, as an index into [`ErrorForm::ALL`]: an atomic, because a fork could leave a lock
    /// locked.
    form: AtomicUsize,
    sink: Box<dyn Sink>,
    threshold: AtomicU8,
    /// The number of records lost since the last one that was written.
    lost: AtomicU64,
    /// Standard output and standard error go to this log, too.
    captures: AtomicBool,
}

impl Log {
    /// A log that writes to `fd`, the open `settings.target`. [`Log::reopen`] opens the path of the
    /// target again; a standard stream has no path and is not reopened.
    pub fn new(fd: OwnedFd, settings: &ErrorLogSettings) -> Self {
        let sink = DescriptorSink::new(fd, settings.target.path());
        Self::with(Box::new(sink), settings.form, settings.level)
    }

    /// A log with this destination, form and level.
    pub fn with(sink: Box<dyn Sink>, form: ErrorForm, level: Level) -> Self {
        let log = Self {
            form: AtomicUsize::new(0),
            sink,
            threshold: AtomicU8::new(level.python_number()),
            lost: AtomicU64::new(0),
            captures: AtomicBool::new(false),
        };
        log.set_form(form);
        log
    }

    fn set_form(&self, form: ErrorForm) {
        let index = ErrorForm::ALL.iter().position(|one| *one == form);
        self.form.store(index.unwrap_or(0), Ordering::Relaxed);
    }

    fn formatter(&self) -> &'static dyn Formatter {
        let form = ErrorForm::ALL.get(self.form.load(Ordering::Relaxed));
        form.copied().unwrap_or_default().formatter()
    }

    /// Whether records of this level are written.
    pub fn enabled(&self, level: Level) -> bool {
        level.python_number() >= self.threshold.load(Ordering::Relaxed)
    }

    /// Writes a record, if its level is severe enough. The text may have several lines.
    pub fn record(&self, level: Level, text: fmt::Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let note = format_args!("{lost} log records could not be written");
            let note = formatted(self.formatter(), Level::Warning, note);
            if self.sink.write(&note).is_ok() {
                // A subtraction, because another thread may have lost a record meanwhile.
                self.lost.fetch_sub(lost, Ordering::Relaxed);
            }
        }
        let record = formatted(self.formatter(), level, text);
        if self.sink.write(&record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes bytes that an app has written to `wsgi.errors`, unchanged unless the form of the log
    /// has a place for them.
    pub fn raw(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = format_args!("{text}");
        let record = self.formatter().app_text(&made_now(Level::Error, text));
        let bytes = record.as_deref().unwrap_or(bytes);
        if !bytes.is_empty() && self.sink.write(bytes).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the log file again by its path, for log rotation. The descriptor keeps its number. If
    /// the file cannot be opened, the log stays on the old file and records the error there.
    pub fn reopen(&self) {
        let result = self.sink.reopen();
        self.follow(result);
    }

    /// Applies new settings: level, form, and the destination `fd`, the open `settings.target`. The
    /// descriptor of the log keeps its number, so that children which inherited it write to the new
    /// file. If the file cannot be replaced, the log stays on the old file and records the error
    /// there.
    pub fn redirect(&self, fd: &OwnedFd, settings: &ErrorLogSettings) {
        self.threshold
            .store(settings.level.python_number(), Ordering::Relaxed);
        self.set_form(settings.form);
        let result = self.sink.redirect(fd, settings.target.path());
        self.follow(result);
    }

    /// Redirects standard output and standard error to this log (`--capture-output`), now and
    /// whenever it is reopened.
    pub fn capture_output(&self) {
        self.captures.store(true, Ordering::Relaxed);
        self.follow(Ok(()));
    }

    fn follow(&self, result: Result<(), FileError>) {
        let result = result.and_then(|()| {
            if self.captures.load(Ordering::Relaxed) {
                sink::capture(&*self.sink)
            } else {
                Ok(())
            }
        });
        if let Err(error) = result {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &FileError) {
        self.record(Level::Error, format_args!("{}", error.in_full()));
    }
}

/// Sets the error log of this process, which writes to `fd`, the open `settings.target`. A further
/// call applies new settings to the log; see [`Log::redirect`].
pub fn init(fd: OwnedFd, settings: &ErrorLogSettings) {
    match LOG.get() {
        Some(log) => log.redirect(&fd, settings),
        None => {
            LOG.get_or_init(|| Log::new(fd, settings));
        }
    }
}

/// Opens the log file again by its path, for log rotation; see [`Log::reopen`].
pub fn reopen() {
    if let Some(log) = LOG.get() {
        log.reopen();
    }
}

/// Redirects standard output and standard error to the log (`--capture-output`).
pub fn capture_output() {
    if let Some(log) = LOG.get() {
        log.capture_output();
    }
}

/// Whether records of this level are written. Check it before building text that is expensive.
pub fn enabled(level: Level) -> bool {
    LOG.get().map_or_else(
        || level.python_number() >= Level::Info.python_number(),
        |log| log.enabled(level),
    )
}

/// Writes a record. Bytes from outside must be [`escaped`].
pub fn record(level: Level, text: fmt::Arguments<'_>) {
    if let Some(log) = LOG.get() {
        log.record(level, text);
    } else if enabled(level) {
        // Before `init` there is only standard error, and no place to report its failure.
        drop(io::stderr().write_all(&formatted(&GunicornFormatter, level, text)));
    }
}

/// Writes bytes that an app has written to `wsgi.errors`, at every level; see [`Log::raw`].
pub fn raw(bytes: &[u8]) {
    match LOG.get() {
        Some(log) => log.raw(bytes),
        None => drop(io::stderr().write_all(bytes)),
    }
}

/// Writes a DEBUG record.
pub fn debug(text: fmt::Arguments<'_>) {
    record(Level::Debug, text);
}

/// Writes an INFO record.
pub fn info(text: fmt::Arguments<'_>) {
    record(Level::Info, text);
}

/// Writes a WARNING record.
pub fn warning(text: fmt::Arguments<'_>) {
    record(Level::Warning, text);
}

/// Writes an ERROR record.
pub fn error(text: fmt::Arguments<'_>) {
    record(Level::Error, text);
}

/// Writes a CRITICAL record.
pub fn critical(text: fmt::Arguments<'_>) {
    record(Level::Critical, text);
}

/// The bytes of a record of this process, made now.
fn formatted(formatter: &dyn Formatter, level: Level, text: fmt::Arguments<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    formatter.format(&made_now(level, text), &mut bytes);
    bytes
}

/// A record of this process.
fn made_now(level: Level, text: fmt::Arguments<'_>) -> ErrorRecord<'_> {
    ErrorRecord {
        time: clock::wall(),
        pid: std::process::id(),
        level,
        text,
    }
}

#[cfg(test)]
mod tests;
