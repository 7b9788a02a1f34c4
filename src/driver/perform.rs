//! The brain's actions, carried out. Failures become events: the brain decides what they mean.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::MsgFlags;

use rcorn_arbiter::{Action, Ask, Event, Exit, Generation, Note, Pid, Policy};
use rcorn_link::{Command, HookEvent, Start, TemplateReason};
use rcorn_log as log;
use rcorn_scoreboard::{AT_ONCE, QUEUE_FIRST};
use rcorn_settings::{ConfigFile, DrainMode, Settings};
use rcorn_sys::passing::send_with;
use rcorn_sys::process;

use super::children::signal;
use super::load::same_logs;
use super::logs::Logs;
use super::{Driver, interpreter, postmortem};

/// `drain_mode: delay` without a number.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// The part of the settings that the brain needs.
pub(super) fn policy(settings: &Settings) -> Policy {
    Policy {
        workers: settings.workers.resolve(cpus),
        timeout: settings.timeout.limit(),
        boot_timeout: settings.boot_timeout.limit(),
        graceful_timeout: settings.graceful_timeout.duration(),
        // A developer wants the newest code to answer, however it fares.
        reload_watch: if settings.reload {
            Duration::ZERO
        } else {
            settings.reload_watch.duration()
        },
        max_age: settings.max_worker_age.limit(),
        drain_delay: match settings.drain_mode {
            DrainMode::Delay if settings.drain_delay.duration().is_zero() => DRAIN_DELAY,
            DrainMode::Queue | DrainMode::Immediate | DrainMode::Delay => {
                settings.drain_delay.duration()
            }
        },
        patient: settings.reload,
    }
}

/// How many CPUs this process may use: by the quotas of its control groups and its affinity.
fn cpus() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Driver<'_> {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Load => self.load(),
            Action::StartTemplate(generation) => self.start_template(generation),
            Action::EndTemplate(generation) => {
                if self.brain.is_stopping() && generation == self.brain.generation() {
                    self.hook(HookEvent::Exit);
                }
                self.children.end_template(generation);
            }
            Action::KillTemplate(_, pid) => self.kill_template(pid),
            Action::Fork(id, slot, generation) => {
                let probe = generation != self.brain.generation();
                if let Err(reason) = self.children.fork(id, slot, generation, probe) {
                    self.queue.push_back(Event::ForkFailed(id, reason));
                }
            }
            Action::Ask(pid, Ask::Testify) => self.children.ask_where(pid),
            Action::Ask(pid, ask) => ask_worker(pid, ask),
            Action::PostMortem(_, slot, pid) => {
                self.post_mortem(slot, pid, self.children.testimony(pid));
            }
            Action::Commit(_) => self.commit(),
            Action::Discard(_) => self.discard(),
            Action::CloseListeners => self.close_listeners(),
            Action::ReopenLogs => {
                log::reopen();
                // Workers that gave up their rights open what is there, in a directory where they may make nothing.
                if let Err(error) = Logs::open(&self.settings) {
                    log::error(format_args!("{error}"));
                }
                self.children.tell_templates(&Command::Reopen);
            }
            Action::Upgrade => self.upgrade(),
            Action::Wanted(now) => {
                let wanted = &self.scoreboard.shared().wanted;
                let before = wanted.swap(now, Ordering::AcqRel);
                // The first number is known to the first template.
                if before != 0 && before != now {
                    self.hook(HookEvent::WorkersChanged { now, before });
                }
            }
            Action::FreeSlot(slot) => {
                self.note_lost_request(slot);
                self.wake_another();
                if let Some(cell) = self.scoreboard.cell(slot.0) {
                    cell.reset();
                }
                self.children.free(slot);
            }
            Action::Say(note) => {
                say(&note);
                self.pass_on(&note);
            }
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }

    /// Lets a Python config file know what happened.
    pub(super) fn hook(&self, moment: HookEvent) {
        if self
            .settings
            .config
            .as_ref()
            .is_some_and(ConfigFile::is_python)
        {
            self.children.tell_newest(&Command::Hook(moment));
        }
    }

    fn kill_template(&self, pid: Pid) {
        let stacks = self.children.testimony(pid).map(postmortem::read);
        if let Some(stacks) = stacks.filter(|stacks| !stacks.is_empty()) {
            log::error(format_args!("Template (pid:{pid}) was here:\n{stacks}"));
        }
        signal(pid, Signal::SIGKILL);
    }

    /// The service manager hears of the first worker that serves, and of the end of a reload.
    pub(super) fn announce(&mut self) {
        if !self.announced && self.children.serving().next().is_some() {
            self.announced = true;
            Self::forget_the_start();
            let main = if self.predecessor.is_some() {
                format!("MAINPID={}\n", std::process::id())
            } else {
                String::new()
            };
            self.notify.tell(&format!("{main}READY=1\nSTATUS=Serving"));
        }
        if self.reloading && !self.brain.is_reloading() && !self.brain.is_watching() {
            self.reloading = false;
            let outcome = match &self.last_reload {
                Some(Ok(text) | Err(text)) => text.as_str(),
                None => "Serving",
            };
            self.notify.tell(&format!("READY=1\nSTATUS={outcome}"));
            Self::forget_the_start();
        }
    }

    /// What only a start or a reload needs (the parsers of words and files above all) makes most of our memory.
    fn forget_the_start() {
        if let Err(error) = process::forget_code() {
            log::debug(format_args!("cannot give memory back: {error}"));
        }
        process::trim_heap();
    }

    /// The kernel wakes one worker for a new connection (`EPOLLEXCLUSIVE`). If that was the one that is gone now, nobody
    /// else knows of it: an empty message in the lot makes one of the others look.
    fn wake_another(&self) {
        if let Err(error) = send_with(
            self.lot.0.as_fd(),
            &[IoSlice::new(&[0])],
            None,
            MsgFlags::MSG_DONTWAIT,
        ) {
            log::debug(format_args!("nobody to wake in the lot: {error}"));
        }
    }

    /// What others than the log's readers want to know.
    fn pass_on(&mut self, note: &Note) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "most notes are for the log alone"
        )]
        match note {
            Note::Ended(pid, Exit::Signal(9)) => self.out_of_memory.note_if_it_was(*pid),
            Note::HangUp => {
                self.reloading = true;
                self.last_reload = None;
                self.notify.reloading(super::now());
                self.notify.ask_for_time(self.reload_limit());
            }
            Note::Reloaded(_) => self.last_reload = Some(Ok(note.to_string())),
            Note::NotLoaded(_) | Note::ReloadFailed(..) | Note::RolledBack(..) => {
                self.last_reload = Some(Err(note.to_string()));
            }
            Note::UpgradeEnded(_) => {
                let ours = std::process::id();
                self.notify.tell(&format!("MAINPID={ours}\nSTATUS=Serving"));
            }
            Note::StopDelayed(_) => self.tell_stopping(),
            _ => {}
        }
    }

    /// Longest time that a reload may take; `None`: no limit.
    fn reload_limit(&self) -> Option<Duration> {
        let leaving = self
            .settings
            .graceful_timeout
            .duration()
            .saturating_mul(self.brain.wanted());
        Some(self.boot_limit()?.saturating_add(leaving))
    }

    fn tell_stopping(&self) {
        // While another arbiter serves, the service does not stop.
        if self.shares_sockets() {
            return;
        }
        self.notify.tell("STOPPING=1\nSTATUS=Stopping");
        let policy = policy(&self.settings);
        let limit = policy.graceful_timeout.saturating_add(policy.drain_delay);
        self.notify.ask_for_time(Some(limit));
    }

    fn start_template(&mut self, generation: Generation) {
        let event = match self.try_start_template(generation) {
            Ok(pid) => Event::TemplateStarted(generation, pid),
            Err(error) => Event::TemplateNotStarted(generation, error),
        };
        self.queue.push_back(event);
    }

    fn try_start_template(&mut self, generation: Generation) -> Result<Pid, String> {
        if let Some(pending) = &mut self.pending {
            pending.generation.get_or_insert(generation);
        }
        // While a reload is on trial, the old generation may need a template too, with its own settings.
        let pending = self
            .pending
            .as_ref()
            .filter(|pending| pending.generation == Some(generation));
        let settings = pending.map_or(&self.settings, |pending| &pending.settings);
        let sockets = match pending {
            Some(pending) => pending.plan.sockets(&self.listeners),
            None => self.listeners.iter().collect(),
        };
        if pending.is_some() && !same_logs(settings, &self.settings) {
            self.logs = Logs::open(settings)?;
            self.logs
                .use_here(settings)
                .map_err(|error| error.to_string())?;
        }
        let (error_log, access_log) = self.logs.numbers();
        let start = Start {
            generation: generation.0,
            listeners: sockets
                .into_iter()
                .map(|listener| listener.for_link(settings))
                .collect(),
            scoreboard: self.scoreboard_fd.as_raw_fd(),
            reports: self.reports.1.as_raw_fd(),
            handoff_queue: (self.lot.0.as_raw_fd(), self.lot.1.as_raw_fd()),
            error_log,
            access_log,
            directory: self.origin.directory.clone(),
            reason: match pending {
                Some(_) => TemplateReason::Reload,
                None if self.started => TemplateReason::Replacement,
                None => TemplateReason::Boot,
            },
            ..Start::of(settings, &self.origin.arguments)
        };
        let environment = settings.raw_env.clone();
        // Looked for each time: a release of the app can bring an environment of its own.
        let python = interpreter::find_for(settings.python.clone())
            .map_err(|error| format!("{error}; hint: {}", error.hint()))?;
        let shown = python.display().to_string();
        let started = self.children.start_template(python, start, environment);
        self.started = true;
        started.map_err(|error| format!("cannot start {shown}: {error}"))
    }

    /// Nobody new gets in; workers empty the queue.
    fn close_listeners(&mut self) {
        self.tell_stopping();
        let shared = self.shares_sockets();
        // While another arbiter shares the sockets its workers serve the queue.
        if !shared {
            let how = match self.settings.drain_mode {
                DrainMode::Immediate => AT_ONCE,
                DrainMode::Queue | DrainMode::Delay => QUEUE_FIRST,
            };
            self.scoreboard
                .shared()
                .stopping
                .store(how, Ordering::Release);
        }
        for listener in &mut self.listeners {
            listener.shut_the_door(shared);
        }
    }
}

fn ask_worker(pid: Pid, ask: Ask) {
    let number = match ask {
        Ask::Drain => Signal::SIGTERM,
        Ask::Quit => Signal::SIGQUIT,
        Ask::Reopen => Signal::SIGUSR1,
        Ask::Testify => return,
        Ask::Abort => Signal::SIGABRT,
        Ask::Kill => Signal::SIGKILL,
    };
    signal(pid, number);
}

fn say(note: &Note) {
    log::record(note.level(), format_args!("{note}"));
}
