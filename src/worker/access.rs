//! The access-log line of one request, made only when there is an access log.

use pyo3::prelude::*;

use rcorn_http::path_info;
use rcorn_log::{AccessFormat, AccessLog, Record};
use rcorn_python::fork::pid;
use rcorn_python::text;
use rcorn_sys::clock;
use rcorn_wsgi::exchange::Served;

use super::atoms::Logger;
use super::desk::Desk;
use super::serve::Request;

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Access {
    /// To a file, by rcorn itself.
    File(FileAccess),
    /// To a logger of Python's.
    Logger(Logger),
}

/// The access log with its compiled format.
#[derive(Debug)]
pub(super) struct FileAccess {
    log: AccessLog,
    format: AccessFormat,
    line: Vec<u8>,
}

impl FileAccess {
    /// Compiles the format.
    pub(super) fn new(log: AccessLog, format: &str) -> std::io::Result<Self> {
        let format = AccessFormat::compile(format).map_err(std::io::Error::other)?;
        Ok(Self {
            log,
            format,
            line: Vec::new(),
        })
    }
}

impl Access {
    /// Opens the file again.
    pub(super) fn reopen(&self) {
        match self {
            Self::File(file) => file.log.reopen(),
            Self::Logger(_) => {}
        }
    }
}

struct Line<'a, 'py> {
    request: &'a Request<'a>,
    path: &'a [u8],
    status: u16,
    sent: u64,
    duration: u64,
    reply_head: &'a [u8],
    environ: Option<&'a Bound<'py, pyo3::types::PyDict>>,
}

impl Desk<'_> {
    /// Writes the request's line.
    pub(super) fn log_access(
        &mut self,
        py: Python<'_>,
        request: &Request<'_>,
        served: &Served,
        begun: u64,
        environ: Option<&Bound<'_, pyo3::types::PyDict>>,
    ) {
        let Some(access) = &mut self.access else {
            return;
        };
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        path_info(request.head.path.of(request.text), &mut path);
        self.exchange.with_reply_head(|reply_head| {
            let line = Line {
                request,
                path: &path,
                status: served.status,
                sent: served.sent,
                duration: clock::monotonic().saturating_sub(begun),
                reply_head,
                environ,
            };
            match access {
                Access::File(file) => {
                    file.line.clear();
                    file.format.render(&line, &mut file.line);
                    file.log.write(&mut file.line);
                }
                Access::Logger(logger) => {
                    let atoms =
                        logger.atoms(py, &line, request.head, request.text, reply_head, environ);
                    logger.write(py, atoms);
                }
            }
        });
        self.path = path;
    }
}

impl Record for Line<'_, '_> {
    fn remote_addr(&self) -> &str {
        self.request.peer
    }
    fn time(&self) -> i64 {
        clock::unix_seconds()
    }
    fn method(&self) -> &[u8] {
        self.request.method()
    }
    fn raw_uri(&self) -> &[u8] {
        self.request.target()
    }
    fn protocol(&self) -> &[u8] {
        let line = self.request.line();
        memchr::memrchr(b' ', line)
            .and_then(|blank| line.get(blank.saturating_add(1)..))
            .unwrap_or(&[])
    }
    fn path(&self) -> &[u8] {
        self.path
    }
    fn query(&self) -> &[u8] {
        self.request.head.query.of(self.request.text)
    }
    fn status(&self) -> u16 {
        self.status
    }
    fn body_bytes(&self) -> Option<u64> {
        Some(self.sent)
    }
    fn duration_ns(&self) -> u64 {
        self.duration
    }
    fn pid(&self) -> u32 {
        pid().cast_unsigned()
    }
    fn request_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let wanted = |field: &&rcorn_http::Field| {
            field
                .name
                .of(self.request.text)
                .eq_ignore_ascii_case(name.as_bytes())
        };
        let found = self.request.head.fields.iter().rev().find(wanted);
        found
            .map(|field| out.extend_from_slice(field.value.of(self.request.text)))
            .is_some()
    }
    fn response_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        // The head as it was sent: one field a line.
        let mut lines = self.reply_head.split(|byte| *byte == b'\n').skip(1);
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
        let Some(environ) = self.environ else {
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
