//! The saved form of the arbiter's children, for a build that takes over in place.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use rcorn_arbiter::{CellIndex, Exit, Generation, Pid, WorkerId};
use rcorn_control::PythonStatus;
use rcorn_sys::descriptor::adopt;
use rcorn_sys::descriptor::set_inherited;

use super::children::{Children, ImportSharing, TemplateProcess};

/// All children, in a form that another build can read. The names on the wire are those of protocol
/// 6.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedChildren {
    templates: BTreeMap<Generation, SavedTemplate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<SavedTemplate>,
    workers: BTreeMap<Pid, WorkerId>,
    #[serde(rename = "slots")]
    cells: BTreeMap<WorkerId, CellIndex>,
    ready: BTreeSet<WorkerId>,
    #[serde(rename = "testimonies")]
    stack_dumps: BTreeMap<WorkerId, RawFd>,
    #[serde(rename = "early")]
    unclaimed_exits: BTreeMap<Pid, Exit>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    spares: BTreeMap<WorkerId, RawFd>,
    #[serde(default)]
    import: ImportSharing,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedTemplate {
    pid: Pid,
    commands: Option<RawFd>,
    #[serde(rename = "owed")]
    pending_forks: BTreeSet<WorkerId>,
    /// For a worker that was promoted it may arrive later.
    #[serde(rename = "testimony")]
    stack_dump: Option<RawFd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    served_as: Option<WorkerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    python: Option<PythonStatus>,
}

impl SavedTemplate {
    fn save(template: &TemplateProcess) -> Self {
        Self {
            pid: template.pid,
            commands: template.commands.as_ref().map(AsRawFd::as_raw_fd),
            pending_forks: template.pending_forks.clone(),
            stack_dump: template.stack_dump.as_ref().map(AsRawFd::as_raw_fd),
            served_as: template.served_as,
            python: template.python.clone(),
        }
    }

    fn restore(self) -> io::Result<TemplateProcess> {
        Ok(TemplateProcess {
            pid: self.pid,
            commands: self.commands.map(take_over).transpose()?,
            pending_forks: self.pending_forks,
            stack_dump: self.stack_dump.map(take_over).transpose()?,
            served_as: self.served_as,
            loading: None,
            python: self.python,
        })
    }
}

impl SavedChildren {
    /// Saves the children.
    pub(super) fn save(children: &Children) -> Self {
        let templates = children.templates.iter();
        let templates =
            templates.map(|(generation, template)| (*generation, SavedTemplate::save(template)));
        Self {
            templates: templates.collect(),
            replaced: children
                .replaced
                .values()
                .map(SavedTemplate::save)
                .collect(),
            workers: children.workers.clone(),
            cells: children.cells.clone(),
            ready: children.ready.clone(),
            stack_dumps: numbers(&children.stack_dumps),
            unclaimed_exits: children.unclaimed_exits.clone(),
            spares: numbers(&children.spares),
            import: children.import.clone(),
        }
    }

    /// The descriptors named in it.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.templates
            .values()
            .chain(&self.replaced)
            .flat_map(|template| template.commands.into_iter().chain(template.stack_dump))
            .chain(self.stack_dumps.values().copied())
            .chain(self.spares.values().copied())
    }

    /// Takes the children over from the predecessor of this process.
    ///
    /// # Errors
    ///
    /// A descriptor that was not inherited.
    pub(super) fn restore(self) -> io::Result<Children> {
        let mut children = Children {
            workers: self.workers,
            cells: self.cells,
            ready: self.ready,
            unclaimed_exits: self.unclaimed_exits,
            import: self.import,
            ..Children::default()
        };
        for (generation, saved) in self.templates {
            children.templates.insert(generation, saved.restore()?);
        }
        for saved in self.replaced {
            children.replaced.insert(saved.pid, saved.restore()?);
        }
        for (id, fd) in self.stack_dumps {
            children.stack_dumps.insert(id, take_over(fd)?);
        }
        for (id, fd) in self.spares {
            children.spares.insert(id, take_over(fd)?);
        }
        Ok(children)
    }
}

fn numbers(descriptors: &BTreeMap<WorkerId, OwnedFd>) -> BTreeMap<WorkerId, RawFd> {
    let descriptors = descriptors.iter();
    descriptors.map(|(id, fd)| (*id, fd.as_raw_fd())).collect()
}

/// Adopts a descriptor that was kept open over an exec, and sets close-on-exec, so that the next
/// exec does not keep it by accident.
///
/// # Errors
///
/// The descriptor is not open.
pub(super) fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    let owned = adopt(fd)?;
    set_inherited(&owned, false)?;
    Ok(owned)
}
