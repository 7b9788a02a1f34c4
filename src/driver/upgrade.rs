//! USR2: the build that is installed now takes over. Beside this arbiter, as gunicorn and nginx do it (the
//! operator ends one of the two), or in its place, under the same pid: then the workers serve on, and the new build
//! begins with an ordinary reload, which can be taken back like any other.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::getppid;

use rcorn_arbiter::{Event, Pid};
use rcorn_link::HookEvent;
use rcorn_log as log;
use rcorn_settings::UpgradeMode;
use rcorn_sys::process::{set_variable, unset_variable};
use rcorn_sys::spawn::Spawn;

use super::Driver;
use super::handover::{self, Handover, PROTOCOL, VARIABLE, Whole};
use super::pidfile::PidFile;

/// What the hidden flag of that name prints is compared before an exec that cannot be taken back.
pub const PROTOCOL_FLAG: &str = "--handover-protocol";
/// How long it may take to print that.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a program prints first, if it does so soon: the loop must not wait for one that hangs.
fn first_line(mut output: ChildStdout) -> io::Result<String> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(
            &mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(0) => return Err(io::Error::other("it does not answer")),
            Ok(_) => break,
            // The end of a child, for instance: the whole time again, as nothing else is waited for.
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut bytes = [0; 64];
    let count = output.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(bytes.get(..count).unwrap_or(&[])).into_owned())
}

/// The name of a file that an arbiter and the one beside it both want: the newer one has it with `.2`, as gunicorn's pid
/// file, until the other is gone.
pub(super) fn name_beside(path: &Path, beside: bool) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if beside {
        name.push(".2");
    }
    name.into()
}

impl Driver<'_> {
    pub(super) fn upgrade(&mut self) {
        let begun = match self.settings.upgrade {
            UpgradeMode::Beside => self.upgrade_beside().map(Event::UpgradeStarted),
            UpgradeMode::InPlace => match self.upgrade_in_place() {
                Ok(never) => match never {},
                Err(error) => Err(error),
            },
        };
        let event = begun.unwrap_or_else(|error| {
            let what = format!("{}: {error}", self.origin.program.display());
            Event::UpgradeNotStarted(what)
        });
        self.queue.push_back(event);
    }

    fn upgrade_beside(&mut self) -> io::Result<Pid> {
        self.hook(HookEvent::PreExec);
        let handover = Handover::new(&self.listeners, &self.lot, None);
        let memory = handover.write()?;
        let mut inherit = handover.numbers();
        inherit.push(memory.as_raw_fd());
        let spawn = Spawn {
            program: self.origin.program.clone(),
            arguments: self.origin.arguments.iter().skip(1).cloned().collect(),
            environment: vec![(VARIABLE.into(), memory.as_raw_fd().to_string().into())],
            inherit,
            directory: Some(self.origin.directory.clone()),
            ..Spawn::default()
        };
        let pid = Pid(spawn.start()?);
        log::info(format_args!(
            "Started a new arbiter (pid:{pid}) beside this one"
        ));
        self.children.upgrade = Some(pid);
        Ok(pid)
    }

    /// Returns only when it fails; then nothing has changed.
    fn upgrade_in_place(&mut self) -> io::Result<std::convert::Infallible> {
        self.check_successor()?;
        // Whoever waits for the reload that is over now would lose its connection.
        self.answer_waiting();
        let brain = serde_json::to_value(&self.brain).map_err(io::Error::other)?;
        let whole = Whole {
            brain: serde_json::from_value(brain).map_err(io::Error::other)?,
            family: self.children.pack(),
            settings: self.settings.clone(),
            scoreboard: self.scoreboard_fd.as_raw_fd(),
            reports: (self.reports.0.as_raw_fd(), self.reports.1.as_raw_fd()),
            announced: self.announced,
        };
        let handover = Handover::new(&self.listeners, &self.lot, Some(whole));
        let memory = handover.write()?;
        let program = handover::words(&[self.origin.program.clone().into_os_string()])?;
        let program = program.first().ok_or_else(|| io::Error::other("no path"))?;
        let arguments = handover::words(&self.origin.arguments)?;
        log::info(format_args!(
            "Upgrading in place: {}",
            self.origin.program.display()
        ));
        let numbers = handover.numbers();
        let all = || numbers.iter().copied().chain([memory.as_raw_fd()]);
        let before = std::env::current_dir()?;
        // Signals wait until the new build has its handlers.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
        let go = || -> io::Result<std::convert::Infallible> {
            std::env::set_current_dir(&self.origin.directory)?;
            for fd in all() {
                handover::keep(fd, true)?;
            }
            set_variable(VARIABLE, &memory.as_raw_fd().to_string());
            if let Some(control) = &self.control {
                control.remove_file();
            }
            Ok(nix::unistd::execv(program, &arguments)?)
        };
        let failed = go();
        unset_variable(VARIABLE);
        for fd in all() {
            drop(handover::keep(fd, false));
        }
        drop(std::env::set_current_dir(before));
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        failed
    }

    /// The exec cannot be taken back: the new build must start at all, and understand what it is given.
    fn check_successor(&self) -> io::Result<()> {
        let mut child = Command::new(&self.origin.program)
            .arg(PROTOCOL_FLAG)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let answer = child.stdout.take().map(first_line);
        // Whatever it is, it has said what it has to say.
        drop(child.kill());
        child.wait()?;
        let answer = answer.transpose()?.unwrap_or_default();
        if answer.trim() == PROTOCOL.to_string() {
            return Ok(());
        }
        Err(io::Error::other(
            "this build cannot take over from the one that runs; use upgrade: beside, or restart",
        ))
    }

    /// The arbiter that started us beside itself is gone: we are the one now.
    pub(super) fn look_after_predecessor(&mut self) {
        let Some((predecessor, _)) = self.predecessor else {
            return;
        };
        if getppid().as_raw() == predecessor {
            return;
        }
        self.predecessor = None;
        log::info(format_args!("Master has been promoted."));
        for listener in &mut self.listeners {
            listener.own_file();
        }
        self.name_process();
        if let Some(control) = &mut self.control {
            control.promote(&self.settings);
        }
        let Some(file) = self.pid_file.take() else {
            return;
        };
        if let Err(error) = file.remove() {
            log::warning(format_args!("cannot remove the pid file: {error}"));
        }
        match self.settings.pidfile.as_deref().map(PidFile::create) {
            Some(Ok(file)) => self.pid_file = Some(file),
            Some(Err(error)) => log::error(format_args!("{error}")),
            None => {}
        }
    }

    /// Another arbiter holds our sockets too: they are neither closed for new clients nor removed.
    pub(super) fn shares_sockets(&self) -> bool {
        self.brain.upgrade().is_some() || self.predecessor.is_some()
    }
}
