//! The saved form of fronts, for a build that takes over in place. Its own fronts take the place of
//! these once they serve, at the reload that follows.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_arbiter::Pid;

use super::context::Context;
use super::inner::SavedInnerSocket;
use super::process::{Counters, FrontProcess, Stage};
use super::program::FrontProgram;
use super::{DEATHS, FrontExits, Fronts, REFUSED_RENEWALS};

/// How long one that leaves may take after an upgrade, when it is not known how long it has left.
const MAX_LEAVING: Duration = Duration::from_mins(5);

/// All fronts, and what they have in common. The names on the wire never change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedFronts {
    #[serde(default)]
    inner: Option<SavedInnerSocket>,
    #[serde(default)]
    processes: Vec<SavedFront>,
    #[serde(default)]
    totals: Counters,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedFront {
    pid: Pid,
    link: RawFd,
    /// It was told to leave.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    leaves: bool,
}

impl SavedFronts {
    /// Saves them.
    pub(crate) fn save(fronts: &Fronts) -> Self {
        let processes = fronts.processes.iter();
        Self {
            inner: fronts.inner.as_ref().map(super::InnerSocket::saved),
            processes: processes
                .map(|one| SavedFront {
                    pid: one.pid,
                    link: one.link().as_raw_fd(),
                    leaves: matches!(one.stage, Stage::Leaving(_)),
                })
                .collect(),
            totals: fronts.counters(),
        }
    }

    /// Whether there is nothing to hand over.
    pub(crate) fn is_none(&self) -> bool {
        self.inner.is_none() && self.processes.is_empty()
    }

    /// The descriptors in it, which the successor must inherit.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let inner = self
            .inner
            .into_iter()
            .flat_map(SavedInnerSocket::descriptors);
        inner.chain(self.processes.iter().map(|one| one.link))
    }

    /// Takes them over.
    ///
    /// # Errors
    ///
    /// A descriptor that was not inherited.
    pub(crate) fn restore(
        self,
        program: FrontProgram,
        exits: &mut FrontExits,
    ) -> io::Result<Fronts> {
        let mut fronts = Fronts::new(program);
        fronts.inner = self.inner.map(SavedInnerSocket::restore).transpose()?;
        for saved in self.processes {
            let mut process = FrontProcess::take_over(saved.pid, saved.link)?;
            if saved.leaves {
                // It knows until when.
                process.stage = Stage::Leaving(process.begun.after(MAX_LEAVING));
            }
            exits.add(process.pid);
            fronts.processes.push(process);
        }
        fronts.totals = self.totals;
        fronts.deaths = fronts.totals.remove(DEATHS).unwrap_or_default();
        fronts.renewals.refused = fronts.totals.remove(REFUSED_RENEWALS).unwrap_or_default();
        Ok(fronts)
    }
}

impl Fronts {
    /// Waits for those that were taken over.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn register_all(&self, context: &Context<'_>) -> io::Result<()> {
        let mut all = self.processes.iter();
        all.try_for_each(|process| process.register(context.registry, context.token))
    }
}
