//! What `rcorn ctl status` shows: the brain's view, with what the scoreboard says of each worker.

use std::sync::atomic::Ordering;

use rcorn_arbiter::{Stage, Worker, WorkerId};
use rcorn_control::{Status, TemplateStatus, WorkerStatus};
use rcorn_sys::process::resident_kib;

use super::{Driver, now, postmortem};

impl Driver<'_> {
    pub(super) fn status(&self) -> Status {
        let pool = self.brain.pool();
        let templates = pool.templates.iter();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            state: self.state().to_owned(),
            generation: self.brain.generation().0,
            wanted: self.brain.wanted(),
            app: self
                .settings
                .wsgi_app
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            listeners: self
                .listeners
                .iter()
                .map(|listener| listener.shown(&self.settings))
                .collect(),
            last_reload: self
                .last_reload
                .as_ref()
                .map(|outcome| outcome.as_ref().unwrap_or_else(|text| text).clone()),
            upgrade: self.brain.upgrade().map(|pid| pid.0),
            templates: templates
                .map(|(generation, stage)| TemplateStatus {
                    generation: generation.0,
                    pid: stage.pid().map(|pid| pid.0),
                    stage: stage.name().to_owned(),
                })
                .collect(),
            workers: pool
                .workers
                .iter()
                .map(|(id, worker)| self.worker_status(*id, worker))
                .collect(),
        }
    }

    /// In one word.
    pub(super) fn state(&self) -> &'static str {
        if self.brain.phase() != rcorn_arbiter::Phase::Running || self.brain.is_stop_delayed() {
            "stopping"
        } else if self.brain.is_reloading() {
            "reloading"
        } else if self.brain.is_watching() {
            "watching"
        } else {
            "running"
        }
    }

    fn worker_status(&self, id: WorkerId, worker: &Worker) -> WorkerStatus {
        let pid = worker.stage.pid();
        let cell = self.scoreboard.cell(worker.slot.0);
        let hand = cell.and_then(|cell| postmortem::in_hand(cell, now()));
        let age = if let Stage::Serving { since, .. } = worker.stage {
            Some(now().since(since).as_secs_f64())
        } else {
            None
        };
        WorkerStatus {
            id: id.0,
            pid: pid.map(|pid| pid.0),
            generation: worker.generation.0,
            stage: worker.stage.name().to_owned(),
            age,
            requests: cell.map_or(0, |cell| cell.requests.load(Ordering::Relaxed)),
            connections: cell.map_or(0, |cell| cell.connections.load(Ordering::Relaxed)),
            resident: pid.and_then(|pid| resident_kib(pid.0)),
            request: hand.map(|(request, age)| postmortem::describe(&request, age)),
        }
    }
}
