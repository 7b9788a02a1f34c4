//! `rcorn ctl`, run to its end.

use std::process::{Command, Stdio};

use nix::unistd::Pid;
use serde_json::Value;

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

impl Server {
    /// Waits until exactly this many workers serve.
    pub(crate) fn wait_serving(&self, workers: usize) {
        wait_until(self.deadline(), &format!("{workers} workers serve"), || {
            serves(self.pid(), workers)
        });
    }

    /// Runs `rcorn ctl` for this server.
    pub(crate) fn ctl(&self, words: &[&str]) -> Told {
        let pid = self.pid().to_string();
        ctl(&[&["--pid", &pid], words].concat())
    }

    /// What `rcorn ctl --json status` shows.
    pub(crate) fn status(&self) -> Value {
        let told = self.ctl(&["--json", "status"]);
        serde_json::from_str::<Value>(told.done()).unwrap()["status"].clone()
    }

    /// The ids of the workers that serve.
    pub(crate) fn serving_ids(&self) -> Vec<u64> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers
            .filter(|worker| worker["stage"] == "serving")
            .map(|worker| worker["id"].as_u64().unwrap())
            .collect()
    }
}
