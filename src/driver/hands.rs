//! The hands: they carry out the actions of the brain. Failures become events, and the brain
//! decides what they mean.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use mio::{Registry, Token};

use rcorn_arbiter::{
    Action, Arbiter, Ask, CellIndex, Event, Exit, Generation, Note, Outcome, Pid, ReforkNote,
    ReloadNote, StopNote, UpgradeNote, WorkerId, WorkerNote,
};
use rcorn_control::Build;
use rcorn_link::{self as link, Command, HookEvent, Start, TemplateReason};
use rcorn_log as log;
use rcorn_scoreboard::StopMode;
use rcorn_settings::{ConfigFile, DrainMode, Settings, UpgradeMode};
use rcorn_sys::{clock, process};
use rcorn_types::{Monotonic, with_remedy};

use super::captured_output::CapturedOutput;
use super::children::{Children, HowToFork};
use super::control::ControlServer;
use super::front::{self, Fronts, SavedFronts};
use super::handover::{Handover, InPlaceState};
use super::interpreter;
use super::listener::{Listener, Role};
use super::logs::{self, Logs};
use super::monitor::MonitorServer;
use super::origin::Origin;
use super::out_of_memory::OutOfMemory;
use super::owner::Owner;
use super::pidfile::PidFile;
use super::policy::{boot_limit, stop_limit};
use super::postmortem::{report_hung, report_lost_requests, write_held_lines};
use super::reload::{self, Pending, ReloadTransaction, warn_of_boot_settings};
use super::saved_children::SavedChildren;
use super::service_manager::ServiceManager;
use super::shared_memory::SharedMemory;
use super::slow::SlowRequests;
use super::sockets::Sockets;
use super::status::View;
use super::tally::{End, Tally};
use super::telemetry::Telemetry;
use super::upgrade::{self, InPlaceUpgrade, Predecessor};
use super::watch::FileWatcher;

/// The token of the control socket.
pub(super) const CONTROL: Token = Token(2);
/// The token of helpers of a reload.
pub(super) const RELOAD: Token = Token(4);
/// The token of inotify.
pub(super) const WATCH: Token = Token(5);
/// The token of the check of a successor.
pub(super) const UPGRADE: Token = Token(6);
/// The token of fronts.
pub(super) const FRONTS: Token = Token(7);
/// The token of what goes to and comes from servers of logs and metrics.
pub(super) const TELEMETRY: Token = Token(8);

/// The part of `graceful_timeout` that fronts have at a stop.
const PART_OF_FRONTS: f64 = 0.9;

/// What an action may need from the loop.
#[derive(Clone, Copy)]
pub(super) struct Context<'t> {
    pub(super) brain: &'t Arbiter,
    pub(super) registry: &'t Registry,
    /// The report socket: our end, and the end that templates inherit.
    pub(super) reports: (RawFd, RawFd),
}

/// One object for each external resource; none knows the others.
pub(super) struct Hands<'a> {
    pub(super) memory: SharedMemory,
    pub(super) children: Children,
    pub(super) sockets: Sockets,
    pub(super) fronts: Fronts,
    /// Workers that are to be drained when the fronts have left: until then these have requests for
    /// them.
    pub(super) to_drain: Vec<Pid>,
    pub(super) settings: Settings,
    pub(super) reload: ReloadTransaction<'a>,
    /// How far the last refork has come, once it is decided.
    pub(super) refork: Option<Result<String, String>>,
    /// The arbiter that started us beside itself, while it lives.
    pub(super) predecessor: Option<Predecessor>,
    /// A successor that will take our place, while it is checked.
    pub(super) successor: Option<InPlaceUpgrade>,
    pub(super) origin: Origin,
    /// This build.
    pub(super) build: Build,
    /// The owner of new files.
    pub(super) owner: Owner,
    pub(super) logs: Logs,
    pub(super) telemetry: Telemetry,
    pub(super) output: CapturedOutput,
    pub(super) slow: SlowRequests,
    pub(super) manager: ServiceManager,
    pub(super) control: Option<ControlServer>,
    pub(super) monitor: Option<MonitorServer>,
    pub(super) pid_file: Option<PidFile>,
    pub(super) out_of_memory: OutOfMemory,
    pub(super) tally: Tally,
    pub(super) watcher: FileWatcher,
    /// A template was started once.
    pub(super) has_booted: bool,
    /// Events that wait for the brain.
    pub(super) queue: VecDeque<Event>,
    pub(super) outcome: Option<Outcome>,
}

impl<'a> Hands<'a> {
    /// Carries an action out. Failures become events: the arbiter decides what they mean.
    pub(super) fn perform(&mut self, context: Context<'_>, action: Action) {
        match action {
            Action::Load => self.load(context),
            Action::StartTemplate(generation) => self.start_template(context, generation),
            Action::EndTemplate(generation) => {
                if context.brain.is_stopping() && generation == context.brain.generation() {
                    self.call_hook(HookEvent::Exit);
                }
                self.children.end_template(generation);
            }
            Action::KillTemplate(_, pid) => self.children.kill_template(pid),
            Action::Fork(id, cell, generation) => {
                self.fork(context, id, cell, generation, HowToFork::PLAIN);
            }
            Action::ForkToPromote(id, cell, generation) => {
                self.fork(context, id, cell, generation, HowToFork::TO_PROMOTE);
            }
            Action::ForkSpare(id, cell, generation) => {
                self.fork(context, id, cell, generation, HowToFork::SPARE);
            }
            Action::Activate(id) => self.children.activate(id),
            Action::Promote(id, generation, pid) => {
                self.tally.promoted(pid);
                self.children.promote(id, generation, pid);
            }
            Action::Ask(pid, ask) => self.ask(context, pid, ask),
            Action::PostMortem(_, cell, pid) => {
                let stacks = self.children.stacks_of(pid);
                report_hung(pid, cell, self.memory.scoreboard(), &stacks);
            }
            Action::Commit(_) => self.commit(context),
            Action::Discard(_) => self.discard(context),
            Action::CloseListeners => self.close_listeners(context),
            Action::ReopenLogs => {
                self.logs.reopen(&self.settings, self.owner);
                self.children.send_to_templates(&Command::Reopen);
            }
            Action::Upgrade => self.upgrade(context),
            Action::Wanted(now) => self.set_wanted(context, now),
            Action::FreeCell(cell) => self.free_cell(cell),
            Action::Say(note) => self.say(context, &note),
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }

    fn fork(
        &mut self,
        context: Context<'_>,
        id: WorkerId,
        cell: CellIndex,
        generation: Generation,
        how: HowToFork,
    ) {
        let probe = generation != context.brain.generation();
        let how = HowToFork { probe, ..how };
        if let Err(reason) = self.children.fork(id, cell, generation, how) {
            self.queue.push_back(Event::ForkFailed(id, reason));
        }
    }

    fn set_wanted(&mut self, context: Context<'_>, now: u32) {
        let before = self.memory.set_wanted(now);
        // The first template already knows the first number.
        if before != 0 && before != now {
            self.call_hook(HookEvent::WorkersChanged { now, before });
        }
        // Without workers (WINCH) a front would keep clients waiting whom another arbiter serves.
        let grace = self.settings.graceful_timeout.duration();
        if now == 0 {
            self.fronts.leave_all(clock::now(), grace);
        } else if !context.brain.is_stopping() {
            self.with_fronts(context, Fronts::return_to_work);
        }
    }

    fn ask(&mut self, context: Context<'_>, pid: Pid, ask: Ask) {
        if ask == Ask::BecomeTemplate
            && let Some(id) = self.children.worker(pid)
        {
            self.memory.set_candidate(id);
        }
        match ask {
            Ask::Drain | Ask::BecomeTemplate | Ask::Quit => {
                self.tally.asked_to_leave(pid, context.brain);
            }
            Ask::Reopen | Ask::DumpStacks | Ask::Abort | Ask::Kill => {}
        }
        let is_last = context.brain.is_stopping() || context.brain.wanted() == 0;
        if ask == Ask::Drain && is_last && self.fronts.are_there() {
            self.to_drain.push(pid);
        } else {
            self.children.ask(pid, ask);
        }
    }

    fn free_cell(&mut self, cell: CellIndex) {
        let lines = self.telemetry.take_held_lines(cell);
        write_held_lines(&lines, &self.logs);
        report_lost_requests(cell, self.memory.scoreboard(), &self.settings, &self.logs);
        self.sockets.wake_worker();
        self.memory.free(cell);
        self.children.free(cell);
    }

    /// Calls a hook of a Python config file.
    pub(super) fn call_hook(&self, event: HookEvent) {
        let config = self.settings.config.as_ref();
        if config.is_some_and(ConfigFile::is_python) {
            self.children.send_to_newest(&Command::Hook(event));
        }
    }

    /// Logs a note of the arbiter, and passes it on to the service manager and others.
    fn say(&mut self, context: Context<'_>, note: &Note) {
        log::record(note.level(), format_args!("{note}"));
        self.tally.note(note);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "most notes are for the log alone"
        )]
        match note {
            Note::Worker(pid, WorkerNote::Ended(Exit::Signal(9))) => {
                let is_by_kernel = self.out_of_memory.note_kill(*pid);
                self.tally.set_killed_by_kernel(is_by_kernel);
            }
            Note::Reload(ReloadNote::Begun) => {
                self.reload.outcome = None;
                let leaving = self.settings.graceful_timeout.duration();
                let leaving = leaving.saturating_mul(context.brain.wanted());
                let limit = boot_limit(&self.settings).map(|boot| boot.saturating_add(leaving));
                self.manager.reloading(clock::now(), limit);
            }
            Note::Reload(ReloadNote::Done(_)) => self.reload.outcome = Some(Ok(note.to_string())),
            Note::Reload(
                ReloadNote::NotLoaded(_) | ReloadNote::Failed(..) | ReloadNote::RolledBack(..),
            ) => {
                self.reload.outcome = Some(Err(note.to_string()));
            }
            Note::Refork(ReforkNote::Begun(_)) => self.refork = None,
            Note::Refork(ReforkNote::Promoted(_) | ReforkNote::Done) => {
                self.refork = Some(Ok(note.to_string()));
            }
            Note::Refork(ReforkNote::Refused(_)) => self.refork = Some(Err(note.to_string())),
            Note::Upgrade(UpgradeNote::Ended(_)) => self.manager.main_again(),
            Note::Stop(StopNote::Delayed(_)) => {
                self.tell_stopping(context);
                if !self.shares_sockets(context) {
                    self.memory.drain();
                }
            }
            _ => {}
        }
    }

    /// Counts what an event is about, before the brain takes it. Returns the end of a worker, to be
    /// counted by [`Tally::ended`] when its consequences are known.
    pub(super) fn count_event(&mut self, event: &Event, brain: &Arbiter) -> Option<End> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "most events are not counted"
        )]
        match event {
            Event::Forked(id, _) | Event::Ready(id, _) | Event::SpareReady(id, _) => {
                if let Some(worker) = brain.workers().get(*id) {
                    self.tally.forked(&worker.stage);
                    if matches!(event, Event::Ready(..)) {
                        self.tally.ready(&worker.stage, clock::now());
                    }
                }
            }
            Event::Exited(pid, exit) => return self.tally.end_of(*pid, *exit, brain),
            _ => {}
        }
        None
    }

    /// Tells the service manager of the first worker that serves, and of the end of a reload.
    pub(super) fn inform_manager(&mut self, context: Context<'_>) {
        if !self.manager.is_announced() && self.children.serving().next().is_some() {
            self.manager.serving(self.predecessor.is_some());
            give_memory_back();
        }
        if self.manager.is_reloading()
            && !context.brain.is_reloading()
            && !context.brain.is_on_probation()
        {
            let outcome = match &self.reload.outcome {
                Some(Ok(text) | Err(text)) => text.as_str(),
                None => "Serving",
            };
            self.manager.reloaded(outcome);
            give_memory_back();
        }
    }

    fn tell_stopping(&self, context: Context<'_>) {
        // While another arbiter serves, the service does not stop.
        if !self.shares_sockets(context) {
            self.manager.stopping(stop_limit(&self.settings));
        }
    }

    /// Refuses new connections; workers empty the queue.
    fn close_listeners(&mut self, context: Context<'_>) {
        self.successor = None;
        self.tell_stopping(context);
        // If another arbiter shares the sockets, its workers serve the queue.
        if !self.shares_sockets(context) {
            self.memory.stop(match self.settings.drain_mode {
                DrainMode::Immediate => StopMode::AtOnce,
                DrainMode::Queue | DrainMode::Delay => StopMode::QueueFirst,
            });
            self.sockets.close();
        }
        // Not before: then what is in their queues is all. The rest of the time is for the workers,
        // who are asked when the fronts have left.
        let grace = self.settings.graceful_timeout.duration();
        let grace = grace.mul_f64(PART_OF_FRONTS);
        self.fronts.leave_all(clock::now(), grace);
    }

    /// Whether another arbiter holds our sockets, too: they are neither closed for new clients nor
    /// removed.
    pub(super) fn shares_sockets(&self, context: Context<'_>) -> bool {
        context.brain.upgrade().is_some() || self.predecessor.is_some()
    }

    fn start_template(&mut self, context: Context<'_>, generation: Generation) {
        let event = match self.try_start_template(context, generation) {
            Ok(pid) => Event::TemplateStarted(generation, pid),
            Err(error) => Event::TemplateNotStarted(generation, error),
        };
        self.queue.push_back(event);
    }

    fn try_start_template(
        &mut self,
        context: Context<'_>,
        generation: Generation,
    ) -> Result<Pid, String> {
        let pending = self.reload.pending_for(generation);
        let settings = pending.map_or(&self.settings, |pending| &pending.settings);
        if !logs::are_same(settings, &self.settings) {
            let owner = pending.map_or(self.owner, |pending| pending.owner);
            self.logs = Logs::start(settings, owner)?;
        }
        if pending.is_some() {
            self.telemetry
                .configure(settings)
                .map_err(|error| not_set_up(&error))?;
        }
        let threads = self
            .memory
            .make_room(settings.threads)
            .map_err(|error| format!("cannot make room for threads: {error}"))?;
        let sockets = match pending {
            Some(pending) => pending.plan.sockets(self.sockets.listeners()),
            None => self.sockets.listeners().iter().collect(),
        };
        let owner = pending.map_or(self.owner, |pending| pending.owner);
        let inner = self.fronts.inner_listener(settings, owner);
        let listeners = for_link(
            &sockets,
            settings,
            inner.map_err(|error| error.to_string())?,
        );
        let (error_log, access_log) = self.logs.numbers();
        let inherited = self.telemetry.inherited();
        let output = self.output.inherited(settings, context.registry);
        let output = output.map_err(|error| not_captured(&error))?;
        let start = Start {
            generation: generation.0,
            listeners,
            scoreboard: self.memory.number(),
            threads,
            reports: context.reports.1,
            handoff_queue: self.sockets.queue_numbers(),
            error_log,
            access_log,
            relay: inherited.relay,
            samples: inherited.samples,
            held_lines: inherited.held_lines,
            output,
            directory: self.origin.directory.clone(),
            reason: match pending {
                Some(_) => TemplateReason::Reload,
                None if self.has_booted => TemplateReason::Replacement,
                None => TemplateReason::Boot,
            },
            ..Start::of(settings, &self.origin.arguments)
        };
        let environment = settings.raw_env.clone();
        // It is looked for each time, because a release of the app can have a new virtual
        // environment.
        let found = interpreter::look_for(settings.python.clone(), &self.origin)
            .map_err(|error| format!("{error}; hint: {}", error.hint()))?;
        let path = found.python.clone();
        let started = self.children.start_template(found, start, environment);
        self.has_booted = true;
        started.map_err(|error| interpreter::not_started(&path, &error))
    }

    /// HUP. Before the settings are read: what was removed or moved away comes back whatever
    /// becomes of the reload.
    fn load(&mut self, context: Context<'_>) {
        self.logs.reopen(&self.settings, self.owner);
        self.restore_files(context);
        self.give_up_trial(context);
        let (reload, given) = self.reload_parts(context);
        let event = reload.begin(&given);
        self.queue.extend(event);
    }

    /// Makes files again that others find us by, and that somebody has removed, such as a cleaner
    /// of `/tmp`. (A listening socket is made again by the [`Plan`](super::plan::Plan).)
    fn restore_files(&mut self, context: Context<'_>) {
        if let Some(control) = &mut self.control {
            control.restore(&self.settings, context.registry, CONTROL);
        }
        if let Some(pid_file) = &self.pid_file {
            pid_file.restore();
        }
    }

    pub(super) fn advance_reload(&mut self, context: Context<'_>) {
        let (reload, given) = self.reload_parts(context);
        let event = reload.advance(&given);
        self.queue.extend(event);
    }

    /// The reload, and its context.
    fn reload_parts<'s>(
        &'s mut self,
        context: Context<'s>,
    ) -> (&'s mut ReloadTransaction<'a>, reload::Context<'s>) {
        let given = reload::Context {
            origin: &self.origin,
            registry: context.registry,
            token: RELOAD,
            settings: &self.settings,
            listeners: self.sockets.listeners(),
            program: self.fronts.program(),
            now: clock::now(),
        };
        (&mut self.reload, given)
    }

    fn commit(&mut self, context: Context<'_>) {
        let Some(Pending {
            settings,
            plan,
            owner,
            tls,
            ..
        }) = self.reload.commit()
        else {
            return;
        };
        self.owner = owner;
        self.sockets.commit(plan, &self.settings, &settings);
        warn_of_boot_settings(&self.settings, &settings);
        let before = std::mem::replace(&mut self.settings, settings);
        let registry = context.registry;
        self.watcher.renew(&before, &self.settings, registry, WATCH);
        if let Some(monitor) = &mut self.monitor {
            monitor.renew(&self.settings);
        }
        // Those on trial are told the same again.
        self.fronts.end_trial();
        self.with_fronts(context, |fronts, given, exits| {
            fronts.apply(tls, given, exits);
        });
    }

    /// Does something with the fronts.
    pub(super) fn with_fronts(
        &mut self,
        context: Context<'_>,
        act: impl FnOnce(&mut Fronts, &front::Context<'_>, &mut front::FrontExits),
    ) {
        let trial = self
            .reload
            .on_trial()
            .filter(|_| self.fronts.are_on_trial());
        let before = self.sockets.listeners();
        let listeners = match trial {
            Some(pending) => pending.plan.sockets(before),
            None => before.iter().collect(),
        };
        let given = front::Context {
            settings: trial.map_or(&self.settings, |pending| &pending.settings),
            listeners: &listeners,
            owner: trial.map_or(self.owner, |pending| pending.owner),
            generation: context.brain.generation().0,
            error_log: self.logs.numbers().0,
            registry: context.registry,
            token: FRONTS,
            now: clock::now(),
        };
        act(&mut self.fronts, &given, &mut self.children.fronts);
    }

    /// Lets fronts serve by the settings on trial once the workers of these have taken over: an
    /// address that begins to speak TLS has no others.
    pub(super) fn try_fronts(&mut self, context: Context<'_>) {
        if self.fronts.are_on_trial() || !context.brain.is_on_probation() {
            return;
        }
        let Some(pending) = self.reload.on_trial() else {
            return;
        };
        if pending.tls.is_none() && !self.fronts.are_there() {
            return;
        }
        let tls = pending.tls.clone();
        self.fronts.begin_trial();
        self.with_fronts(context, |fronts, given, exits| {
            fronts.apply(tls, given, exits);
        });
    }

    /// Fronts serve by the settings in force again.
    fn give_up_trial(&mut self, context: Context<'_>) {
        if self.fronts.are_on_trial() {
            let before = self.fronts.end_trial();
            self.with_fronts(context, |fronts, given, exits| {
                fronts.apply(before, given, exits);
            });
        }
    }

    /// Whether [`Self::advance_fronts`] has something to do, beside what fronts say.
    pub(super) fn fronts_are_due(&self, now: Monotonic) -> bool {
        let is_due = self.fronts.deadline().is_some_and(|due| due <= now);
        is_due || self.children.fronts.is_noted()
    }

    /// Looks after the fronts, and drains workers that waited for their end.
    pub(super) fn advance_fronts(&mut self, context: Context<'_>) {
        self.with_fronts(context, Fronts::advance);
        if !self.fronts.are_there() {
            for pid in std::mem::take(&mut self.to_drain) {
                self.children.ask(pid, Ask::Drain);
            }
        }
    }

    fn discard(&mut self, context: Context<'_>) {
        let Some(settings) = self.reload.discard(&self.settings) else {
            return;
        };
        self.give_up_trial(context);
        if let Err(error) = self.telemetry.configure(&self.settings) {
            log::error(format_args!("{}", not_set_up(&error)));
        }
        if !logs::are_same(&settings, &self.settings) {
            match Logs::start(&self.settings, self.owner) {
                Ok(logs) => self.logs = logs,
                Err(error) => {
                    log::error(format_args!("cannot go back to the old log files: {error}"));
                }
            }
        }
    }

    /// What a successor gets: with `in_place` everything.
    pub(super) fn handover(&self, context: Context<'_>, in_place: bool) -> io::Result<Handover> {
        let state = || -> io::Result<InPlaceState> {
            // It is written and read again, so that only what can be read is handed over.
            let brain = serde_json::to_value(context.brain)?;
            Ok(InPlaceState {
                brain: serde_json::from_value(brain)?,
                children: SavedChildren::save(&self.children),
                settings: self.settings.clone(),
                scoreboard: self.memory.number(),
                threads: self.memory.number_of_threads_memory(),
                telemetry: self.telemetry.numbers(),
                output: self.output.saved(),
                fronts: SavedFronts::save(&self.fronts),
                totals: self.memory.totals(),
                times: self.memory.ended_times(),
                tally: Some(self.tally.clone()),
                reports: context.reports,
                is_announced: self.manager.is_announced(),
                control_socket: self.control.as_ref().map(|one| one.path().to_owned()),
            })
        };
        Ok(Handover::new(
            self.sockets.saved_listeners(),
            self.sockets.queue_numbers(),
            in_place.then(state).transpose()?,
        )
        .with_ticket_keys(self.fronts.ticket_keys()))
    }

    fn upgrade(&mut self, context: Context<'_>) {
        if self.successor.is_some() {
            return;
        }
        let begun = match self.settings.upgrade {
            UpgradeMode::Beside => self.upgrade_beside(context),
            UpgradeMode::InPlace => self.begin_upgrade_in_place(context),
        };
        if let Err(error) = begun {
            self.upgrade_failed(&error);
        }
    }

    pub(super) fn upgrade_failed(&mut self, error: &io::Error) {
        let what = format!("{}: {error}", self.origin.program.display());
        self.queue.push_back(Event::UpgradeNotStarted(what));
    }

    fn upgrade_beside(&mut self, context: Context<'_>) -> io::Result<()> {
        self.call_hook(HookEvent::PreExec);
        let pid = upgrade::start_beside(&self.origin, &self.handover(context, false)?)?;
        self.children.upgrade = Some(pid);
        self.tally.upgrades_beside();
        self.queue.push_back(Event::UpgradeStarted(pid));
        Ok(())
    }

    pub(super) fn begin_upgrade_in_place(&mut self, context: Context<'_>) -> io::Result<()> {
        let handover = self.handover(context, true)?;
        let registry = context.registry;
        let begun = InPlaceUpgrade::begin(&self.origin, handover, registry, UPGRADE)?;
        self.successor = Some(begun);
        Ok(())
    }

    /// Takes the place of the arbiter that started us beside itself, once that is gone.
    pub(super) fn check_predecessor(&mut self, registry: &Registry) {
        if !self.predecessor.as_ref().is_some_and(Predecessor::is_gone) {
            return;
        }
        self.predecessor = None;
        log::info(format_args!("Master has been promoted."));
        self.sockets.own_files();
        self.name_process();
        if let Some(control) = &mut self.control {
            control.promote(&self.settings);
        }
        // The predecessor had the status address until now.
        match MonitorServer::open(&self.settings) {
            Ok(monitor) => self.monitor = monitor,
            Err(error) => log::error(format_args!("{error}")),
        }
        if let Some(monitor) = &self.monitor
            && let Err(error) = monitor.register(registry)
        {
            log::error(format_args!("cannot watch the status address: {error}"));
        }
        if let Some(file) = self.pid_file.take() {
            file.remove_or_warn();
            match self.settings.pidfile.as_deref().map(PidFile::create) {
                Some(Ok(file)) => self.pid_file = Some(file),
                Some(Err(error)) => log::error(format_args!("{error}")),
                None => {}
            }
        }
    }

    /// Serves the clients of the status address.
    pub(super) fn serve_monitor(&mut self, context: Context<'_>) {
        let now = clock::now();
        let is_due = |monitor: &MonitorServer| monitor.deadline().is_some_and(|due| due <= now);
        if !self.monitor.as_ref().is_some_and(is_due) {
            return;
        }
        if let Some(mut monitor) = self.monitor.take() {
            let mut view = || self.view(context).status();
            monitor.turn(now, context.registry, &mut view);
            self.monitor = Some(monitor);
        }
    }

    /// What `ps` shows.
    pub(super) fn name_process(&self) {
        let settings = &self.settings;
        let name = settings.process_name();
        let second = if self.predecessor.is_some() { ".2" } else { "" };
        process::set_title(&format!("rcorn: master [{name}{second}]"));
    }

    pub(super) fn view<'v>(&'v self, context: Context<'v>) -> View<'v> {
        View {
            arbiter: context.brain,
            settings: &self.settings,
            sockets: &self.sockets,
            memory: &self.memory,
            children: &self.children,
            build: &self.build,
            last_reload: self.reload.outcome.as_ref(),
            refork: self.refork.as_ref(),
            tally: &self.tally,
            fronts: &self.fronts,
            now: clock::now(),
        }
    }

    /// Looks for slow requests, if it is time.
    pub(super) fn look_for_slow_requests(&mut self, context: Context<'_>) {
        let limit = self.settings.slow_request.limit();
        let is_due = |due: Monotonic| due <= clock::now();
        if limit.is_some() == self.slow.deadline().is_some()
            && !self.slow.deadline().is_some_and(is_due)
        {
            return;
        }
        // A worker that is hung is asked for its stacks by the brain.
        let workers = context.brain.workers();
        let serves = |id| workers.get(id).is_some_and(|one| one.stage.is_serving());
        let serving = self.children.serving().filter(|(id, _)| serves(*id));
        let serving: Vec<CellIndex> = serving.map(|(_, cell)| cell).collect();
        let scoreboard = self.memory.scoreboard();
        self.slow.look(limit, scoreboard, &self.children, &serving);
    }

    /// Passes on to syslog and statsd what has come.
    pub(super) fn advance_telemetry(&mut self, context: Context<'_>) {
        let workers = context.brain.workers().iter().count();
        let (now, registry) = (clock::now(), context.registry);
        self.telemetry.advance(now, registry, TELEMETRY, workers);
    }

    /// Sends the last of it.
    pub(super) fn finish_telemetry(&mut self, context: Context<'_>) {
        let workers = context.brain.workers().iter().count();
        self.telemetry.finish(clock::now(), workers);
    }

    /// Leaves nothing behind.
    pub(super) fn tidy_up(&mut self, context: Context<'_>) {
        self.fronts.kill_all();
        self.output.finish(context.registry);
        self.finish_telemetry(context);
        if !self.shares_sockets(context) {
            self.sockets.tidy_up();
        }
        if let Some(control) = self.control.take() {
            control.remove_file();
        }
        if let Some(monitor) = self.monitor.take() {
            monitor.remove_file();
        }
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.remove_or_warn();
        }
    }
}

/// The listeners of a template and its workers. `inner`: the one of fronts, the last one: a
/// connection that workers hand on keeps the number of its listener.
fn for_link(
    sockets: &[&Listener],
    settings: &Settings,
    inner: Option<link::Listener>,
) -> Vec<link::Listener> {
    let own = sockets.iter();
    let own = own.filter(|listener| listener.role(settings) == Role::Workers);
    let own = own.map(|listener| listener.for_link(settings));
    own.chain(inner).collect()
}

fn not_captured(error: &io::Error) -> String {
    let reason = with_remedy(error);
    format!("cannot capture what the app prints: {reason}")
}

fn not_set_up(error: &io::Error) -> String {
    format!("cannot set up syslog and statsd: {}", with_remedy(error))
}

/// Frees memory that only a start or a reload needs (above all the parsers of arguments and files),
/// which is most of the arbiter's.
fn give_memory_back() {
    if let Err(error) = process::release_file_pages() {
        log::debug(format_args!("cannot give memory back: {error}"));
    }
    process::trim_heap();
}
