//! What processes use: memory and descriptors, as `/proc` shows them.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

use super::{Server, holds_within};

/// The sum of the lines of `/proc/PID/FILE` that begin so, in KiB.
pub(crate) fn kib(pid: Pid, file: &str, names: &[&str]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let number = |line: &str| -> u64 {
        let digits = line.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    text.lines().filter(wanted).map(number).sum()
}

/// The private memory of these processes, in KiB.
pub(crate) fn private_kib(pids: &[Pid]) -> u64 {
    let own = |pid: &Pid| kib(*pid, "smaps_rollup", &["Private_"]);
    pids.iter().map(own).sum()
}

/// The largest resident memory that the process ever had, in KiB.
pub(crate) fn peak_kib(pid: Pid) -> u64 {
    kib(pid, "status", &["VmHWM:"])
}

/// An arbiter's descriptors and memory, which must be the same after a test as before.
#[derive(Debug)]
pub(crate) struct Footprint {
    descriptors: Vec<String>,
    /// Anonymous memory, in KiB.
    resident: u64,
}

impl Footprint {
    /// The footprint of a process now.
    pub(crate) fn of(pid: Pid) -> Self {
        Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .map(|to| to.display().to_string())
                .collect(),
            resident: kib(pid, "status", &["RssAnon:"]),
        }
    }

    /// Waits until the server is at rest again, and compares.
    pub(crate) fn assert_as_before(&self, server: &Server, workers: usize) {
        server.wait_serving(workers);
        let limit = server.deadline().or_after(Duration::from_mins(1));
        let at_rest = || {
            let now = Self::of(server.pid());
            // One descriptor for each worker; one more while a status query is answered.
            now.descriptors.len() <= self.descriptors.len() + 1
                && server.titled("rcorn: template").len() == 1
                && server.workers().len() == workers
        };
        let rests = holds_within(limit, at_rest);
        let now = Self::of(server.pid());
        assert!(rests, "{now:#?} after {self:#?}");
        assert!(
            now.resident <= self.resident + 1024,
            "{now:?} after {self:?}"
        );
    }
}
