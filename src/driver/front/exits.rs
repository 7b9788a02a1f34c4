//! Which children are fronts, and which of them have ended.

use std::collections::BTreeSet;

use rcorn_arbiter::{Exit, Pid};

/// The fronts among the children.
#[derive(Debug, Default)]
pub(crate) struct FrontExits {
    living: BTreeSet<Pid>,
    ended: Vec<(Pid, Exit)>,
}

impl FrontExits {
    /// Notes that this child is a front.
    pub(super) fn add(&mut self, pid: Pid) {
        self.living.insert(pid);
    }

    /// Notes the end of a child; returns whether it was a front.
    pub(crate) fn note(&mut self, pid: Pid, exit: Exit) -> bool {
        let is_front = self.living.remove(&pid);
        if is_front {
            self.ended.push((pid, exit));
        }
        is_front
    }

    /// Whether some have ended that nobody has looked at.
    pub(crate) fn is_noted(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Takes those that have ended.
    pub(super) fn take(&mut self) -> Vec<(Pid, Exit)> {
        std::mem::take(&mut self.ended)
    }
}
