//! The children of a pretend kernel: which there are, and what each of them does.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rcorn_types::Monotonic;

use super::super::*;

/// What a child of the arbiter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Worker(WorkerId),
    Template(Generation),
    /// A template whose place another has taken.
    Replaced(Generation),
    NewArbiter,
}

/// All children of the arbiter.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// All processes, by pid.
    pub(super) living: BTreeMap<Pid, Process>,
    /// Workers that live or have ended, but whose pid the arbiter was not told yet.
    pub(super) unreported: BTreeMap<Pid, Option<Exit>>,
    /// The worker that is being reported after its end.
    pub(super) reported_late: Option<Pid>,
    /// Processes that were asked to leave.
    pub(super) told: BTreeSet<Pid>,
    /// Workers that were asked once to unwind a request, and live.
    pub(super) unwinding: BTreeSet<Pid>,
    /// Workers that reported that they are ready, and live.
    pub(super) serving: BTreeMap<WorkerId, Pid>,
    /// When the current request of a serving worker began.
    pub(super) busy: BTreeMap<WorkerId, Monotonic>,
    /// Since when processes are stopped.
    pub(super) stopped: BTreeMap<Pid, Monotonic>,
    /// Workers that were drained while they held the retire token, and live.
    pub(super) retired: BTreeSet<Pid>,
    last_pid: i32,
}

impl Processes {
    pub(super) fn pid_of(&self, process: Process) -> Option<Pid> {
        self.living
            .iter()
            .find_map(|(pid, other)| (*other == process).then_some(*pid))
    }

    pub(super) fn spawn(&mut self, process: Process) -> Pid {
        self.last_pid += 1;
        // No child has the pid 1.
        let pid = Pid(self.last_pid + 1);
        self.living.insert(pid, process);
        pid
    }

    /// A worker takes the place of a template.
    pub(super) fn promote(&mut self, id: WorkerId, generation: Generation, pid: Pid) {
        assert_eq!(self.living.get(&pid), Some(&Process::Worker(id)));
        if let Some(before) = self.pid_of(Process::Template(generation)) {
            self.living.insert(before, Process::Replaced(generation));
            self.told.insert(before);
        }
        self.living.insert(pid, Process::Template(generation));
        self.told.remove(&pid);
        self.retired.remove(&pid);
        self.serving.remove(&id);
        self.busy.remove(&id);
    }

    /// How many workers and templates live that the arbiter has heard of.
    pub(super) fn count_known(&self) -> usize {
        let known = |(pid, process): &(&Pid, &Process)| {
            **process != Process::NewArbiter && !self.unreported.contains_key(*pid)
        };
        self.living.iter().filter(known).count()
    }

    /// A process ends. Returns what it was.
    pub(super) fn end(&mut self, pid: Pid) -> Option<Process> {
        let process = self.living.remove(&pid)?;
        self.told.remove(&pid);
        self.unwinding.remove(&pid);
        self.stopped.remove(&pid);
        self.retired.remove(&pid);
        if let Process::Worker(id) = process
            && self.serving.get(&id) == Some(&pid)
        {
            self.serving.remove(&id);
            self.busy.remove(&id);
        }
        Some(process)
    }

    /// Whether this worker has got on with nothing for as long as `timeout`.
    pub(super) fn has_hung(
        &self,
        id: WorkerId,
        pid: Pid,
        now: Monotonic,
        timeout: Duration,
    ) -> bool {
        [self.busy.get(&id), self.stopped.get(&pid)]
            .into_iter()
            .flatten()
            .any(|since| since.after(timeout) <= now)
    }
}
