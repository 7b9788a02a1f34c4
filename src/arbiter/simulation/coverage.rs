//! What a simulation has seen: every order, event, action and note by its name, and every change of
//! stage.

use core::fmt::Debug;
use std::collections::{BTreeMap, BTreeSet};

use super::super::rollout::Rollout;
use super::super::*;

/// A worker, a template or the arbiter itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Arbiter,
    Template(Generation),
    Worker(WorkerId),
}

/// A change of stage of a kind of subject; `[*]` is the beginning and the end.
pub(super) type Transition = (&'static str, &'static str, &'static str);

#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    pub(super) names: BTreeSet<String>,
    pub(super) transitions: BTreeSet<Transition>,
}

/// The name of a variant.
fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|letter: char| !letter.is_alphanumeric());
    text.get(..end.unwrap_or(text.len())).unwrap().to_owned()
}

impl Coverage {
    fn see(&mut self, kind: &str, value: &impl Debug) {
        self.names.insert(format!("{kind}::{}", variant(value)));
    }

    pub(super) fn order(&mut self, order: Order) {
        self.see("Order", &order);
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.see("Event", event);
        if let Event::TemplateFailed(_, failure) | Event::BootFailed(_, failure) = event {
            self.see("BootFailureKind", &failure.kind);
        }
    }

    pub(super) fn action(&mut self, action: &Action) {
        self.see("Action", action);
        match action {
            Action::Exit(outcome) => self.see("Outcome", outcome),
            Action::Say(note) => self.note(note),
            Action::Ask(_, ask) => self.see("Ask", ask),
            Action::Load
            | Action::StartTemplate(_)
            | Action::EndTemplate(_)
            | Action::KillTemplate(..)
            | Action::Fork(..)
            | Action::ForkToPromote(..)
            | Action::ForkSpare(..)
            | Action::Activate(_)
            | Action::Promote(..)
            | Action::PostMortem(..)
            | Action::Commit(_)
            | Action::Discard(_)
            | Action::CloseListeners
            | Action::ReopenLogs
            | Action::Upgrade
            | Action::Wanted(_)
            | Action::FreeCell(_) => {}
        }
    }

    fn note(&mut self, note: &Note) {
        assert!(!note.to_string().is_empty());
        match note {
            Note::Worker(_, note) => {
                self.see("WorkerNote", note);
                if let WorkerNote::Killed(why) = note {
                    self.see("KillReason", why);
                }
            }
            Note::Template(_, note) => self.see("TemplateNote", note),
            Note::Reload(note) => self.see("ReloadNote", note),
            Note::Refork(note) => self.see("ReforkNote", note),
            Note::Upgrade(note) => self.see("UpgradeNote", note),
            Note::Stop(note) => self.see("StopNote", note),
            Note::Retiring(_, why) => self.see("RetireReason", why),
            Note::Workers(_)
            | Note::Dismissed
            | Note::Throttled(_)
            | Note::ForkFailed(_)
            | Note::TemplateNotStarted(_) => self.see("Note", note),
        }
    }

    /// What has changed since.
    pub(super) fn transitions(
        &mut self,
        before: &BTreeMap<Subject, &'static str>,
        arbiter: &Arbiter,
    ) {
        let after = stages(arbiter);
        let subjects: BTreeSet<&Subject> = before.keys().chain(after.keys()).collect();
        for subject in subjects {
            let kind = match subject {
                Subject::Arbiter => "arbiter",
                Subject::Template(_) => "template",
                Subject::Worker(_) => "worker",
            };
            let from = before.get(subject).copied().unwrap_or("[*]");
            let to = after.get(subject).copied().unwrap_or("[*]");
            if from != to {
                self.transitions.insert((kind, from, to));
            }
        }
    }
}

/// Where everybody is.
pub(super) fn stages(arbiter: &Arbiter) -> BTreeMap<Subject, &'static str> {
    let phase = match arbiter.phase() {
        Phase::New => "new",
        Phase::Running if arbiter.is_stop_delayed() => "about to stop",
        Phase::Running if arbiter.generations.rollout == Rollout::Loading => "loading",
        Phase::Running if arbiter.generations.rollout.candidate().is_some() => "candidate",
        Phase::Running if arbiter.is_on_probation() => "probation",
        Phase::Running => "running",
        Phase::Stopping { quick: false, .. } => "stopping",
        Phase::Stopping { quick: true, .. } => "stopping at once",
        Phase::Gone => "gone",
    };
    let workers = arbiter.workers().iter();
    let templates = arbiter.templates().iter();
    workers
        .map(|(id, worker)| (Subject::Worker(id), worker.stage.name()))
        .chain(templates.map(|(id, stage)| (Subject::Template(id), stage.name())))
        .chain([(Subject::Arbiter, phase)])
        .collect()
}

/// The transitions of one kind of subject, as a state diagram of Mermaid.
pub(super) fn diagram(kind: &str, transitions: &BTreeSet<Transition>) -> String {
    let mut lines = vec!["```mermaid".to_owned(), "stateDiagram-v2".to_owned()];
    let name = |stage: &str| stage.replace(' ', "_");
    for (_, from, to) in transitions.iter().filter(|(of, _, _)| *of == kind) {
        lines.push(format!("    {} --> {}", name(from), name(to)));
    }
    lines.push("```".to_owned());
    lines.join("\n")
}
