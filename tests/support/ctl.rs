//! `rcorn ctl`, run to its end.

use std::process::{Command, Stdio};

use nix::unistd::Pid;

/// What `rcorn ctl` said.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Told {
    /// The output of an order that succeeded.
    pub(crate) fn done(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        &self.out
    }

    /// The error message of an order that failed.
    pub(crate) fn refused(&self) -> &str {
        assert_eq!(self.code, 1, "{self:?}");
        &self.err
    }
}

/// Runs it with these arguments.
pub(crate) fn ctl(words: &[&str]) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .arg("ctl")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Whether exactly this many workers of the arbiter serve, and no more are wanted.
pub(crate) fn serves(arbiter: Pid, workers: usize) -> bool {
    ctl(&["--pid", &arbiter.to_string(), "status"])
        .out
        .contains(&format!(" {workers} of {workers} serving"))
}
