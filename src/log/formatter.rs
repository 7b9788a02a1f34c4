//! The form of a record of the error log. Its destination is in `sink`.

use std::fmt;
use std::io::Write as _;

use rcorn_types::{Level, WallClock};

use super::captured::CapturedLine;
use super::json::Object;
use super::stamp;

/// A record of the error log.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRecord<'a> {
    /// When the record was made.
    pub time: WallClock,
    /// The process that made the record.
    pub pid: u32,
    /// The level.
    pub level: Level,
    /// The id of the request that it is about, if there is one that has an id.
    pub request_id: Option<&'a str>,
    /// The text, which may have several lines.
    pub text: fmt::Arguments<'a>,
}

/// Turns a record into bytes, which a sink writes at once. To add a form, implement this trait and
/// add the form to [`ErrorForm`](super::ErrorForm).
pub trait Formatter: fmt::Debug + Send + Sync {
    /// Appends the record and its end, usually a line feed.
    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>);

    /// The message of a record in journald, which has fields for the rest: the text, unless the
    /// form has more for it.
    fn message(&self, text: &[u8], _formatted: &dyn Fn(&mut Vec<u8>)) -> Vec<u8> {
        text.to_vec()
    }

    /// The bytes of what an app has written to `wsgi.errors`: `None` if they are written unchanged.
    fn app_text(&self, _record: &ErrorRecord<'_>) -> Option<Vec<u8>> {
        None
    }

    /// Appends a record that a logger of Python has made.
    fn python_record(&self, record: &ErrorRecord<'_>, _logger: &str, out: &mut Vec<u8>) {
        self.format(record, out);
    }

    /// Appends a line that the app has printed, and its end.
    fn captured(&self, line: &CapturedLine<'_>, out: &mut Vec<u8>) {
        line.write_line(out);
    }
}

/// gunicorn's form: `[2026-11-21 01:25:05 +0000] [19314] [INFO] text`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GunicornFormatter;

impl Formatter for GunicornFormatter {
    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(stamp::error_log(record.time.0).as_bytes());
        let (pid, label) = (record.pid, record.level.label());
        // Writing to a Vec fails only if a Display in the text does. The record ends there then.
        write!(out, " [{pid}] [{label}] {}", record.text).ok();
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
}

/// One JSON object on each line: `time`, `pid`, `level` and `message`; `logger` and `request_id` if
/// there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonFormatter;

impl JsonFormatter {
    /// Begins the object of a record. `logger` names whoever wrote the text, if that is not rcorn.
    fn write(record: &ErrorRecord<'_>, logger: Option<&str>, out: &mut Vec<u8>) {
        let message = record.text.to_string();
        let mut object = Object::new(out);
        object
            .text("time", stamp::rfc3339(record.time.0).as_bytes())
            .number("pid", record.pid.into())
            .text("level", record.level.label().as_bytes());
        if let Some(logger) = logger {
            object.text("logger", logger.as_bytes());
        }
        if let Some(id) = record.request_id {
            object.text("request_id", id.as_bytes());
        }
        object
            .text("message", message.trim_end_matches('\n').as_bytes())
            .end();
    }
}

impl Formatter for JsonFormatter {
    fn message(&self, _text: &[u8], formatted: &dyn Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut message = Vec::new();
        formatted(&mut message);
        message
    }

    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>) {
        Self::write(record, None, out);
    }

    fn python_record(&self, record: &ErrorRecord<'_>, logger: &str, out: &mut Vec<u8>) {
        Self::write(record, Some(logger), out);
    }

    fn captured(&self, line: &CapturedLine<'_>, out: &mut Vec<u8>) {
        line.write_json(out);
    }

    /// `print(..., file=environ['wsgi.errors'])` writes the line end separately; it is no record.
    fn app_text(&self, record: &ErrorRecord<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if !record.text.to_string().trim_end_matches('\n').is_empty() {
            Self::write(record, Some("wsgi.errors"), &mut out);
        }
        Some(out)
    }
}
