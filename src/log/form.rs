//! The form of a record of the error log: how it becomes bytes. Where the bytes go is another thing: see
//! `sink`. The form of the access log is in `access`.

use std::fmt;
use std::io::Write as _;

use rcorn_sys::clock;
use rcorn_types::WallClock;

use super::{Level, stamp};

/// One record of the error log.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorRecord<'a> {
    pub(super) time: WallClock,
    /// The process that it is about.
    pub(super) pid: u32,
    pub(super) level: Level,
    /// May have several lines. Bytes from outside are escaped already.
    pub(super) text: fmt::Arguments<'a>,
}

impl<'a> ErrorRecord<'a> {
    /// A record of this process, now. The pid is asked of the kernel, so that it is right after any fork.
    pub(super) fn now(level: Level, text: fmt::Arguments<'a>) -> Self {
        Self {
            time: clock::wall(),
            pid: std::process::id(),
            level,
            text,
        }
    }
}

/// The forms that a record can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// gunicorn's: `[2026-11-21 01:25:05 +0000] [19314] [INFO] text`.
    #[default]
    Gunicorn,
}

impl Form {
    /// The record as bytes, with the line feed at its end: one write(2).
    pub(super) fn render(self, record: &ErrorRecord<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match self {
            Self::Gunicorn => gunicorn(record, &mut bytes),
        }
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        bytes
    }
}

fn gunicorn(record: &ErrorRecord<'_>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(stamp::error_log(record.time.0).as_bytes());
    let (pid, level, text) = (record.pid, record.level.label(), record.text);
    // Writing to a Vec fails only if a Display in `text` does; the record is then written as far as it goes.
    drop(write!(bytes, " [{pid}] [{level}] {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_with_one_line_feed() {
        for text in ["one line", "two\nlines", "ended\n"] {
            let record = ErrorRecord {
                time: WallClock(0),
                pid: 7,
                level: Level::Warning,
                text: format_args!("{text}"),
            };
            let bytes = Form::Gunicorn.render(&record);
            let rendered = String::from_utf8(bytes).unwrap();
            let (prefix, rest) = rendered.split_once("] [7] [WARNING] ").unwrap();
            assert!(prefix.starts_with("[19"), "{rendered}");
            assert_eq!(rest, format!("{}\n", text.trim_end()));
        }
    }
}
