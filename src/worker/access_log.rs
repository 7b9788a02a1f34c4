//! The access log of a worker: the record of one request, made only if there is an access log.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyList;

use rcorn_app::loggers;
use rcorn_http::path_info;
use rcorn_log::{AccessForm, AccessFormatter as _, AccessLog as AccessFile, KeepsLines, Record};
use rcorn_python::fork::pid;
use rcorn_python::text;
use rcorn_scoreboard::HeldLines;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::access_line::AccessLine;
use super::access_log_fields::PythonLogger;
use super::front::HTTP2;
use super::overdue_request::KeptLines;
use super::request::RequestOrigin;

/// A request writes at most so many lines of others: its thread is needed.
const MAX_KEPT_AT_ONCE: usize = 100;

/// Lines are held for so long, and for one request more.
const MAX_HOLD: Duration = Duration::from_millis(1);

/// The access log of one request slot.
#[derive(Debug)]
pub(super) struct AccessLog {
    output: Output,
    /// Requests that the I/O thread has answered; `None`: it answers none.
    kept: Option<Arc<KeptLines>>,
    /// A buffer for the decoded path.
    path: Vec<u8>,
    /// When a request began first while lines were held.
    held_since: Option<Monotonic>,
}

/// The destination of the records.
#[derive(Debug)]
enum Output {
    /// A file, which rcorn writes itself unless somebody has changed `gunicorn.access`.
    File {
        file: &'static AccessFile,
        form: AccessForm,
        logger: PythonLogger,
        /// A buffer for a record.
        line: Vec<u8>,
    },
    /// A Python logger.
    Logger(PythonLogger),
}

impl AccessLog {
    /// An access log that writes to a file, in this form. If somebody has changed
    /// `gunicorn.access`, the records go to that logger, whose handler writes to the same file.
    pub(super) fn to_file(
        file: &'static AccessFile,
        form: AccessForm,
        logger: PythonLogger,
    ) -> Self {
        Self::new(Output::File {
            file,
            form,
            logger,
            line: Vec::new(),
        })
    }

    /// An access log that writes to a Python logger.
    pub(super) fn to_logger(logger: PythonLogger) -> Self {
        Self::new(Output::Logger(logger))
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            kept: None,
            path: Vec::new(),
            held_since: None,
        }
    }

    /// The same log, which also writes these lines.
    pub(super) fn with_kept(self, kept: Option<Arc<KeptLines>>) -> Self {
        Self { kept, ..self }
    }

    /// Lets lines that go to a file be held, and be kept here meanwhile. For a worker with one
    /// thread.
    pub(super) fn hold_in(&self, lines: &'static HeldLines) {
        if let Output::File { file, .. } = &self.output {
            file.hold_in(Box::leak(Box::new(Keeper(lines))));
        }
    }

    /// Writes the record of a request. A logger runs Python code, which may do anything.
    /// `may_be_held`: until the next one, or [`write_held`](Self::write_held).
    pub(super) fn write(&mut self, py: Python<'_>, about: &AccessLine<'_, '_>, may_be_held: bool) {
        if self.kept.is_some() {
            self.write_kept(py, MAX_KEPT_AT_ONCE);
        }
        self.write_one(py, about, may_be_held);
    }

    /// Whether lines are held when a request begins. Those that were held for long are written.
    pub(super) fn holds_at(&mut self, now: Monotonic) -> bool {
        let Output::File { file, .. } = &self.output else {
            return false;
        };
        if file.holds() && now.since(*self.held_since.get_or_insert(now)) >= MAX_HOLD {
            file.write_held();
        }
        let holds = file.holds();
        if !holds {
            self.held_since = None;
        }
        holds
    }

    /// Writes the lines that are held.
    pub(super) fn write_held(&self) {
        if let Output::File { file, .. } = &self.output {
            file.write_held();
        }
    }

    /// Writes the records of requests that the I/O thread has answered, at most so many.
    pub(super) fn write_kept(&mut self, py: Python<'_>, most: usize) {
        if let Some(kept) = &self.kept {
            for request in kept.take(most) {
                request.with_line(|about| self.write_one(py, about, false));
            }
        }
    }

    fn write_one(&mut self, py: Python<'_>, about: &AccessLine<'_, '_>, may_be_held: bool) {
        let record = Line::new(about, &mut self.path);
        match &mut self.output {
            Output::File { logger, .. } if loggers::access_needs_python(py) => {
                logger.write(py, &record, about);
            }
            Output::File {
                file, form, line, ..
            } => {
                line.clear();
                form.format(&record, line);
                if may_be_held {
                    file.hold(line, about.request_id);
                } else {
                    file.write(line, about.request_id);
                }
            }
            Output::Logger(logger) => logger.write(py, &record, about),
        }
    }
}

/// Lines that the arbiter writes if this worker dies.
#[derive(Debug)]
struct Keeper(&'static HeldLines);

impl KeepsLines for Keeper {
    fn keep(&self, line: &[u8]) -> bool {
        self.0.push(line)
    }
    fn forget(&self) {
        self.0.clear();
    }
}

/// Writes the record of a request that has nothing of Python.
pub(super) fn write_to_file(file: &AccessFile, form: &AccessForm, about: &AccessLine<'_, '_>) {
    let (mut path, mut line) = (Vec::new(), Vec::new());
    form.format(&Line::new(about, &mut path), &mut line);
    file.write(&mut line, about.request_id);
}

struct Line<'a, 'py> {
    about: &'a AccessLine<'a, 'py>,
    path: &'a [u8],
}

impl<'a, 'py> Line<'a, 'py> {
    /// The record of a request. `path` is a buffer.
    fn new(about: &'a AccessLine<'a, 'py>, path: &'a mut Vec<u8>) -> Self {
        path.clear();
        let request = about.request;
        path_info(request.head.path.of(request.text), path);
        Self { about, path }
    }
}

impl Record for Line<'_, '_> {
    fn remote_addr(&self) -> &str {
        self.about.request.peer
    }
    fn time(&self) -> i64 {
        clock::wall().0
    }
    fn method(&self) -> &[u8] {
        self.about.request.method()
    }
    fn raw_uri(&self) -> &[u8] {
        self.about.request.target()
    }
    fn protocol(&self) -> &[u8] {
        if let RequestOrigin::Front(client) = self.about.request.origin
            && client.is_http2()
        {
            return HTTP2.as_bytes();
        }
        let line = self.about.request.line();
        memchr::memrchr(b' ', line)
            .and_then(|blank| line.get(blank.saturating_add(1)..))
            .unwrap_or(&[])
    }
    fn path(&self) -> &[u8] {
        self.path
    }
    fn query(&self) -> &[u8] {
        self.about.request.head.query.of(self.about.request.text)
    }
    fn status(&self) -> u16 {
        self.about.status
    }
    fn body_bytes(&self) -> Option<u64> {
        Some(self.about.sent)
    }
    fn duration_ns(&self) -> u64 {
        u64::try_from(self.about.duration.as_nanos()).unwrap_or(u64::MAX)
    }
    fn pid(&self) -> u32 {
        pid().cast_unsigned()
    }
    fn request_id(&self) -> Option<&str> {
        self.about.request_id
    }
    fn request_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        if let Some(fields) = self.about.seen.changed_fields {
            return changed_header(fields, name, out).unwrap_or(false);
        }
        let wanted = |field: &&rcorn_http::Field| {
            field
                .name
                .of(self.about.request.text)
                .eq_ignore_ascii_case(name.as_bytes())
        };
        let found = self.about.request.head.fields.iter().rev().find(wanted);
        found
            .map(|field| out.extend_from_slice(field.value.of(self.about.request.text)))
            .is_some()
    }
    fn response_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        // The head as it was sent, with one field per line.
        let mut lines = self
            .about
            .response_head
            .split(|byte| *byte == b'\n')
            .skip(1);
        let value = lines.find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (field, value) = line.split_at_checked(colon)?;
            field
                .eq_ignore_ascii_case(name.as_bytes())
                .then_some(value.get(1..)?.trim_ascii())
        });
        value.map(|value| out.extend_from_slice(value)).is_some()
    }
    fn environ(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let Some(environ) = self.about.seen.environ else {
            return false;
        };
        let mut find = || -> PyResult<bool> {
            for (key, value) in environ.iter() {
                if key.str()?.to_string_lossy().eq_ignore_ascii_case(name) {
                    let value = value.str()?;
                    if !text::append_latin1(&value, out)? {
                        out.extend_from_slice(value.to_string_lossy().as_bytes());
                    }
                    return Ok(true);
                }
            }
            Ok(false)
        };
        find().unwrap_or(false)
    }
}

/// Appends the value of the last field of this name.
fn changed_header(fields: &Bound<'_, PyList>, name: &str, out: &mut Vec<u8>) -> PyResult<bool> {
    let mut found = None;
    for field in fields.iter() {
        let (field, value): (String, Bound<'_, PyAny>) = field.extract()?;
        if field.eq_ignore_ascii_case(name) {
            found = Some(value);
        }
    }
    let Some(value) = found else {
        return Ok(false);
    };
    let value = value.str()?;
    if !text::append_latin1(&value, out)? {
        out.extend_from_slice(value.to_string_lossy().as_bytes());
    }
    Ok(true)
}
