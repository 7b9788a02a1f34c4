//! One step of the arbiter: when it happens, and what is to be done.

use core::time::Duration;

use rcorn_types::Monotonic;

use super::event::{Action, Ask};
use super::note::Note;
use super::values::Pid;

/// What each owner is given when something happens.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// When it happens.
    pub(super) now: Monotonic,
    actions: &'a mut Vec<Action>,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: Monotonic, actions: &'a mut Vec<Action>) -> Self {
        Self { now, actions }
    }

    /// The time this long from now.
    pub(super) fn after(&self, wait: Duration) -> Monotonic {
        self.now.after(wait)
    }

    /// Asks the driver for this.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Logs this.
    pub(super) fn say(&mut self, note: impl Into<Note>) {
        self.act(Action::Say(note.into()));
    }

    /// Sends a signal to a worker or template.
    pub(super) fn ask(&mut self, pid: Pid, ask: Ask) {
        self.act(Action::Ask(pid, ask));
    }
}
