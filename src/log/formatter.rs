//! The form of a record of the error log. Where it goes is another matter: see `sink`.

use std::fmt;
use std::io::Write as _;

use rcorn_types::{Level, WallClock};

use super::stamp;

/// What there is to write of a record.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRecord<'a> {
    /// When it was made.
    pub time: WallClock,
    /// The process that made it.
    pub pid: u32,
    /// Its level.
    pub level: Level,
    /// Its text. It may have several lines.
    pub text: fmt::Arguments<'a>,
}

/// Turns a record into bytes, which a sink writes in one go. To add a form, implement this and add
/// it to [`ErrorForm`](super::ErrorForm).
pub trait Formatter: fmt::Debug + Send + Sync {
    /// Appends the record with its end, as a rule a line feed.
    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>);
}

/// gunicorn's form: `[2026-11-21 01:25:05 +0000] [19314] [INFO] text`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GunicornFormatter;

impl Formatter for GunicornFormatter {
    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(stamp::error_log(record.time.0).as_bytes());
        let (pid, label) = (record.pid, record.level.label());
        // Writing to a Vec fails only when a Display in the text does; then the record is as far as
        // it came.
        write!(out, " [{pid}] [{label}] {}", record.text).ok();
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
}
