//! `rcorn ctl`, run to its end.

use std::process::{Command, Stdio};

use super::Server;

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
    /// The output of an order that was carried out.
    pub(crate) fn done(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        &self.out
    }

    /// The complaint of one that was not.
    pub(crate) fn refused(&self) -> &str {
        assert_eq!(self.code, 1, "{self:?}");
        &self.err
    }
}

/// Runs it with these words.
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

impl Server {
    /// Asks this server.
    pub(crate) fn ctl(&self, words: &[&str]) -> Told {
        let pid = self.pid().to_string();
        ctl(&[&["--pid", &pid], words].concat())
    }
}
