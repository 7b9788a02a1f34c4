//! The workers: which there are, what they report, whose turn it is to be replaced, and who takes
//! too long. How many there are to be, and of which generation, is decided elsewhere (`gap.rs`).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rcorn_types::Monotonic;

use super::event::{Action, Ask};
use super::heartbeats::Heartbeats;
use super::life::QUICK_STOP_TIME;
use super::note::{Note, ReforkNote, WorkerNote};
use super::refork::Refork;
use super::retirement::Retirement;
use super::step::Step;
use super::values::{CellIndex, Exit, Generation, Pid, Policy, RetireReason, WorkerId};
use super::worker::{Death, Overdue, Worker, WorkerStage};

/// All workers that have not been reaped.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    /// By id: the oldest first.
    pub(super) by_id: BTreeMap<WorkerId, Worker>,
    /// The id of the worker that was forked last.
    pub(super) last_id: u64,
    pub(super) heartbeats: Heartbeats,
    pub(super) retirement: Retirement,
    pub(super) refork: Refork,
    /// Workers that reported themselves after they were given up; killed, but not reaped yet.
    pub(super) unknown: BTreeSet<Pid>,
}

/// What a worker is forked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// To serve.
    Worker,
    /// To become the template, if it may.
    ToPromote,
    /// To wait until a worker is missing.
    Spare,
}

/// A child that was reaped.
#[derive(Debug)]
pub(super) enum Reaped {
    /// One that had been given up.
    Unknown,
    /// This worker, and what its end means.
    Worker(Worker, Death),
    /// No worker.
    Other,
}

impl Workers {
    /// The worker with this id.
    #[must_use]
    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    /// The workers by id: the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_id.iter().map(|(id, worker)| (*id, worker))
    }

    /// The worker with this pid.
    #[must_use]
    pub fn by_pid(&self, pid: Pid) -> Option<WorkerId> {
        self.ids(|_, worker| worker.stage.pid() == Some(pid)).next()
    }

    /// The workers that meet a condition: the oldest first.
    pub(super) fn ids(
        &self,
        condition: impl Fn(WorkerId, &Worker) -> bool,
    ) -> impl Iterator<Item = WorkerId> {
        self.iter()
            .filter_map(move |(id, worker)| condition(id, worker).then_some(id))
    }

    /// How many workers meet a condition.
    pub fn count(&self, condition: impl Fn(&Worker) -> bool) -> u32 {
        let count = self.ids(|_, worker| condition(worker)).count();
        // There are no more workers than cells.
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether there is none, known or given up.
    pub(super) fn are_gone(&self) -> bool {
        self.by_id.is_empty() && self.unknown.is_empty()
    }

    /// Orders a fork, with the lowest free cell. Returns `false` when no cell is free.
    pub(super) fn fork(&mut self, generation: Generation, step: &mut Step<'_>) -> bool {
        let added = self.add(generation, Role::Worker, step.now);
        if let Some((id, cell)) = added {
            step.act(Action::Fork(id, cell, generation));
        }
        added.is_some()
    }

    /// The same, of one that imports the app and waits until a worker is missing.
    pub(super) fn fork_spare(&mut self, generation: Generation, step: &mut Step<'_>) {
        if let Some((id, cell)) = self.add(generation, Role::Spare, step.now) {
            step.act(Action::ForkSpare(id, cell, generation));
        }
    }

    /// Lets a worker serve that waits for that, or will: one that has imported the app already, if
    /// there is one. Returns `false` if there is none.
    pub(super) fn take_spare(&mut self, generation: Generation, step: &mut Step<'_>) -> bool {
        let is_one = |worker: &Worker| worker.is_kept_ready() && worker.generation == generation;
        let waits = |worker: &Worker| matches!(worker.stage, WorkerStage::Spare { .. });
        let ready = self.ids(|_, worker| is_one(worker) && waits(worker)).next();
        let taken = ready.or_else(|| self.ids(|_, worker| is_one(worker)).next());
        let Some((id, worker)) = taken.and_then(|id| Some((id, self.by_id.get_mut(&id)?))) else {
            return false;
        };
        worker.is_spare = false;
        if let WorkerStage::Spare { pid, .. } = worker.stage {
            worker.stage = WorkerStage::Booting {
                pid,
                since: step.now,
            };
            step.act(Action::Activate(id));
        }
        true
    }

    /// A worker has imported the app, and waits until it is told to serve: at once, if it is
    /// missing by now, and the server does not stop.
    pub(super) fn spare_ready(
        &mut self,
        id: WorkerId,
        pid: Pid,
        is_running: bool,
        step: &mut Step<'_>,
    ) {
        let Some(worker) = self.by_id.get_mut(&id) else {
            return self.kill_unknown(pid, step);
        };
        if !worker.stage.is_booting() {
            return;
        }
        let since = step.now;
        worker.is_spare |= !is_running;
        if worker.is_spare {
            worker.stage = WorkerStage::Spare { pid, since };
        } else {
            worker.stage = WorkerStage::Booting { pid, since };
            step.act(Action::Activate(id));
        }
    }

    /// Whether this worker is not missing.
    pub(super) fn is_spare(&self, id: WorkerId) -> bool {
        self.get(id).is_some_and(|worker| worker.is_spare)
    }

    /// The same, of one that becomes the template if its import may be shared.
    pub(super) fn fork_to_promote(&mut self, generation: Generation, step: &mut Step<'_>) {
        if let Some((id, cell)) = self.add(generation, Role::ToPromote, step.now) {
            step.act(Action::ForkToPromote(id, cell, generation));
        }
    }

    fn add(
        &mut self,
        generation: Generation,
        role: Role,
        now: Monotonic,
    ) -> Option<(WorkerId, CellIndex)> {
        let taken: BTreeSet<CellIndex> = self.by_id.values().map(|worker| worker.cell).collect();
        let mut cells = (0..=u16::MAX).map(CellIndex);
        let cell = cells.find(|cell| !taken.contains(cell))?;
        self.last_id = self.last_id.checked_add(1)?;
        let id = WorkerId(self.last_id);
        let stage = WorkerStage::Forking { since: now };
        self.by_id.insert(
            id,
            Worker {
                generation,
                cell,
                stage,
                to_promote: role == Role::ToPromote,
                is_spare: role == Role::Spare,
                is_extra: false,
            },
        );
        Some((id, cell))
    }

    /// Whether a worker of this generation may still become its template.
    pub(super) fn has_one_to_promote(&self, generation: Generation) -> bool {
        let is_one = |worker: &Worker| {
            worker.to_promote && worker.generation == generation && worker.stage.is_active()
        };
        self.count(is_one) > 0
    }

    /// This worker can be the template of its generation, which is returned: it is a worker no
    /// more. Nothing is returned if it was asked to leave, or given up.
    pub(super) fn promote(&mut self, id: WorkerId, step: &mut Step<'_>) -> Option<Generation> {
        let worker = self.by_id.get(&id)?;
        match worker.stage {
            WorkerStage::Booting { .. } => {}
            WorkerStage::Leaving { quick: false, .. } if self.refork.is_candidate(id) => {
                self.refork.promoted(self.last_id);
            }
            WorkerStage::Forking { .. }
            | WorkerStage::Spare { .. }
            | WorkerStage::Serving { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Unwinding { .. }
            | WorkerStage::Killed { .. } => return None,
        }
        self.remove(id, step).map(|worker| worker.generation)
    }

    /// Lets a worker that serves become the template, when its turn to be replaced comes.
    pub(super) fn begin_refork(&mut self, id: WorkerId, step: &mut Step<'_>) {
        if let Some(pid) = self.get(id).and_then(|worker| worker.stage.pid()) {
            self.refork.begin(id);
            self.retirement.request(id);
            step.say(ReforkNote::Begun(pid));
        }
    }

    /// The worker that is to become the template serves on instead, unless it has left already.
    pub(super) fn give_refork_up(&mut self, reason: &str, step: &mut Step<'_>) {
        if let Some(id) = self.refork.begin_again() {
            if self.get(id).is_some_and(|worker| worker.stage.is_serving()) {
                self.retirement.forget(id);
            }
            step.say(ReforkNote::Refused(reason.to_owned()));
        }
    }

    /// This worker stays one. Returns its generation.
    pub(super) fn stays(&mut self, id: WorkerId) -> Option<Generation> {
        let worker = self.by_id.get_mut(&id)?;
        worker.to_promote = false;
        Some(worker.generation)
    }

    /// Its template has forked this worker. Returns whether that is news.
    pub(super) fn forked(&mut self, id: WorkerId, pid: Pid, step: &mut Step<'_>) -> bool {
        let Some(worker) = self.by_id.get_mut(&id) else {
            self.kill_unknown(pid, step);
            return false;
        };
        let WorkerStage::Forking { since } = worker.stage else {
            return false;
        };
        worker.stage = WorkerStage::Booting { pid, since };
        true
    }

    /// This worker accepts requests; its template may not have reported its fork yet. Returns its
    /// generation, if that is news.
    pub(super) fn ready(
        &mut self,
        id: WorkerId,
        pid: Pid,
        step: &mut Step<'_>,
    ) -> Option<Generation> {
        let Some(worker) = self.by_id.get_mut(&id) else {
            self.kill_unknown(pid, step);
            return None;
        };
        if !worker.stage.is_booting() {
            return None;
        }
        // Whatever it was forked for.
        worker.is_spare = false;
        worker.stage = WorkerStage::Serving {
            pid,
            since: step.now,
            // It may have been stopped just after it reported itself.
            busy: self.heartbeats.is_stopped(id).then_some(step.now),
        };
        Some(worker.generation)
    }

    /// A worker reported itself that was given up before.
    fn kill_unknown(&mut self, pid: Pid, step: &mut Step<'_>) {
        if self.unknown.insert(pid) {
            step.ask(pid, Ask::Kill);
        }
    }

    /// A worker could not be forked. Returns its generation, unless it has reported itself all the
    /// same.
    pub(super) fn fork_failed(&mut self, id: WorkerId, step: &mut Step<'_>) -> Option<Generation> {
        let worker = self.by_id.get(&id)?;
        if !matches!(worker.stage, WorkerStage::Forking { .. }) {
            return None;
        }
        self.remove(id, step).map(|worker| worker.generation)
    }

    /// The forks that were ordered from this template will not come. A worker that was forked all
    /// the same reports itself later, and is killed as unknown.
    pub(super) fn forget_pending_forks(&mut self, generation: Generation, step: &mut Step<'_>) {
        let pending: Vec<WorkerId> = self
            .ids(|_, worker| {
                worker.generation == generation
                    && matches!(worker.stage, WorkerStage::Forking { .. })
            })
            .collect();
        for id in pending {
            self.remove(id, step);
        }
    }

    /// A worker reported why it cannot boot; its exit follows. Returns its generation, if it was
    /// booting.
    pub(super) fn boot_failed(&mut self, id: WorkerId, step: &Step<'_>) -> Option<Generation> {
        let worker = self.by_id.get_mut(&id)?;
        let WorkerStage::Booting { pid, .. } = worker.stage else {
            return None;
        };
        worker.stage = WorkerStage::Leaving {
            pid,
            until: step.after(QUICK_STOP_TIME),
            quick: true,
        };
        Some(worker.generation)
    }

    /// A child was reaped.
    pub(super) fn reap(&mut self, pid: Pid, exit: Exit, step: &mut Step<'_>) -> Reaped {
        if self.unknown.remove(&pid) {
            return Reaped::Unknown;
        }
        let id = self.by_pid(pid);
        match id.and_then(|id| self.remove(id, step)) {
            Some(worker) => {
                let death = worker.reaped(exit, step);
                Reaped::Worker(worker, death)
            }
            None => Reaped::Other,
        }
    }

    /// Forgets a worker that is gone, or will never be there.
    fn remove(&mut self, id: WorkerId, step: &mut Step<'_>) -> Option<Worker> {
        let worker = self.by_id.remove(&id)?;
        step.act(Action::FreeCell(worker.cell));
        if self.refork.forget(id) {
            let reason = "the worker ended before it was the template";
            step.say(ReforkNote::Refused(reason.to_owned()));
        }
        self.retirement.forget(id);
        self.heartbeats.forget(id);
        Some(worker)
    }

    /// Asks a worker to leave within `limit`.
    pub(super) fn ask_to_leave(
        &mut self,
        id: WorkerId,
        quick: bool,
        limit: Duration,
        step: &mut Step<'_>,
    ) {
        self.ask(id, if quick { Ask::Quit } else { Ask::Drain }, limit, step);
    }

    /// The same, of one that is to become the template.
    pub(super) fn ask_to_become_template(
        &mut self,
        id: WorkerId,
        limit: Duration,
        step: &mut Step<'_>,
    ) {
        self.ask(id, Ask::BecomeTemplate, limit, step);
    }

    fn ask(&mut self, id: WorkerId, ask: Ask, limit: Duration, step: &mut Step<'_>) {
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.ask_to_leave(ask, limit, step);
        }
    }

    /// Lets a serving worker be replaced when its turn comes.
    pub(super) fn retire(&mut self, id: WorkerId, why: RetireReason, step: &mut Step<'_>) {
        let Some(worker) = self.by_id.get(&id) else {
            return;
        };
        if worker.stage.is_serving()
            && let Some(pid) = worker.stage.pid()
            && self.retirement.request(id)
        {
            step.say(Note::Retiring(pid, why));
        }
    }

    /// A worker could not start. If it was to replace another, that one stays.
    pub(super) fn replacement_failed(&mut self, step: &mut Step<'_>) {
        if let Some((id, count)) = self.retirement.count_failure()
            && let Some(pid) = self.get(id).and_then(|worker| worker.stage.pid())
        {
            step.say(WorkerNote::NotReplaced(count).of(pid));
        }
    }

    /// Notes that the worker that is to be replaced leaves before its replacement is ready.
    pub(super) fn leave_first(&mut self, id: WorkerId, failures: u32, step: &mut Step<'_>) {
        if let Some(pid) = self.get(id).and_then(|worker| worker.stage.pid())
            && failures > 0
        {
            step.say(WorkerNote::LeavesFirst(failures).of(pid));
        }
        self.retirement.leave_first();
    }

    /// Lets those be replaced that have reached `max_worker_age`.
    pub(super) fn retire_aged(&mut self, max_age: Option<Duration>, step: &mut Step<'_>) {
        let now = step.now;
        let aged: Vec<WorkerId> = self
            .ids(|_, worker| worker.aged_at(max_age).is_some_and(|at| at <= now))
            .collect();
        for id in aged {
            self.retire(id, RetireReason::Age, step);
        }
    }

    /// Lets those of this generation be replaced that were forked from a template before. Returns
    /// whether any are left.
    pub(super) fn retire_outdated(&mut self, generation: Generation, step: &mut Step<'_>) -> bool {
        let is_left = |id, worker: &Worker| {
            worker.generation == generation
                && worker.stage.is_active()
                && self.refork.is_outdated(id)
        };
        let left: Vec<WorkerId> = self.ids(is_left).collect();
        for id in &left {
            self.retire(*id, RetireReason::Refork, step);
        }
        !left.is_empty()
    }

    /// Tells all but those that leave to reopen their logs.
    pub(super) fn reopen_logs(&self, step: &mut Step<'_>) {
        let active = self
            .by_id
            .values()
            .filter(|worker| worker.stage.is_active());
        for pid in active.filter_map(|worker| worker.stage.pid()) {
            step.ask(pid, Ask::Reopen);
        }
    }

    /// The scoreboard shows that the worker's current request began at `since`, or that it has
    /// none. Returns whether the worker was taken for hung, and serves on.
    pub(super) fn beat(
        &mut self,
        id: WorkerId,
        since: Option<Monotonic>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(worker) = self.by_id.get_mut(&id) else {
            return false;
        };
        if self.heartbeats.is_stopped(id) {
            // Its mark is not new, but true: if it was stopped in a request, it is busy since that
            // began.
            if let (Some(busy), Some(since)) = (worker.busy_mut(), since) {
                *busy = busy.map(|stopped| stopped.min(since));
            }
            return false;
        }
        match &mut worker.stage {
            WorkerStage::Serving { busy, .. } => *busy = since,
            // It made progress after all (the question itself may have interrupted a call), and may
            // hold another request by now.
            WorkerStage::Dumping {
                pid,
                hang: Some(hang),
                ..
            } if since != Some(hang.busy) => {
                step.say(WorkerNote::Recovered.of(*pid));
                worker.stage = WorkerStage::Serving {
                    pid: *pid,
                    since: hang.serving,
                    busy: since,
                };
                return true;
            }
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Spare { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Unwinding { .. }
            | WorkerStage::Killed { .. } => {}
        }
        false
    }

    /// The app has ended the request that took too long, and the worker serves on. Returns whether
    /// that comes in time: it is not being killed yet.
    pub(super) fn recovered(&mut self, id: WorkerId, step: &mut Step<'_>) -> bool {
        let Some(worker) = self.by_id.get_mut(&id) else {
            return false;
        };
        let WorkerStage::Unwinding { pid, serving, .. } = worker.stage else {
            return false;
        };
        step.say(WorkerNote::Recovered.of(pid));
        worker.stage = WorkerStage::Serving {
            pid,
            since: serving,
            // It may have been stopped just after it reported itself.
            busy: self.heartbeats.is_stopped(id).then_some(step.now),
        };
        true
    }

    /// This worker serves on after all: the one that was started last is one too many.
    pub(super) fn note_extra(&mut self, recovered: WorkerId) {
        let mut others = self.by_id.iter_mut().rev();
        let last = others.find(|(id, worker)| **id != recovered && worker.is_active());
        if let Some((_, worker)) = last {
            worker.is_extra = true;
        }
    }

    /// A worker was stopped (SIGSTOP). It answers nobody: it is busy from now on, also if its mark
    /// says that it is idle. What the last beat said may be over.
    pub(super) fn stopped(&mut self, pid: Pid, now: Monotonic) {
        if let Some(id) = self.by_pid(pid) {
            self.heartbeats.stop(id);
            self.set_busy(id, Some(now));
        }
    }

    /// A worker was continued (SIGCONT). The next beat tells what it does.
    pub(super) fn continued(&mut self, pid: Pid) {
        if let Some(id) = self.by_pid(pid) {
            self.heartbeats.forget(id);
            self.set_busy(id, None);
        }
    }

    fn set_busy(&mut self, id: WorkerId, since: Option<Monotonic>) {
        if let Some(busy) = self.by_id.get_mut(&id).and_then(Worker::busy_mut) {
            *busy = since;
        }
    }

    /// The workers in stages that are to be judged, and have lasted too long.
    pub(super) fn overdue(
        &self,
        policy: &Policy,
        is_judged: impl Fn(&WorkerStage) -> bool,
        now: Monotonic,
    ) -> Vec<WorkerId> {
        let is_due = |worker: &Worker| {
            worker
                .due(policy, &self.heartbeats)
                .is_some_and(|due| due <= now)
        };
        self.ids(|_, worker| is_judged(&worker.stage) && is_due(worker))
            .collect()
    }

    /// Brings a worker that takes too long one step nearer to its end. `unwind_limit`: how long
    /// it may take to unwind a request.
    pub(super) fn end_overdue(
        &mut self,
        id: WorkerId,
        unwind_limit: Duration,
        step: &mut Step<'_>,
    ) -> Option<(Generation, Overdue)> {
        let worker = self.by_id.get_mut(&id)?;
        Some((
            worker.generation,
            worker.end_overdue(id, unwind_limit, step),
        ))
    }

    /// When the next of them is due. The scoreboard is read once a `timeout` while nothing is known
    /// to be busy. So a hang is found exactly when it is due all the same: a request that began
    /// after the last tick is not due before the next.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Monotonic> {
        let look = policy
            .timeout
            .filter(|_| self.by_id.values().any(|worker| worker.stage.is_serving()))
            .map(|timeout| self.heartbeats.last_tick().after(timeout));
        self.by_id
            .values()
            .filter_map(|worker| worker.due(policy, &self.heartbeats))
            .chain(look)
            .min()
    }

    /// When the next of them reaches `max_worker_age`.
    pub(super) fn next_aged(&self, max_age: Option<Duration>) -> Option<Monotonic> {
        self.iter()
            .filter(|(id, _)| !self.retirement.includes(*id))
            .filter_map(|(_, worker)| worker.aged_at(max_age))
            .min()
    }
}
