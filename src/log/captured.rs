//! A line that the app has printed (`--capture-output`). The arbiter reads it from a pipe, and
//! writes it to the error log like a record of the process that has printed it.

use std::io::Write as _;

use rcorn_types::WallClock;

use super::json::Object;
use super::stamp;

/// A line of the standard output or the standard error of a process.
#[derive(Clone, Copy, Debug)]
pub struct CapturedLine<'a> {
    /// When it was read.
    pub time: WallClock,
    /// The process.
    pub pid: u32,
    /// The generation of the process.
    pub generation: u32,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The line, without its end. Any bytes.
    pub text: &'a [u8],
}

impl CapturedLine<'_> {
    /// Appends what stands between the pid and the end of the line in gunicorn's form.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        let (stream, generation) = (self.stream, self.generation);
        // Writing to a Vec does not fail.
        write!(out, "[{stream}] [generation {generation}] ").ok();
        out.extend_from_slice(self.text);
    }

    /// Appends a line of gunicorn's form.
    pub(super) fn write_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(stamp::error_log(self.time.0).as_bytes());
        write!(out, " [{}] ", self.pid).ok();
        self.write_text(out);
        out.push(b'\n');
    }

    /// Appends a JSON object.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        Object::new(out)
            .text("time", stamp::rfc3339(self.time.0).as_bytes())
            .number("pid", self.pid.into())
            .text("level", b"INFO")
            .text("logger", self.stream.as_bytes())
            .number("generation", self.generation.into())
            .text("message", self.text)
            .end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: CapturedLine<'_> = CapturedLine {
        time: WallClock(86_400),
        pid: 7,
        generation: 2,
        stream: "stderr",
        text: b"a\xffb \"\x1b",
    };

    #[test]
    fn a_line_is_written_as_it_is() {
        let mut out = Vec::new();
        LINE.write_line(&mut out);
        let (_time, rest) = out.split_at("[1970-01-02 00:00:00 +0000]".len());
        assert_eq!(rest, b" [7] [stderr] [generation 2] a\xffb \"\x1b\n");
    }

    #[test]
    fn in_json_its_members_have_types() {
        let mut out = Vec::new();
        LINE.write_json(&mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&value["pid"], &value["generation"]),
            (&7.into(), &2.into())
        );
        assert_eq!(value["logger"], "stderr");
        assert_eq!(value["message"], "a\u{ff}b \"\u{1b}");
    }
}
