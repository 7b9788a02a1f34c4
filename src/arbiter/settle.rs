//! The rules that close the gap between what is wanted and what is, in order. They run after every event,
//! and are the whole policy: overdue, outdated template, missing, surplus, finished.

use rcorn_types::Monotonic;

use super::event::{Action, Ask, BootFailure, BootFailureKind, Generation, Outcome, WorkerId};
use super::note::{Killed, Note};
use super::pool::{Silence, Stage, TemplateStage};
use super::{Arbiter, LAST_WORDS, Phase, TESTIMONY};

impl Arbiter {
    pub(super) fn settle(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::New | Phase::Gone => {}
            Phase::Stopping { outcome, .. } => {
                self.end_templates(now, actions);
                self.end_overdue(now, actions);
                self.finish(outcome, actions);
            }
            Phase::Running => {
                self.end_overdue(now, actions);
                if self.stop_at.is_some_and(|stop| stop <= now) {
                    self.stop(now, Outcome::Asked, false, actions);
                }
                // An overdue boot may have ended everything.
                if self.phase != Phase::Running {
                    return;
                }
                self.retire_aged(now);
                self.start_template(now, actions);
                self.fork_canary(now, actions);
                self.hand_out_token();
                self.drain_surplus(now, actions);
                self.fork_missing(now, actions);
                self.close_reload(now, actions);
            }
        }
    }

    fn end_overdue(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let over: Vec<WorkerId> = self
            .pool
            .workers
            .iter()
            .filter(|(_, worker)| self.is_overdue(now, &worker.stage))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.end_worker(now, id, actions);
        }
        let over: Vec<Generation> = self
            .pool
            .templates
            .iter()
            .filter(|(_, stage)| self.template_due(stage).is_some_and(|due| due <= now))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in over {
            self.end_overdue_template(now, generation, actions);
        }
    }

    fn end_worker(&mut self, now: Monotonic, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let generation = worker.generation;
        match worker.stage {
            Stage::Serving { pid, since, busy } => {
                actions.push(Action::Say(Note::Timeout(pid)));
                actions.push(Action::Ask(pid, Ask::Testify));
                let until = now.after(TESTIMONY);
                let before = busy.map(|busy| Silence {
                    serving: since,
                    busy,
                });
                worker.stage = Stage::Testifying {
                    pid,
                    why: Killed::Silent,
                    before,
                    until,
                };
            }
            Stage::Testifying { pid, why, .. } => {
                actions.push(Action::PostMortem(id, worker.slot, pid));
                // One that never served has nothing of the app's to wind up.
                let (ask, again) = if why == Killed::Silent {
                    let again = now.after(LAST_WORDS);
                    (Ask::Abort, Some(again))
                } else {
                    (Ask::Kill, None)
                };
                actions.push(Action::Ask(pid, ask));
                worker.stage = Stage::Killed { pid, why, again };
            }
            Stage::Leaving { pid, quick, .. } => {
                actions.push(Action::Ask(pid, Ask::Kill));
                let why = if quick {
                    Killed::Quitting
                } else {
                    Killed::Leaving
                };
                worker.stage = Stage::Killed {
                    pid,
                    why,
                    again: None,
                };
            }
            Stage::Killed { pid, why, .. } => {
                actions.push(Action::Ask(pid, Ask::Kill));
                worker.stage = Stage::Killed {
                    pid,
                    why,
                    again: None,
                };
            }
            Stage::Booting { pid, .. } => {
                actions.push(Action::Say(Note::BootTimeout(pid)));
                actions.push(Action::Ask(pid, Ask::Testify));
                let until = now.after(TESTIMONY);
                let why = Killed::Boot;
                worker.stage = Stage::Testifying {
                    pid,
                    why,
                    before: None,
                    until,
                };
                self.no_boot(
                    now,
                    generation,
                    &slow("a worker was not ready within boot_timeout"),
                    actions,
                );
            }
            // The template does not answer.
            Stage::Forking { .. } => {
                self.fork_failed(
                    now,
                    id,
                    "the template did not answer within boot_timeout",
                    actions,
                );
                self.end_mute_template(now, generation, actions);
            }
        }
    }

    /// A template that was ready and does not answer any more (a hook hangs in it, somebody stopped it): nothing can
    /// be forked from it, so another takes its place.
    fn end_mute_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.get_mut(&generation) else {
            return;
        };
        if let TemplateStage::Ready { pid } = *stage {
            let until = Some(now.after(TESTIMONY));
            *stage = TemplateStage::Leaving {
                pid,
                until,
                listens: false,
            };
            actions.push(Action::Say(Note::TemplateMute(pid)));
            actions.push(Action::Ask(pid, Ask::Testify));
            self.forget_unborn(generation, actions);
        }
    }

    fn end_overdue_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.get_mut(&generation) else {
            return;
        };
        match *stage {
            TemplateStage::Starting { pid, .. } => {
                let until = Some(now.after(TESTIMONY));
                *stage = TemplateStage::Leaving {
                    pid,
                    until,
                    listens: false,
                };
                actions.push(Action::Say(Note::TemplateTimeout(pid)));
                actions.push(Action::Ask(pid, Ask::Testify));
                let failure = slow("the app's import was not done within boot_timeout");
                self.template_failed(now, generation, &failure, actions);
            }
            TemplateStage::Leaving {
                pid,
                ref mut until,
                listens,
            } => {
                *until = None;
                if listens {
                    actions.push(Action::Say(Note::TemplateStays(pid)));
                }
                actions.push(Action::KillTemplate(generation, pid));
            }
            TemplateStage::Ordered | TemplateStage::Ready { .. } => {}
        }
    }

    /// The generation in force needs its template, unless the throttle says not yet.
    fn start_template(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let generation = self.generation;
        if !self.pool.templates.contains_key(&generation)
            && self.throttle.closed_until(now).is_none()
        {
            self.pool
                .templates
                .insert(generation, TemplateStage::Ordered);
            actions.push(Action::StartTemplate(generation));
        }
    }

    fn can_fork(&self, generation: Generation) -> bool {
        matches!(
            self.pool.templates.get(&generation),
            Some(TemplateStage::Ready { .. })
        )
    }

    fn fork(&mut self, now: Monotonic, generation: Generation, actions: &mut Vec<Action>) {
        let (id, slot) = self.pool.add(generation, now);
        actions.push(Action::Fork(id, slot, generation));
    }

    /// A reload's first worker.
    fn fork_canary(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let Some(generation) = self.reload.as_ref().and_then(|reload| reload.generation) else {
            return;
        };
        if self.can_fork(generation)
            && self.pool.count(|worker| worker.generation == generation) == 0
        {
            self.fork(now, generation, actions);
        }
    }

    fn retire_aged(&mut self, now: Monotonic) {
        let aged: Vec<WorkerId> = self
            .pool
            .workers
            .iter()
            .filter(|(_, worker)| self.aged_at(&worker.stage).is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in aged {
            self.retire(id);
        }
    }

    /// At most one worker at a time is replaced on its own wish.
    fn hand_out_token(&mut self) {
        if self.token.is_none() && self.reload.is_none() && self.outdated() == 0 {
            self.token = self.retiring.pop_front();
        }
    }

    /// Workers of another generation than the one in force (and than the one on trial) that still serve.
    pub(super) fn outdated(&self) -> u32 {
        let trial = self.reload.as_ref().and_then(|reload| reload.generation);
        self.pool.count(|worker| {
            worker.generation != self.generation
                && Some(worker.generation) != trial
                && worker.stage.is_coming_or_serving()
        })
    }

    /// Forks up to the wanted number; one more while an old or retiring worker waits for its replacement.
    fn fork_missing(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let generation = self.generation;
        if !self.can_fork(generation) || self.throttle.closed_until(now).is_some() {
            return;
        }
        let trial = self.reload.as_ref().and_then(|reload| reload.generation);
        let surge = u32::from(self.outdated() > 0 || self.token.is_some());
        let most = self.wanted.saturating_add(surge);
        loop {
            let all = self.pool.count(|worker| {
                worker.stage.is_coming_or_serving() && Some(worker.generation) != trial
            });
            let token = self.token;
            let current = self.pool.workers.iter().filter(|(id, worker)| {
                worker.generation == generation
                    && worker.stage.is_coming_or_serving()
                    && Some(**id) != token
            });
            let current = u32::try_from(current.count()).unwrap_or(u32::MAX);
            if all >= most || current >= self.wanted {
                return;
            }
            self.fork(now, generation, actions);
        }
    }

    /// Lets go what is too much: never below the wanted number of workers that serve.
    fn drain_surplus(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let trial = self.reload.as_ref().and_then(|reload| reload.generation);
        loop {
            let serving = self
                .pool
                .count(|worker| worker.stage.is_serving() && Some(worker.generation) != trial);
            if serving <= self.wanted {
                break;
            }
            let generation = self.generation;
            let token = self.token;
            let mut candidates = self.pool.workers.iter().filter(|(_, worker)| {
                worker.stage.is_serving() && Some(worker.generation) != trial
            });
            let mut all = candidates.clone();
            let outdated = candidates
                .clone()
                .find(|(_, worker)| worker.generation != generation);
            let chosen = outdated.or_else(|| candidates.find(|(id, _)| Some(**id) == token));
            let Some(id) = chosen.or_else(|| all.next()).map(|(id, _)| *id) else {
                break;
            };
            self.dismiss(now, id, false, actions);
        }
        // Workers of a generation that was given up and never served need not finish booting.
        let stale: Vec<WorkerId> = self
            .pool
            .workers
            .iter()
            .filter(|(_, worker)| {
                worker.generation != self.generation
                    && Some(worker.generation) != trial
                    && matches!(worker.stage, Stage::Booting { .. })
            })
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.dismiss(now, id, false, actions);
        }
    }

    /// Ends the watch when its time is over, and begins the reload that waits.
    fn close_reload(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let rolled = self.outdated() == 0;
        if rolled && self.watch.as_ref().is_some_and(|watch| watch.until <= now) {
            self.end_watch(now, actions);
        }
        if self.reload_again && self.reload.is_none() && rolled {
            self.reload_again = false;
            self.reload_ordered(now, actions);
        }
    }

    /// The workers have left, and their template can.
    fn end_templates(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.pool.workers.is_empty() {
            let generations: Vec<Generation> = self.pool.templates.keys().copied().collect();
            for generation in generations {
                self.end_template(now, generation, actions);
            }
        }
    }

    fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if !self.pool.workers.is_empty()
            || !self.pool.templates.is_empty()
            || !self.strangers.is_empty()
        {
            return;
        }
        self.phase = Phase::Gone;
        let reason = match outcome {
            Outcome::Asked => None,
            Outcome::Refused => Some("The host refused something that is needed; see above."),
            Outcome::NoBoot => Some("Worker failed to boot."),
            Outcome::NoApp => Some("App failed to load."),
        };
        actions.push(Action::Say(Note::ShuttingDown(reason.is_some())));
        actions.extend(reason.map(|reason| Action::Say(Note::Failed(reason))));
        actions.push(Action::Exit(outcome));
    }
}

fn slow(what: &str) -> BootFailure {
    BootFailure {
        kind: BootFailureKind::Boot,
        summary: what.to_owned(),
    }
}
