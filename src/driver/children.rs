//! The arbiter's children: templates are started here, workers come from them, and all that ends is reaped
//! here. Only this thread reaps, so a pid that was not reaped yet can be signalled by kill(2) without ever
//! meeting a stranger: pidfds would add descriptors and say nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid as NixPid, Whence, ftruncate, lseek};

use rcorn_arbiter::{Event, Exit, Generation, Pid, Slot, WorkerId};
use rcorn_link::{Command, Start};
use rcorn_log as log;
use rcorn_sys::spawn::Spawn;

use super::interpreter;
use super::native::NativeModule;

/// A template that runs.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) pid: Pid,
    /// Dropped to let it go.
    pub(super) commands: Option<OwnedFd>,
    /// Forks it was told to make and has not reported.
    pub(super) owed: BTreeSet<WorkerId>,
    pub(super) testimony: OwnedFd,
}

/// All children.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// What templates import.
    pub(super) module: NativeModule,
    pub(super) templates: BTreeMap<Generation, Template>,
    /// Workers by pid, from their first sign of life to their reaping.
    pub(super) workers: BTreeMap<Pid, WorkerId>,
    /// Slots by worker, from the order to fork to the reaping.
    pub(super) slots: BTreeMap<WorkerId, Slot>,
    pub(super) ready: BTreeSet<WorkerId>,
    /// Where each worker writes what it does, when asked.
    pub(super) testimonies: BTreeMap<WorkerId, OwnedFd>,
    /// A new arbiter beside this one.
    pub(super) upgrade: Option<Pid>,
    /// Workers that were reaped, for the hooks.
    pub(super) ended: Vec<(Pid, WorkerId)>,
    /// Children reaped before we knew whose they were: a worker may die before its fork was reported.
    pub(super) early: BTreeMap<Pid, Exit>,
}

/// A pair of connected sockets that keep message boundaries; closed at exec.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

impl Children {
    /// Starts a template. `start` lacks only its command socket.
    pub(super) fn start_template(
        &mut self,
        python: PathBuf,
        mut start: Start,
        environment: Vec<(String, String)>,
    ) -> io::Result<Pid> {
        let (ours, theirs) = pair()?;
        start.commands = theirs.as_raw_fd();
        let testimony = memfd_create(c"rcorn-testimony", MFdFlags::MFD_CLOEXEC)?;
        start.stack_dump = testimony.as_raw_fd();
        let module = self.module.open()?;
        let orders = memfd_create(c"rcorn-start", MFdFlags::MFD_CLOEXEC)?;
        let mut orders = File::from(orders);
        orders.write_all(&serde_json::to_vec(&start).map_err(io::Error::other)?)?;
        let mut inherit: Vec<RawFd> =
            vec![module.as_raw_fd(), orders.as_raw_fd(), theirs.as_raw_fd()];
        inherit.extend([
            start.scoreboard,
            start.reports,
            start.stack_dump,
            start.handoff_queue.0,
            start.handoff_queue.1,
            start.error_log,
        ]);
        inherit.extend(start.access_log);
        inherit.extend(start.listeners.iter().map(|listener| listener.fd));
        let spawn = Spawn {
            program: python,
            arguments: interpreter::arguments(module.as_raw_fd(), orders.as_raw_fd(), "first"),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            without: Vec::new(),
            inherit,
            ignore_interrupt: true,
            die_with_parent: true,
            directory: None,
        };
        let pid = Pid(spawn.start()?);
        let template = Template {
            pid,
            commands: Some(ours),
            owed: BTreeSet::new(),
            testimony,
        };
        self.templates
            .insert(Generation(start.generation), template);
        Ok(pid)
    }

    /// Lets a template go: end of file on its command socket.
    pub(super) fn end_template(&mut self, generation: Generation) {
        if let Some(template) = self.templates.get_mut(&generation) {
            template.commands = None;
        }
    }

    /// Orders a fork.
    pub(super) fn fork(
        &mut self,
        id: WorkerId,
        slot: Slot,
        generation: Generation,
        probe: bool,
    ) -> Result<(), String> {
        let Some(template) = self.templates.get_mut(&generation) else {
            return Err("its template is gone".to_owned());
        };
        let command = Command::Fork {
            id: id.0,
            slot: slot.0,
            probe,
        };
        tell(template, &command)
            .map_err(|error| format!("its template does not listen: {error}"))?;
        template.owed.insert(id);
        self.slots.insert(id, slot);
        Ok(())
    }

    /// Tells all templates.
    pub(super) fn tell_templates(&self, command: &Command) {
        for template in self.templates.values() {
            if let Err(error) = tell(template, command) {
                log::debug(format_args!("a template does not listen: {error}"));
            }
        }
    }

    /// Tells the template of the newest generation that still listens.
    pub(super) fn tell_newest(&self, command: &Command) {
        let mut listening = self.templates.values().rev();
        if let Some(template) = listening.find(|template| template.commands.is_some())
            && let Err(error) = tell(template, command)
        {
            log::debug(format_args!("a template does not listen: {error}"));
        }
    }

    /// A worker gave its first sign of life, or its template reported it, with its testimony: of those who are gone
    /// nobody would close that.
    pub(super) fn born(&mut self, id: WorkerId, pid: Pid, testimony: Option<OwnedFd>) -> Birth {
        self.paid(id);
        if let Some(exit) = self.early.remove(&pid) {
            self.ended.push((pid, id));
            self.forget_early();
            return Birth::Ended(exit);
        }
        self.forget_early();
        // A slow template may report a worker that told of itself, ended, and was reaped and forgotten since. Its
        // number belongs to nobody now, or to somebody else.
        if !is_child(pid) {
            return Birth::Gone;
        }
        self.workers.insert(pid, id);
        self.testimonies
            .extend(testimony.map(|testimony| (id, testimony)));
        Birth::Alive
    }

    /// A fork was answered.
    pub(super) fn paid(&mut self, id: WorkerId) {
        for template in self.templates.values_mut() {
            template.owed.remove(&id);
        }
    }

    /// The worker serves.
    pub(super) fn is_ready(&mut self, id: WorkerId) {
        self.ready.insert(id);
    }

    /// The workers that serve, with their slots.
    pub(super) fn serving(&self) -> impl Iterator<Item = (WorkerId, Slot)> + '_ {
        self.ready
            .iter()
            .filter_map(|id| Some((*id, *self.slots.get(id)?)))
    }

    /// Where a worker or a template testifies.
    pub(super) fn testimony(&self, pid: Pid) -> Option<&OwnedFd> {
        let template = self
            .templates
            .values()
            .find(|template| template.pid == pid)
            .map(|template| &template.testimony);
        template.or_else(|| self.testimonies.get(self.workers.get(&pid)?))
    }

    /// Asks a worker or a template where it is; the answer is in its testimony a moment later.
    pub(super) fn ask_where(&self, pid: Pid) {
        let Some(testimony) = self.testimony(pid) else {
            return;
        };
        // Both ends share the offset.
        let emptied = ftruncate(testimony, 0).and_then(|()| lseek(testimony, 0, Whence::SeekSet));
        let sent = emptied
            .map_err(io::Error::from)
            .and_then(|_start| rcorn_sys::signal::send(pid.0, rcorn_sys::signal::testify()));
        if let Err(error) = sent {
            log::debug(format_args!("cannot ask {pid} where it is: {error}"));
        }
    }

    /// The slot is free again.
    pub(super) fn free(&mut self, slot: Slot) {
        self.slots.retain(|_, used| *used != slot);
    }

    /// Strangers are only remembered while a fork is unanswered.
    fn forget_early(&mut self) {
        if self
            .templates
            .values()
            .all(|template| template.owed.is_empty())
        {
            self.early.clear();
        }
    }

    /// Reaps all that has ended and notes what was stopped; gives the events for the brain.
    pub(super) fn reap(&mut self, events: &mut impl Extend<Event>) -> io::Result<()> {
        let flags = WaitPidFlag::WNOHANG
            | WaitPidFlag::WEXITED
            | WaitPidFlag::WSTOPPED
            | WaitPidFlag::WCONTINUED;
        loop {
            let status = match waitid(Id::All, flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let (pid, exit) = match status {
                WaitStatus::Exited(pid, code) => (pid, Exit::Code(code)),
                WaitStatus::Signaled(pid, signal, _core) => (pid, Exit::Signal(number(signal))),
                WaitStatus::Stopped(pid, _) => {
                    events.extend([Event::Stopped(Pid(pid.as_raw()), true)]);
                    continue;
                }
                WaitStatus::Continued(pid) => {
                    events.extend([Event::Stopped(Pid(pid.as_raw()), false)]);
                    continue;
                }
                WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_)
                | WaitStatus::StillAlive => continue,
            };
            self.ended(Pid(pid.as_raw()), exit, events);
        }
    }

    fn ended(&mut self, pid: Pid, exit: Exit, events: &mut impl Extend<Event>) {
        let template = self
            .templates
            .iter()
            .find(|(_, template)| template.pid == pid);
        if let Some(generation) = template.map(|(generation, _)| *generation) {
            let gone = self.templates.remove(&generation);
            self.forget_early();
            // Its end first: nobody shall order another fork from it.
            events.extend([Event::Exited(pid, exit)]);
            if let Some(template) = gone {
                let reason = "its template ended before it answered".to_owned();
                events.extend(
                    template
                        .owed
                        .into_iter()
                        .map(|id| Event::ForkFailed(id, reason.clone())),
                );
            }
        } else if let Some(id) = self.workers.remove(&pid) {
            self.ready.remove(&id);
            self.testimonies.remove(&id);
            self.ended.push((pid, id));
            events.extend([Event::Exited(pid, exit)]);
        } else if self.upgrade == Some(pid) {
            self.upgrade = None;
            events.extend([Event::Exited(pid, exit)]);
        } else if self
            .templates
            .values()
            .any(|template| !template.owed.is_empty())
        {
            self.early.insert(pid, exit);
        } else {
            // An orphan of the app, adopted because we are its subreaper (or pid 1).
            log::debug(format_args!("Reaped an orphan (pid:{pid})"));
        }
    }
}

/// What became of a worker by the time it was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Birth {
    /// It lives, or ended and is still to be reaped.
    Alive,
    /// It was reaped before, with this.
    Ended(Exit),
    /// It was heard of, reaped and forgotten before.
    Gone,
}

/// Whether the process is a child of ours that was not reaped yet.
fn is_child(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.0 > 0 && waitid(Id::Pid(NixPid::from_raw(pid.0)), look).is_ok()
}

fn tell(template: &Template, command: &Command) -> io::Result<()> {
    let socket = template
        .commands
        .as_ref()
        .ok_or_else(|| io::Error::other("it is leaving"))?;
    let text = serde_json::to_vec(command).map_err(io::Error::other)?;
    // Never blocks: a hung template must not hang us.
    send(
        socket.as_raw_fd(),
        &text,
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
    )?;
    Ok(())
}

/// Signals a child that was not reaped.
pub(super) fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = rcorn_sys::signal::send(pid.0, number(signal)) {
        log::debug(format_args!("cannot send {signal} to {pid}: {error}"));
    }
}

fn number(signal: Signal) -> i32 {
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum of i32 representation"
    )]
    let number = signal as i32;
    number
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_is_gone_or_nobody_is_not_born() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid(i32::try_from(child.id()).unwrap());
        let mut children = Children::default();
        let testimony = || Some(memfd_create(c"", MFdFlags::empty()).unwrap());
        assert_eq!(children.born(WorkerId(1), pid, testimony()), Birth::Alive);
        assert!(children.testimony(pid).is_some());
        child.wait().unwrap();
        assert_eq!(children.born(WorkerId(2), pid, testimony()), Birth::Gone);
        children.early.insert(pid, Exit::Code(3));
        assert_eq!(
            children.born(WorkerId(3), pid, testimony()),
            Birth::Ended(Exit::Code(3))
        );
        for nobody in [0, -1] {
            assert_eq!(
                children.born(WorkerId(4), Pid(nobody), testimony()),
                Birth::Gone
            );
        }
        assert_eq!(children.testimonies.len(), 1, "the rest would stay open");
    }

    #[test]
    fn groups_are_never_signalled() {
        for group in [0, -1] {
            // A harmless one: should it be sent after all, it goes to everybody.
            let sent = rcorn_sys::signal::send(group, number(Signal::SIGCONT));
            assert!(sent.is_err());
        }
    }
}
