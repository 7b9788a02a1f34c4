//! strace, attached to a process or a thread: what it calls, and what happens if a call is slow.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Deadline, wait_until};

/// strace, while it is attached.
#[derive(Debug)]
pub(crate) struct Strace {
    strace: Child,
    folder: TempDir,
}

impl Strace {
    /// Attaches it to a thread; `options`: more of strace(1). `-f`: to all threads of its process.
    pub(crate) fn attach(thread: Pid, options: &[&str]) -> Self {
        let folder = TempDir::with_prefix("rcorn-strace-").unwrap();
        let mut strace = Command::new("strace")
            .args(options)
            .args(["-p", &thread.to_string(), "-o"])
            .arg(folder.path().join("calls"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace (Debian: apt-get install strace)");
        let mut said = String::new();
        let mut stderr = BufReader::new(strace.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "strace cannot attach: {said}");
        strace.stderr = Some(stderr.into_inner());
        Self { strace, folder }
    }

    /// Waits until a call was begun whose line contains this.
    pub(crate) fn expect(&self, deadline: Deadline, call: &str) {
        wait_until(deadline, call, || self.calls().contains(call));
    }

    /// Detaches it, and returns what it has written: a line for each call.
    pub(crate) fn detach(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).unwrap());
        // It is not waited for yet, so the pid is its own.
        kill(pid, Signal::SIGINT).unwrap();
        let mut rest = String::new();
        self.strace
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        self.strace.wait().unwrap();
        self.calls()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap()
    }
}
