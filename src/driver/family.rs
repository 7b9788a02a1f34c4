//! The arbiter's children, written down for a build that takes over in place, and read again by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use rcorn_arbiter::{Exit, Generation, Pid, Slot, WorkerId};
use rcorn_sys::process::adopt;

use super::children::{Children, Template};
use super::handover;

/// All children, in a form that another build can read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Family {
    templates: BTreeMap<Generation, PackedTemplate>,
    workers: BTreeMap<Pid, WorkerId>,
    slots: BTreeMap<WorkerId, Slot>,
    ready: BTreeSet<WorkerId>,
    testimonies: BTreeMap<WorkerId, RawFd>,
    early: BTreeMap<Pid, Exit>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedTemplate {
    pid: Pid,
    commands: Option<RawFd>,
    owed: BTreeSet<WorkerId>,
    testimony: RawFd,
}

impl Family {
    /// The descriptors that belong to it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.templates
            .values()
            .flat_map(|template| template.commands.into_iter().chain([template.testimony]))
            .chain(self.testimonies.values().copied())
    }
}

impl Children {
    /// For a successor in our place.
    pub(super) fn pack(&self) -> Family {
        let templates = self.templates.iter().map(|(generation, template)| {
            let packed = PackedTemplate {
                pid: template.pid,
                commands: template.commands.as_ref().map(AsRawFd::as_raw_fd),
                owed: template.owed.clone(),
                testimony: template.testimony.as_raw_fd(),
            };
            (*generation, packed)
        });
        let testimonies = self.testimonies.iter();
        Family {
            templates: templates.collect(),
            workers: self.workers.clone(),
            slots: self.slots.clone(),
            ready: self.ready.clone(),
            testimonies: testimonies.map(|(id, fd)| (*id, fd.as_raw_fd())).collect(),
            early: self.early.clone(),
        }
    }

    /// From a predecessor in our place.
    pub(super) fn unpack(family: Family) -> io::Result<Self> {
        let mut children = Self {
            workers: family.workers,
            slots: family.slots,
            ready: family.ready,
            early: family.early,
            ..Self::default()
        };
        for (generation, packed) in family.templates {
            let template = Template {
                pid: packed.pid,
                commands: packed.commands.map(take_over).transpose()?,
                owed: packed.owed,
                testimony: take_over(packed.testimony)?,
            };
            children.templates.insert(generation, template);
        }
        for (id, fd) in family.testimonies {
            children.testimonies.insert(id, take_over(fd)?);
        }
        Ok(children)
    }
}

/// Adopts a descriptor that survived an exec; it shall not survive another by accident.
pub(super) fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    let owned = adopt(fd)?;
    handover::keep(fd, false)?;
    Ok(owned)
}
