//! The arbiter's children: templates are started here, workers are forked from them, and all of
//! them are reaped here. Only this thread reaps, so a pid that was not reaped yet belongs to its
//! child, and kill(2) cannot reach another process: pidfds would add nothing but descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::memfd::MFdFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Whence, ftruncate, lseek};

use serde::{Deserialize, Serialize};

use rcorn_arbiter::{Ask, CellIndex, Event, Exit, Generation, Pid, WorkerId};
use rcorn_control::PythonStatus;
use rcorn_link::{Command, Start};
use rcorn_log as log;
use rcorn_sys::memfd;
use rcorn_sys::signal::number;
use rcorn_sys::spawn::Spawn;

use super::front::FrontExits;
use super::interpreter::{Found, Loading};
use super::native::ModuleFile;
use super::postmortem::read_stacks;
use super::process::{is_child, signal};

/// The process of a template.
#[derive(Debug)]
pub(super) struct TemplateProcess {
    pub(super) pid: Pid,
    /// Its command socket; `None` once it was told to exit.
    pub(super) commands: Option<OwnedFd>,
    /// Forks that were ordered and not reported yet.
    pub(super) pending_forks: BTreeSet<WorkerId>,
    /// `None` for a former worker until the report of its fork arrives.
    pub(super) stack_dump: Option<OwnedFd>,
    /// The worker as which it has served before.
    pub(super) served_as: Option<WorkerId>,
    /// The interpreter that was started, until it is ready.
    pub(super) loading: Option<Loading>,
    /// What is known of the interpreter.
    pub(super) python: Option<PythonStatus>,
}

/// All children, and what belongs to each.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// The native module, which templates import.
    pub(super) module: ModuleFile,
    pub(super) templates: BTreeMap<Generation, TemplateProcess>,
    /// Templates whose place a worker has taken, until they are reaped.
    pub(super) replaced: BTreeMap<Pid, TemplateProcess>,
    /// The command sockets of workers that can become templates, until the brain has decided.
    pub(super) offered: BTreeMap<WorkerId, OwnedFd>,
    /// Workers by pid, from their first report to their reaping.
    pub(super) workers: BTreeMap<Pid, WorkerId>,
    /// Slots by worker, from the order to fork to the reaping.
    pub(super) cells: BTreeMap<WorkerId, CellIndex>,
    pub(super) ready: BTreeSet<WorkerId>,
    /// Where each worker dumps its stacks, on request.
    pub(super) stack_dumps: BTreeMap<WorkerId, OwnedFd>,
    /// The sockets on which spare workers wait for the order to serve.
    pub(super) spares: BTreeMap<WorkerId, OwnedFd>,
    /// The verdict on the last import that was watched.
    pub(super) import: ImportSharing,
    /// A new arbiter beside this one.
    pub(super) upgrade: Option<Pid>,
    /// Workers that were reaped, for the hooks.
    pub(super) ended: Vec<(Pid, WorkerId)>,
    /// Those that speak TLS.
    pub(super) fronts: FrontExits,
    /// Children reaped before it was known what they are: a worker may end before its fork is
    /// reported.
    pub(super) unclaimed_exits: BTreeMap<Pid, Exit>,
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
        found: Found,
        mut start: Start,
        environment: Vec<(String, String)>,
    ) -> io::Result<Pid> {
        let (ours, theirs) = pair()?;
        start.commands = theirs.as_raw_fd();
        let stack_dump = memfd::create(c"rcorn-stacks", MFdFlags::MFD_CLOEXEC)?;
        start.stack_dump = stack_dump.as_raw_fd();
        let mut inherit: Vec<RawFd> = vec![theirs.as_raw_fd()];
        inherit.extend([
            start.scoreboard,
            start.reports,
            start.stack_dump,
            start.handoff_queue.0,
            start.handoff_queue.1,
            start.error_log,
        ]);
        inherit.extend(start.access_log);
        inherit.extend(start.threads);
        inherit.extend(start.relay);
        inherit.extend(start.samples);
        inherit.extend(start.held_lines);
        inherit.extend(start.output);
        inherit.extend(start.listeners.iter().map(|listener| listener.fd));
        let spawn = Spawn {
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            inherit,
            ignore_interrupt: true,
            die_with_parent: true,
            ..Spawn::default()
        };
        let python = PythonStatus {
            path: found.python.display().to_string(),
            reason: found.reason.to_string(),
            version: None,
        };
        let (pid, loading) =
            Loading::start(found.python, &mut self.module, &start, "first", spawn)?;
        let pid = Pid(pid);
        let template = TemplateProcess {
            pid,
            commands: Some(ours),
            pending_forks: BTreeSet::new(),
            stack_dump: Some(stack_dump),
            served_as: None,
            loading: Some(loading),
            python: Some(python),
        };
        self.templates
            .insert(Generation(start.generation), template);
        Ok(pid)
    }

    /// A template is ready: its interpreter is one that works.
    pub(super) fn template_is_ready(&mut self, generation: Generation, version: Option<String>) {
        if let Some(template) = self.templates.get_mut(&generation) {
            template.loading = None;
            if let Some(python) = &mut template.python {
                python.version = version;
            }
        }
    }

    /// Tells a template to exit: end of file on its command socket.
    pub(super) fn end_template(&mut self, generation: Generation) {
        if let Some(template) = self.templates.get_mut(&generation) {
            template.commands = None;
        }
    }

    /// Orders a fork.
    pub(super) fn fork(
        &mut self,
        id: WorkerId,
        cell: CellIndex,
        generation: Generation,
        how: HowToFork,
    ) -> Result<(), String> {
        let Some(template) = self.templates.get_mut(&generation) else {
            return Err("its template is gone".to_owned());
        };
        let command = Command::Fork {
            id: id.0,
            cell: cell.0,
            probe: how.probe,
            promote: how.promote,
            spare: how.spare,
        };
        send_command(template, &command)
            .map_err(|error| format!("its template takes no orders: {error}"))?;
        template.pending_forks.insert(id);
        self.cells.insert(id, cell);
        Ok(())
    }

    /// Keeps the command socket of a worker that can become a template.
    pub(super) fn offer(&mut self, id: WorkerId, commands: OwnedFd) {
        self.offered.insert(id, commands);
    }

    /// Keeps the socket of a spare worker.
    pub(super) fn keep_spare(&mut self, id: WorkerId, socket: OwnedFd) {
        self.spares.insert(id, socket);
    }

    /// Tells a spare worker to serve.
    pub(super) fn activate(&mut self, id: WorkerId) {
        let Some(socket) = self.spares.remove(&id) else {
            return log::debug(format_args!("worker {} does not wait", id.0));
        };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        if let Err(error) = send(socket.as_raw_fd(), &[1], flags) {
            // Its end is about to be heard of.
            log::debug(format_args!(
                "worker {} cannot be told to serve: {error}",
                id.0
            ));
        }
    }

    /// Makes a worker the template of a generation. The previous one is told to leave.
    pub(super) fn promote(&mut self, id: WorkerId, generation: Generation, pid: Pid) {
        let promoted = TemplateProcess {
            pid,
            commands: self.offered.remove(&id),
            pending_forks: BTreeSet::new(),
            stack_dump: self.stack_dumps.remove(&id),
            served_as: self.ready.remove(&id).then_some(id),
            loading: None,
            python: self
                .templates
                .get(&generation)
                .and_then(|before| before.python.clone()),
        };
        self.workers.remove(&pid);
        if let Some(mut before) = self.templates.insert(generation, promoted) {
            // One that is leaving knows that already.
            if before.commands.is_some()
                && let Err(error) = send_command(&before, &Command::Replaced)
            {
                log::debug(format_args!("a template takes no orders: {error}"));
            }
            before.commands = None;
            self.replaced.insert(before.pid, before);
        }
    }

    /// Closes the command sockets of workers that shall not become templates, so that they leave.
    pub(super) fn decline_offers(&mut self) {
        self.offered.clear();
    }

    fn all_templates(&self) -> impl Iterator<Item = &TemplateProcess> {
        self.templates.values().chain(self.replaced.values())
    }

    /// Sends a command to all templates.
    pub(super) fn send_to_templates(&self, command: &Command) {
        for template in self.templates.values() {
            if let Err(error) = send_command(template, command) {
                log::debug(format_args!("a template takes no orders: {error}"));
            }
        }
    }

    /// Sends a command to the template of the newest generation that still takes commands.
    pub(super) fn send_to_newest(&self, command: &Command) {
        let mut listening = self.templates.values().rev();
        if let Some(template) = listening.find(|template| template.commands.is_some())
            && let Err(error) = send_command(template, command)
        {
            log::debug(format_args!("a template takes no orders: {error}"));
        }
    }

    /// Registers a worker at its first report, or at that of its template, which has the memfd for
    /// its stack dumps. The memfd of a worker that is gone is closed.
    pub(super) fn register(
        &mut self,
        id: WorkerId,
        pid: Pid,
        stack_dump: Option<OwnedFd>,
    ) -> Registered {
        self.acknowledge(id);
        // It was promoted before the template that forked it has reported the fork.
        let promoted = self.templates.values_mut();
        if let Some(template) = promoted.into_iter().find(|template| template.pid == pid) {
            if stack_dump.is_some() {
                template.stack_dump = stack_dump;
            }
            return Registered::Gone;
        }
        if let Some(exit) = self.unclaimed_exits.remove(&pid) {
            self.ended.push((pid, id));
            self.forget_unclaimed();
            return Registered::Ended(exit);
        }
        self.forget_unclaimed();
        // A slow template may report a worker that has reported itself, ended, and been reaped and
        // forgotten in the meantime. Its pid belongs to no process now, or to another one.
        if !is_child(pid) {
            return Registered::Gone;
        }
        self.workers.insert(pid, id);
        self.stack_dumps
            .extend(stack_dump.map(|stack_dump| (id, stack_dump)));
        Registered::Alive
    }

    /// Notes that the order to fork was answered.
    pub(super) fn acknowledge(&mut self, id: WorkerId) {
        let templates = self.templates.values_mut();
        for template in templates.chain(self.replaced.values_mut()) {
            template.pending_forks.remove(&id);
        }
    }

    /// Notes that the worker serves.
    pub(super) fn set_ready(&mut self, id: WorkerId) {
        self.ready.insert(id);
    }

    /// Whether this worker was not reaped yet. The first report of a worker may arrive after it was
    /// reaped. Then its pid may belong to another process, and must not be signalled.
    pub(super) fn has_worker(&self, pid: Pid) -> bool {
        self.workers.contains_key(&pid)
    }

    /// The worker with this pid.
    pub(super) fn worker(&self, pid: Pid) -> Option<WorkerId> {
        self.workers.get(&pid).copied()
    }

    /// The workers that serve, with their cells.
    pub(super) fn serving(&self) -> impl Iterator<Item = (WorkerId, CellIndex)> + '_ {
        self.ready
            .iter()
            .filter_map(|id| Some((*id, *self.cells.get(id)?)))
    }

    /// The memfd into which a worker or a template dumps its stacks.
    pub(super) fn stack_dump(&self, pid: Pid) -> Option<&OwnedFd> {
        let mut templates = self.all_templates();
        let template = templates
            .find(|template| template.pid == pid)
            .and_then(|template| template.stack_dump.as_ref());
        template.or_else(|| self.stack_dumps.get(self.workers.get(&pid)?))
    }

    /// Asks a worker or a template to dump its stacks, which are in its memfd a moment later.
    pub(super) fn request_stacks(&self, pid: Pid) {
        let Some(stack_dump) = self.stack_dump(pid) else {
            return;
        };
        // Both ends share the offset.
        let emptied = ftruncate(stack_dump, 0).and_then(|()| lseek(stack_dump, 0, Whence::SeekSet));
        let sent = emptied
            .map_err(io::Error::from)
            .and_then(|_start| rcorn_sys::signal::send(pid.0, rcorn_sys::signal::stack_dump()));
        if let Err(error) = sent {
            log::debug(format_args!("cannot ask {pid} for its stacks: {error}"));
        }
    }

    /// The stacks that a worker or template has dumped; empty if there are none.
    pub(super) fn stacks_of(&self, pid: Pid) -> String {
        let dump = self.stack_dump(pid);
        dump.map(read_stacks).unwrap_or_default()
    }

    /// Sends a signal to a worker; a template is asked only for its stacks.
    pub(super) fn ask(&self, pid: Pid, ask: Ask) {
        if ask != Ask::DumpStacks && !self.has_worker(pid) {
            log::debug(format_args!("not sent to {pid}, which is gone: {ask:?}"));
            return;
        }
        match ask {
            Ask::Drain | Ask::BecomeTemplate => signal(pid, Signal::SIGTERM),
            Ask::Quit => signal(pid, Signal::SIGQUIT),
            Ask::Reopen => signal(pid, Signal::SIGUSR1),
            Ask::DumpStacks => self.request_stacks(pid),
            Ask::Abort => signal(pid, Signal::SIGABRT),
            Ask::Kill => signal(pid, Signal::SIGKILL),
        }
    }

    /// Kills a template, and logs its stacks, if it has dumped them.
    pub(super) fn kill_template(&self, pid: Pid) {
        let stacks = self.stacks_of(pid);
        if !stacks.is_empty() {
            log::error(format_args!(
                "Template (pid:{pid}) was killed at:\n{stacks}"
            ));
        }
        signal(pid, Signal::SIGKILL);
    }

    /// Forgets which worker has the cell.
    pub(super) fn free(&mut self, cell: CellIndex) {
        self.cells.retain(|_, used| *used != cell);
    }

    /// Unknown children are only remembered while a fork is unanswered.
    fn forget_unclaimed(&mut self) {
        if !self.awaits_report() {
            self.unclaimed_exits.clear();
        }
    }

    fn awaits_report(&self) -> bool {
        let mut templates = self.all_templates();
        templates.any(|template| !template.pending_forks.is_empty())
    }

    /// Reaps the children that have ended, and notes those that were stopped; returns the events
    /// for the brain.
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
                    events.extend([Event::Stopped(Pid(pid.as_raw()))]);
                    continue;
                }
                WaitStatus::Continued(pid) => {
                    events.extend([Event::Continued(Pid(pid.as_raw()))]);
                    continue;
                }
                WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_)
                | WaitStatus::StillAlive => continue,
            };
            self.note_exit(Pid(pid.as_raw()), exit, events);
        }
    }

    /// Forgets the template with this pid.
    fn take_template(&mut self, pid: Pid) -> Option<TemplateProcess> {
        let mut templates = self.templates.iter();
        let found = templates.find(|(_, template)| template.pid == pid);
        match found.map(|(generation, _)| *generation) {
            Some(generation) => self.templates.remove(&generation),
            None => self.replaced.remove(&pid),
        }
    }

    /// Finds out what the child was that was reaped.
    pub(super) fn note_exit(&mut self, pid: Pid, exit: Exit, events: &mut impl Extend<Event>) {
        if let Some(template) = self.take_template(pid) {
            self.forget_unclaimed();
            // What it has made as a worker is there until now.
            self.ended.extend(template.served_as.map(|id| (pid, id)));
            let code = if let Exit::Code(code) = exit {
                Some(code)
            } else {
                None
            };
            // One that was told to leave while it loaded has not failed.
            let loading = template.loading.filter(|_| template.commands.is_some());
            if let Some(failure) = loading.and_then(|loading| loading.failure(code)) {
                log::error(format_args!("{failure}"));
            }
            // The event of its end comes first, so that no other fork is ordered from it.
            events.extend([Event::Exited(pid, exit)]);
            if !template.pending_forks.is_empty() {
                let reason = "its template ended before it answered".to_owned();
                events.extend(
                    template
                        .pending_forks
                        .into_iter()
                        .map(|id| Event::ForkFailed(id, reason.clone())),
                );
            }
        } else if let Some(id) = self.workers.remove(&pid) {
            self.ready.remove(&id);
            self.stack_dumps.remove(&id);
            self.spares.remove(&id);
            self.ended.push((pid, id));
            events.extend([Event::Exited(pid, exit)]);
        } else if self.upgrade == Some(pid) {
            self.upgrade = None;
            events.extend([Event::Exited(pid, exit)]);
        } else if self.fronts.note(pid, exit) {
            log::debug(format_args!("Reaped a front (pid:{pid})"));
        } else if self.awaits_report() {
            self.unclaimed_exits.insert(pid, exit);
        } else {
            // A process of the app, adopted because this process is its subreaper (or pid 1).
            log::debug(format_args!("Reaped an orphan (pid:{pid})"));
        }
    }
}

/// Whether workers share one import of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ImportSharing {
    /// No import was looked at yet.
    #[default]
    None,
    /// They share it.
    Shared,
    /// They must not share it, for these reasons.
    NotShared(Vec<String>),
}

/// How a worker is ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct HowToFork {
    /// The app must answer `reload_probe`.
    pub(super) probe: bool,
    /// It becomes the template if its import may be shared.
    pub(super) promote: bool,
    /// It waits until it is told to serve.
    pub(super) spare: bool,
}

impl HowToFork {
    /// It serves.
    pub(super) const PLAIN: Self = Self {
        probe: false,
        promote: false,
        spare: false,
    };
    /// It becomes the template if its import may be shared.
    pub(super) const TO_PROMOTE: Self = Self {
        promote: true,
        ..Self::PLAIN
    };
    /// It waits until it is told to serve.
    pub(super) const SPARE: Self = Self {
        spare: true,
        ..Self::PLAIN
    };
}

/// The state of a worker at the time of its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// It lives, or has ended and is not reaped yet.
    Alive,
    /// It was reaped before, with this.
    Ended(Exit),
    /// It was reported before, and is no longer a worker: it was reaped, or promoted.
    Gone,
}

fn send_command(template: &TemplateProcess, command: &Command) -> io::Result<()> {
    let socket = template
        .commands
        .as_ref()
        .ok_or_else(|| io::Error::other("it is leaving"))?;
    let text = serde_json::to_vec(command).map_err(io::Error::other)?;
    // Never blocks: a hung template must not stop the arbiter.
    send(
        socket.as_raw_fd(),
        &text,
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
    )?;
    Ok(())
}
