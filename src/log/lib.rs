//! The error log, which is about rcorn itself, and the access log (in [`access`]). A record has a
//! form ([`Formatter`]) and a destination ([`Sink`]), which are independent: a new form or a new
//! destination is one more implementation.
//!
//! The pure crates (`arbiter`, `http`) and those that this crate uses (`types`, `settings`, `sys`)
//! do not log; they return values. A log does not panic, takes no lock that a fork could leave
//! locked, and waits for its reader only for a bounded time (`writer`). Records that could not be
//! written are counted, here and in the scoreboard ([`count_lost`]), and the count is logged as
//! soon as writing succeeds again.
//!
//! Each record asks the kernel for the pid, so the pid is right after any fork, including one that
//! the app made.
#![forbid(unsafe_code)]

pub mod access;
mod captured;
mod error;
mod escape;
mod fit;
mod form;
mod formatter;
mod journal;
mod json;
mod logged;
mod lost;
mod relay;
mod sink;
mod stamp;
mod writer;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

pub use access::{
    AccessFormat, AccessFormatter, AccessLog, FormatError, JsonFields, JsonFormat, KeepsLines,
    Record, access_log, init_access, init_access_for_syslog,
};
pub use captured::CapturedLine;
pub use error::FileError;
pub use escape::{Escaped, escaped};
pub use form::{AccessForm, ErrorForm, ErrorLogSettings};
pub use formatter::{ErrorRecord, Formatter, GunicornFormatter, JsonFormatter};
pub use journal::set_generation;
pub use logged::{Logged, count_logged, note_logged};
pub use lost::{add_many as add_lost, count_lost, lost};
pub use rcorn_types::Level;
pub use relay::{
    MAX_MESSAGE_BYTES, Relayed, Syslog, init_relay, metric, set_syslog,
    takes_access as syslog_takes_access,
};
pub use sink::{ARBITER_PATIENCE, DescriptorSink, Sink, WORKER_PATIENCE, open};

use journal::{Entry, Journal};
use lost::Lost;
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
    /// The records lost since the last one that was written.
    lost: Lost,
    /// Its destination is the journal: records go there with fields.
    is_journal: AtomicBool,
}

impl Log {
    /// A log that writes to `fd`, the open `settings.target`. [`Log::reopen`] opens the path of the
    /// target again; a standard stream has no path and is not reopened. A record waits for room at
    /// most for `patience`.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn new(fd: OwnedFd, settings: &ErrorLogSettings, patience: Duration) -> io::Result<Self> {
        let is_journal = journal::is_behind(fd.as_fd());
        let sink = DescriptorSink::new(fd, settings.target.path(), patience)?;
        let log = Self::with(Box::new(sink), settings.form, settings.level);
        log.is_journal.store(is_journal, Ordering::Relaxed);
        Ok(log)
    }

    /// A log with this destination, form and level.
    pub fn with(sink: Box<dyn Sink>, form: ErrorForm, level: Level) -> Self {
        let log = Self {
            form: AtomicUsize::new(0),
            sink,
            threshold: AtomicU8::new(level.python_number()),
            lost: Lost::default(),
            is_journal: AtomicBool::new(false),
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
        self.record_about(level, None, text);
    }

    /// The same about a request that has this id.
    fn record_about(&self, level: Level, request_id: Option<&str>, text: fmt::Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        let made = ErrorRecord {
            request_id,
            ..made_now(level, text)
        };
        let formatter = self.formatter();
        self.put(&made, None, &|out| formatter.format(&made, out));
        relay::error(&made);
    }

    /// Writes bytes that an app has written to `wsgi.errors`, unchanged unless the form of the log
    /// has a place for them.
    pub fn raw(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = format_args!("{text}");
        let made = made_now(Level::Error, text);
        let record = self.formatter().app_text(&made);
        let bytes = record.as_deref().unwrap_or(bytes);
        if bytes.is_empty() {
            return;
        }
        if self.is_journal() {
            let message = without_end(bytes);
            // `print` writes the end of a line by itself; it is no record.
            if !message.is_empty()
                && !self.enter(&Entry::error(&made, Some("wsgi.errors"), message))
            {
                self.write_formatted(&|out| {
                    out.extend_from_slice(message);
                    out.push(b'\n');
                });
            }
            return;
        }
        if self.lost.pending() == 0 {
            return self.write(bytes, 0);
        }
        self.write_formatted(&|out| out.extend_from_slice(bytes));
    }

    /// Writes a record of a logger of Python, which has decided about its level.
    pub fn python_record(&self, level: Level, logger: &str, text: fmt::Arguments<'_>) {
        let made = made_now(level, text);
        let formatter = self.formatter();
        self.put(&made, Some(logger), &|out| {
            formatter.python_record(&made, logger, out);
        });
        relay::error(&made);
    }

    /// Writes a line that the app has printed.
    pub fn captured(&self, line: &CapturedLine<'_>) {
        let formatter = self.formatter();
        let formatted = |out: &mut Vec<u8>| formatter.captured(line, out);
        let message = || formatter.message(line.text, &formatted);
        if !(self.is_journal() && self.enter(&Entry::captured(line, without_end(&message())))) {
            self.write_formatted(&formatted);
        }
        relay::captured(line);
    }

    /// Writes a record to the journal, if that is the destination; else its form. `logger`: whoever
    /// wrote the text, if that is not rcorn.
    fn put(&self, made: &ErrorRecord<'_>, logger: Option<&str>, formatted: &dyn Fn(&mut Vec<u8>)) {
        if self.is_journal() {
            let text = made.text.to_string();
            let message = self.formatter().message(text.as_bytes(), formatted);
            if self.enter(&Entry::error(made, logger, without_end(&message))) {
                return;
            }
        }
        self.write_formatted(formatted);
    }

    fn write_formatted(&self, formatted: &dyn Fn(&mut Vec<u8>)) {
        let mut record = Vec::with_capacity(256);
        let lost = self.note_lost(&mut record);
        formatted(&mut record);
        self.write(&record, lost);
    }

    fn is_journal(&self) -> bool {
        self.is_journal.load(Ordering::Relaxed)
    }

    /// Sends a record to the journal; false: it takes none, and standard error may.
    fn enter(&self, entry: &Entry) -> bool {
        let Some(journal) = journal::journal() else {
            return false;
        };
        let is_entered = journal.send(entry).is_ok();
        if is_entered {
            self.tell_lost(journal);
        }
        is_entered
    }

    /// Says in the journal how many records are lost, if there are any.
    fn tell_lost(&self, journal: &Journal) {
        let lost = self.lost.pending();
        if lost == 0 {
            return;
        }
        let text = format!("{lost} log records could not be written");
        let arguments = format_args!("{text}");
        let made = made_now(Level::Warning, arguments);
        if journal
            .send(&Entry::error(&made, None, text.as_bytes()))
            .is_ok()
        {
            self.lost.told(lost);
        }
    }

    /// Appends a record that says how many are lost, if there are any, and returns their number. It
    /// is written together with the next record: alone it might fit where no record does.
    fn note_lost(&self, out: &mut Vec<u8>) -> u64 {
        let lost = self.lost.pending();
        if lost > 0 {
            let note = format_args!("{lost} log records could not be written");
            self.formatter()
                .format(&made_now(Level::Warning, note), out);
        }
        lost
    }

    /// Writes a record, which mentions so many lost ones.
    fn write(&self, record: &[u8], lost: u64) {
        match self.sink.write(record) {
            Ok(()) if lost > 0 => self.lost.told(lost),
            Ok(()) => {}
            Err(_lost) => {
                self.lost.add(1);
            }
        }
    }

    /// Opens the log file again by its path, for log rotation. The descriptor keeps its number. If
    /// the file cannot be opened, the log stays on the old file and records the error there.
    pub fn reopen(&self) {
        if let Err(error) = self.sink.reopen() {
            self.complain(&error);
        }
    }

    /// Applies new settings: level, form, and the destination `fd`, the open `settings.target`. The
    /// descriptor of the log keeps its number, so that children which inherited it write to the new
    /// file. If the file cannot be replaced, the log stays on the old file and records the error
    /// there.
    pub fn redirect(&self, fd: &OwnedFd, settings: &ErrorLogSettings) {
        self.threshold
            .store(settings.level.python_number(), Ordering::Relaxed);
        self.set_form(settings.form);
        self.is_journal
            .store(journal::is_behind(fd.as_fd()), Ordering::Relaxed);
        if let Err(error) = self.sink.redirect(fd, settings.target.path()) {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &FileError) {
        self.record(Level::Error, format_args!("{}", error.in_full()));
    }
}

/// Sets the error log of this process, which writes to `fd`, the open `settings.target`. A record
/// waits for room at most for `patience`. A further call applies new settings to the log; see
/// [`Log::redirect`].
///
/// # Errors
///
/// There is no descriptor left.
pub fn init(fd: OwnedFd, settings: &ErrorLogSettings, patience: Duration) -> io::Result<()> {
    if let Some(log) = LOG.get() {
        log.redirect(&fd, settings);
    } else {
        let log = Log::new(fd, settings, patience)?;
        LOG.get_or_init(|| log);
    }
    Ok(())
}

/// How many of the last records this process could not write to its error log.
#[must_use]
pub fn unsaid() -> u64 {
    LOG.get().map_or(0, |log| log.lost.pending())
}

/// Opens the files of this process's logs again by their paths, for log rotation; see
/// [`Log::reopen`].
pub fn reopen() {
    if let Some(log) = LOG.get() {
        log.reopen();
    }
    if let Some(log) = access_log() {
        log.reopen();
    }
}

/// Whether the error log is the journal: it has fields for what the form of other logs has.
pub fn is_journal() -> bool {
    LOG.get().is_some_and(Log::is_journal)
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
    record_about(level, None, text);
}

/// Writes a record about a request, whose text names its id, if it has one. Bytes from outside must
/// be [`escaped`].
pub fn record_about(level: Level, request_id: Option<&str>, text: fmt::Arguments<'_>) {
    if let Some(kind) = Logged::of(level) {
        note_logged(kind);
    }
    write_record(level, request_id, text);
}

/// Writes an ERROR record about an exception: statsd counts it apart, as gunicorn does.
/// `request_id`: that of the request, if it has one.
pub fn exception(request_id: Option<&str>, text: fmt::Arguments<'_>) {
    note_logged(Logged::Exception);
    write_record(Level::Error, request_id, text);
}

fn write_record(level: Level, request_id: Option<&str>, text: fmt::Arguments<'_>) {
    if let Some(log) = LOG.get() {
        log.record_about(level, request_id, text);
    } else if enabled(level) {
        let mut record = Vec::new();
        GunicornFormatter.format(&made_now(level, text), &mut record);
        write_to_standard_error(&record);
    }
}

/// Writes bytes that an app has written to `wsgi.errors`, at every level; see [`Log::raw`].
pub fn raw(bytes: &[u8]) {
    match LOG.get() {
        Some(log) => log.raw(bytes),
        None => write_to_standard_error(bytes),
    }
}

/// What is logged before [`init`]. When that fails nobody is left to tell.
fn write_to_standard_error(bytes: &[u8]) {
    let stderr = io::stderr();
    let writer = writer::Writer::new(stderr.as_fd(), ARBITER_PATIENCE);
    drop(writer.and_then(|writer| writer.write(bytes)));
}

/// Writes a line that the app has printed, at every level.
pub fn captured(line: &CapturedLine<'_>) {
    if let Some(log) = LOG.get() {
        log.captured(line);
    }
}

/// Writes a record of a logger of Python, which has decided about its level.
pub fn python_record(level: Level, logger: &str, text: fmt::Arguments<'_>) {
    if let Some(log) = LOG.get() {
        log.python_record(level, logger, text);
    }
}

/// Sends a record to syslog alone, if the settings say so: a logger of Python has written it.
pub fn syslog_text(level: Level, text: fmt::Arguments<'_>) {
    relay::error(&made_now(level, text));
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

/// A message without the end of its line.
fn without_end(message: &[u8]) -> &[u8] {
    message.strip_suffix(b"\n").map_or(message, without_end)
}

/// A record of this process, made now.
fn made_now(level: Level, text: fmt::Arguments<'_>) -> ErrorRecord<'_> {
    ErrorRecord {
        time: clock::wall(),
        pid: std::process::id(),
        level,
        request_id: None,
        text,
    }
}

#[cfg(test)]
mod tests;
