//! What `rcorn ctl status` shows: the arbiter's view, with the scoreboard's entry of each worker.

use rcorn_arbiter::{Arbiter, Generation, Phase, Worker, WorkerId, WorkerStage};
use rcorn_control::{
    Build, CertificateStatus, PythonStatus, Status, TemplateStatus, ThreadStatus, WorkerStatus,
};
use rcorn_settings::{Preload, Settings};
use rcorn_sys::clock;
use rcorn_sys::process::resident_kib;
use rcorn_types::Monotonic;

use super::children::{Children, ImportSharing};
use super::front::Fronts;
use super::in_hand::{InHand, Thread, requests, threads};
use super::shared_memory::SharedMemory;
use super::sockets::Sockets;
use super::tally::Tally;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What the status is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) arbiter: &'a Arbiter,
    pub(super) settings: &'a Settings,
    pub(super) sockets: &'a Sockets,
    pub(super) memory: &'a SharedMemory,
    pub(super) children: &'a Children,
    pub(super) build: &'a Build,
    pub(super) last_reload: Option<&'a Result<String, String>>,
    pub(super) refork: Option<&'a Result<String, String>>,
    pub(super) tally: &'a Tally,
    pub(super) fronts: &'a Fronts,
    pub(super) now: Monotonic,
}

impl View<'_> {
    /// Makes it.
    pub(super) fn status(&self) -> Status {
        let app = self.settings.wsgi_app.as_ref();
        let text = |outcome: &Result<String, String>| match outcome {
            Ok(text) | Err(text) => text.clone(),
        };
        let last_reload = self.last_reload.map(text);
        let refork = match self.arbiter.refork_candidate() {
            Some(WorkerId(id)) => Some(format!("Worker {id} is to become the template.")),
            None => self.refork.map(text),
        };
        let templates = self
            .arbiter
            .templates()
            .iter()
            .map(|(generation, stage)| TemplateStatus {
                generation: generation.0,
                pid: stage.pid().map(|pid| pid.0),
                stage: stage.name().to_owned(),
                python: self.python_of(generation),
            });
        let workers = self.arbiter.workers().iter();
        let cells = self.arbiter.workers().iter();
        let cells = cells.map(|(_, worker)| worker.cell);
        let scoreboard = self.memory.scoreboard();
        let serving = self.arbiter.workers().iter();
        let serving = serving.filter(|(_, worker)| worker.stage.is_serving());
        let threads = serving.map(|(_, worker)| u32::from(scoreboard.slots(worker.cell.0).max(1)));
        let threads = threads.sum();
        let living = self.arbiter.workers().iter();
        let living = living.map(|(_, worker)| self.memory.counts(worker.cell));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: Some(self.build.clone()),
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            state: state(self.arbiter).to_owned(),
            generation: self.arbiter.generation().0,
            wanted: self.arbiter.wanted(),
            wanted_spares: self.arbiter.wanted_spares(),
            app: app.map_or_else(String::new, ToString::to_string),
            listeners: self.sockets.shown(self.settings),
            preload: self.preload(),
            last_reload,
            refork,
            upgrade: self.arbiter.upgrade().map(|pid| pid.0),
            counts: self.memory.totals().with_living(living),
            times: self.memory.times(cells),
            history: self.tally.history().clone(),
            threads,
            templates: templates.collect(),
            workers: workers
                .map(|(id, worker)| self.worker(id, worker))
                .collect(),
            fronts: self.fronts.status(self.now),
            front_counts: self.fronts.counters(),
            certificates: self.certificates(),
        }
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        let all = self.fronts.certificates().iter();
        let all = all.map(|one| CertificateStatus {
            file: one.certfile.clone(),
            names: one.names.clone(),
            not_after: one.not_after,
            days: one
                .not_after
                .saturating_sub(clock::wall().0)
                .div_euclid(DAY_SECONDS),
        });
        all.collect()
    }

    fn python_of(&self, generation: Generation) -> Option<PythonStatus> {
        let template = self.children.templates.get(&generation)?;
        template.python.clone()
    }

    /// The verdict on the last import.
    fn preload(&self) -> Option<String> {
        let said = match (self.settings.preload_app, &self.children.import) {
            (Preload::On, _) => "on".to_owned(),
            (Preload::Off, _) => "off".to_owned(),
            (Preload::Auto, ImportSharing::None) => return None,
            (Preload::Auto, ImportSharing::Shared) => "the app is shared".to_owned(),
            (Preload::Auto, ImportSharing::NotShared(found)) => {
                format!("no: {}", found.join("; "))
            }
        };
        Some(said)
    }

    fn worker(&self, id: WorkerId, worker: &Worker) -> WorkerStatus {
        let pid = worker.stage.pid();
        let counts = self.memory.counts(worker.cell);
        let scoreboard = self.memory.scoreboard();
        let oldest = requests(scoreboard, worker.cell, self.now)
            .into_iter()
            .next();
        let age = if let WorkerStage::Serving { since, .. } = worker.stage {
            Some(self.now.since(since).as_secs_f64())
        } else {
            None
        };
        WorkerStatus {
            id: id.0,
            pid: pid.map(|pid| pid.0),
            slot: worker.cell.0,
            generation: worker.generation.0,
            stage: worker.stage.name().to_owned(),
            age,
            requests: counts.requests,
            connections: u32::try_from(counts.connections).unwrap_or(u32::MAX),
            counts,
            resident: pid.and_then(|pid| resident_kib(pid.0)),
            request: oldest.as_ref().map(ToString::to_string),
            request_age: oldest.map(|oldest| oldest.age.as_secs_f64()),
            threads: self.threads(worker),
        }
    }

    fn threads(&self, worker: &Worker) -> Vec<ThreadStatus> {
        let threads = threads(self.memory.scoreboard(), worker.cell);
        let threads = threads.map(|(thread, cell)| {
            let request = InHand::of(cell.request_entry(), self.now);
            let Thread { number, tid, .. } = thread;
            ThreadStatus {
                number,
                tid,
                requests: cell.requests(),
                request: request.as_ref().map(ToString::to_string),
                request_age: request.map(|request| request.age.as_secs_f64()),
            }
        });
        threads.collect()
    }
}

/// The server's state in one word.
fn state(arbiter: &Arbiter) -> &'static str {
    if arbiter.phase() != Phase::Running || arbiter.is_stop_delayed() {
        "stopping"
    } else if arbiter.is_reloading() {
        "reloading"
    } else if arbiter.is_on_probation() {
        "watching"
    } else {
        "running"
    }
}
