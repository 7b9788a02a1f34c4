//! `rcorn ctl`, run to its end.

use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::{Server, wait_until};

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

/// Whether exactly so many workers of this arbiter serve, and are all that are wanted.
pub(crate) fn serves(arbiter: Pid, workers: usize) -> bool {
    ctl(&["--pid", &arbiter.to_string(), "status"])
        .out
        .contains(&format!(" {workers} of {workers} serve"))
}

impl Server {
    /// Waits until exactly so many workers serve.
    pub(crate) fn wait_serving(&self, workers: usize) {
        wait_until(self.deadline(), &format!("{workers} workers serve"), || {
            serves(self.pid(), workers)
        });
    }

    /// Asks this server.
    pub(crate) fn ctl(&self, words: &[&str]) -> Told {
        let pid = self.pid().to_string();
        ctl(&[&["--pid", &pid], words].concat())
    }
}
