//! The error log: what rcorn says about itself. A record has a form ([`Formatter`], gunicorn's
//! lines today) and a destination ([`Sink`], a descriptor today), and neither knows the other: a
//! new form or a new destination is one more implementation. The access log is in [`access`].
//!
//! The pure crates (`arbiter`, `http`) and those that this crate uses (`types`, `settings`, `sys`)
//! do not log; they return values. A log never panics,
//! never waits for a lock that a fork could leave locked, and never loses a failure silently:
//! records that could not be written are counted, and the count is logged as soon as there is room
//! again.
//!
//! The pid of a record is asked of the kernel each time, so it is right after any fork, also one
//! that the app made.
#![forbid(unsafe_code)]

pub mod access;
mod error;
mod escape;
mod form;
mod formatter;
mod sink;
mod stamp;

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

pub use access::{AccessFormat, AccessFormatter, AccessLog, FormatError, Record};
pub use error::FileError;
pub use escape::{Escaped, escaped};
pub use form::{AccessForm, ErrorForm, ErrorLogSettings};
pub use formatter::{ErrorRecord, Formatter, GunicornFormatter};
pub use rcorn_types::Level;
pub use sink::{DescriptorSink, Sink, open};

use rcorn_sys::clock;

/// This process's error log, once [`init`] has run.
static LOG: OnceLock<Log> = OnceLock::new();

/// An error log: the form of its records, where they go, and from which level on.
#[derive(Debug)]
pub struct Log {
    /// The form: an index of [`ErrorForm::ALL`]. Not behind a lock, which a fork could leave
    /// locked.
    form: AtomicUsize,
    sink: Box<dyn Sink>,
    threshold: AtomicU8,
    /// Records that could not be written since the last one that could.
    lost: AtomicU64,
    /// Standard output and standard error go to the log too.
    captures: AtomicBool,
}

impl Log {
    /// A log that writes to `fd`, which is `settings.target` opened. [`Log::reopen`] opens the path
    /// of the target again; a standard stream has none, and is not reopened.
    pub fn new(fd: OwnedFd, settings: &ErrorLogSettings) -> Self {
        let sink = DescriptorSink::new(fd, settings.target.path());
        Self::with(Box::new(sink), settings.form, settings.level)
    }

    /// A log with this destination and this form.
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

    /// Writes one record, if its level is high enough. Text of several lines stays as it is.
    pub fn record(&self, level: Level, text: fmt::Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let note = format_args!("{lost} log records could not be written");
            let note = formatted(self.formatter(), Level::Warning, note);
            if self.sink.write(&note).is_ok() {
                // Not a store of 0: another thread may have lost one meanwhile.
                self.lost.fetch_sub(lost, Ordering::Relaxed);
            }
        }
        let record = formatted(self.formatter(), level, text);
        if self.sink.write(&record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes bytes as they are, in every form of the log: what an app writes to `wsgi.errors`.
    pub fn raw(&self, bytes: &[u8]) {
        if self.sink.write(bytes).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the log file again by its path, for log rotation. The descriptor keeps its number. If
    /// the file cannot be opened, the log stays on the old one and records the error there.
    pub fn reopen(&self) {
        let result = self.sink.reopen();
        self.follow(result);
    }

    /// Applies new settings: level, form, and the destination, which is `fd`: `settings.target`
    /// opened. The log's descriptor keeps its number, so that children which inherited it write
    /// to the new file. If the file cannot be replaced, the log stays on the old one and
    /// records the error there.
    pub fn redirect(&self, fd: &OwnedFd, settings: &ErrorLogSettings) {
        self.threshold
            .store(settings.level.python_number(), Ordering::Relaxed);
        self.set_form(settings.form);
        let result = self.sink.redirect(fd, settings.target.path());
        self.follow(result);
    }

    /// Lets standard output and standard error go to this log from now on (`--capture-output`),
    /// also after it was reopened.
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

/// Sets this process's error log, which writes to `fd`: `settings.target` opened. Called again, it
/// applies new settings to the log; see [`Log::redirect`].
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

/// Lets standard output and standard error go to the log (`--capture-output`).
pub fn capture_output() {
    if let Some(log) = LOG.get() {
        log.capture_output();
    }
}

/// Whether records of this level are written: ask before building costly text.
pub fn enabled(level: Level) -> bool {
    LOG.get().map_or_else(
        || level.python_number() >= Level::Info.python_number(),
        |log| log.enabled(level),
    )
}

/// Writes one record. Bytes from outside must come through [`escaped`].
pub fn record(level: Level, text: fmt::Arguments<'_>) {
    if let Some(log) = LOG.get() {
        log.record(level, text);
    } else if enabled(level) {
        // Before `init` there is only standard error; when that fails nobody is left to tell.
        drop(io::stderr().write_all(&formatted(&GunicornFormatter, level, text)));
    }
}

/// Writes bytes as they are, without a prefix and at any level: what an app writes to
/// `wsgi.errors`.
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

/// A record of now and of this process, as bytes.
fn formatted(formatter: &dyn Formatter, level: Level, text: fmt::Arguments<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let record = ErrorRecord {
        time: clock::wall(),
        pid: std::process::id(),
        level,
        text,
    };
    formatter.format(&record, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
