//! The loop of the arbiter's process. It waits for signals, reports, clients, helpers, changed files and
//! deadlines; each becomes an event, each event a step of the arbiter, and each step's actions are carried out
//! by the objects that the loop owns. Nothing else waits, nothing sleeps.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::{Interest, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::{
    Action, Arbiter, Ask, Event, Exit, Generation, Note, Order, Outcome, Phase, Pid, ReloadNote,
    Slot, StopNote, UpgradeNote, WorkerNote,
};
use rcorn_control::Answer;
use rcorn_link::{Command, HookEvent, Start, TemplateReason};
use rcorn_log as log;
use rcorn_scoreboard::StopMode;
use rcorn_settings::{ConfigFile, DrainMode, Settings, UpgradeMode};
use rcorn_sys::{clock, process};
use rcorn_types::Monotonic;

use super::children::Children;
use super::control::{ControlServer, FIRST_CLIENT, Waits};
use super::handover::{Handover, InPlaceState};
use super::interpreter;
use super::logs::{self, Logs};
use super::origin::Origin;
use super::out_of_memory::OutOfMemory;
use super::pidfile::PidFile;
use super::policy::{boot_limit, stop_limit};
use super::poller::Poller;
use super::postmortem::{read_stacks, report_hung, report_lost_request};
use super::process::signal;
use super::reload::{self, Pending, ReloadTransaction, warn_of_boot_settings};
use super::reports::{self, Meaning, ReportSocket};
use super::requests::{Decision, decide};
use super::saved_children::SavedChildren;
use super::service_manager::ServiceManager;
use super::shared_memory::SharedMemory;
use super::signals::order;
use super::sockets::Sockets;
use super::status::View;
use super::upgrade::{self, BlockedSignals, InPlaceUpgrade, Predecessor};
use super::watch::{FileWatcher, describe_changes};

const REPORTS: Token = Token(1);
const CONTROL: Token = Token(2);
const PREDECESSOR: Token = Token(3);
const RELOAD: Token = Token(4);
const WATCH: Token = Token(5);
const UPGRADE: Token = Token(6);

/// How long a process may take to dump its stacks before the first look, and between two looks.
const STACKS_INTERVAL: Duration = Duration::from_millis(100);
/// How many more looks follow the first one when nothing is there.
const STACKS_MORE_LOOKS: u32 = 9;

/// Everything that the loop owns. Each part owns one thing and knows nothing of the loop.
pub(super) struct Driver<'a> {
    pub(super) brain: Arbiter,
    pub(super) poller: Poller,
    pub(super) reports: reports::Receiver<ReportSocket>,
    pub(super) memory: SharedMemory,
    pub(super) children: Children,
    pub(super) sockets: Sockets,
    pub(super) settings: Settings,
    pub(super) reload: ReloadTransaction<'a>,
    /// The arbiter that started us beside itself, while it lives.
    pub(super) predecessor: Option<Predecessor>,
    /// A successor that will take our place, while it is checked.
    pub(super) successor: Option<InPlaceUpgrade>,
    pub(super) origin: Origin,
    pub(super) logs: Logs,
    pub(super) manager: ServiceManager,
    pub(super) control: Option<ControlServer>,
    pub(super) pid_file: Option<PidFile>,
    pub(super) out_of_memory: OutOfMemory,
    pub(super) watcher: FileWatcher,
    /// A template was started once.
    pub(super) has_booted: bool,
    pub(super) queue: VecDeque<Event>,
    pub(super) outcome: Option<Outcome>,
}

impl Driver<'_> {
    /// The loop.
    ///
    /// # Errors
    ///
    /// Those of the system calls without which nothing can be supervised.
    pub(super) fn run(&mut self) -> io::Result<Outcome> {
        self.register_sources()?;
        self.name_process();
        self.manager.ask_for_time(boot_limit(&self.settings));
        let registry = self.poller.registry();
        self.watcher.begin(&self.settings, registry, WATCH);
        // Children that ended while a new build took this process over: their signals are lost.
        self.children.reap(&mut self.queue)?;
        loop {
            self.drain_queue();
            if let Some(outcome) = self.outcome {
                return Ok(outcome);
            }
            self.manager.show_life(clock::now());
            self.answer_waiting_clients();
            let ready = self.poller.wait(self.deadline())?;
            // These are cheap: looked at each time.
            self.take_reports()?;
            self.take_signals()?;
            self.check_predecessor();
            self.advance_reload();
            self.advance_upgrade()?;
            for token in ready {
                self.serve(token);
            }
            self.order_reload_for_changes();
            if self.brain.deadline().is_some_and(|due| due <= clock::now()) {
                self.read_scoreboard();
                self.queue.push_back(Event::Tick);
            }
        }
    }

    fn register_sources(&mut self) -> io::Result<()> {
        let registry = self.poller.registry();
        self.reports.register(registry, REPORTS)?;
        if let Some(control) = &mut self.control {
            registry.register(control.source(), CONTROL, Interest::READABLE)?;
        }
        if let Some(predecessor) = &self.predecessor {
            predecessor.register(registry, PREDECESSOR)?;
        }
        Ok(())
    }

    /// When something is due; `None`: never.
    fn deadline(&self) -> Option<Monotonic> {
        let due = [
            self.brain.deadline(),
            self.reports.deadline(),
            self.manager.deadline(),
            self.control.as_ref().and_then(ControlServer::deadline),
            self.reload.deadline(),
            self.successor.as_ref().map(InPlaceUpgrade::deadline),
            self.watcher.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    fn serve(&mut self, token: Token) {
        match token {
            WATCH => self.watcher.read_events(),
            CONTROL => {
                if let Some(control) = &mut self.control {
                    control.accept(self.poller.registry());
                }
            }
            Token(client) if client >= FIRST_CLIENT => self.serve_client(client),
            // Looked at each time.
            Token(_) => {}
        }
    }

    /// Steps the arbiter through all events, and carries its actions out.
    fn drain_queue(&mut self) {
        let mut actions = Vec::new();
        for (pid, id) in std::mem::take(&mut self.children.ended) {
            self.call_hook(HookEvent::ChildExit {
                id: id.0,
                pid: pid.0,
            });
        }
        while let Some(event) = self.queue.pop_front() {
            if self.outcome.is_some() {
                return;
            }
            self.brain.step(clock::now(), event, &mut actions);
            for action in actions.drain(..) {
                self.perform(action);
            }
            self.inform_manager();
        }
    }

    fn take_reports(&mut self) -> io::Result<()> {
        for (report, descriptor) in self.reports.take(clock::now())? {
            match reports::translate(report, descriptor, &mut self.children) {
                Meaning::Events(events) => self.queue.extend(events),
                Meaning::Imported(directories) => self.watcher.add(directories),
            }
        }
        Ok(())
    }

    /// Takes signals in the order they came, each with its consequences.
    fn take_signals(&mut self) -> io::Result<()> {
        for signal in self.poller.take_signals() {
            if signal == Signal::SIGCHLD {
                // What the children reported before they ended comes first.
                self.take_reports()?;
                self.children.reap(&mut self.queue)?;
            } else {
                self.take_order(signal);
            }
            self.drain_queue();
        }
        Ok(())
    }

    fn take_order(&mut self, signal: Signal) {
        let name = signal.as_str().trim_start_matches("SIG");
        let name = name.to_ascii_lowercase();
        // WINCH also comes from terminals: it is an order where there is none, or while another arbiter serves.
        let is_order =
            signal != Signal::SIGWINCH || self.settings.daemon || self.brain.upgrade().is_some();
        if is_order {
            log::info(format_args!("Handling signal: {name}"));
            self.queue.extend(order(signal).map(Event::Ordered));
        } else {
            log::debug(format_args!("Handling signal: {name}"));
            log::debug(format_args!("SIGWINCH ignored. Not daemonized"));
        }
    }

    /// Tells the arbiter when the current request of each worker began.
    fn read_scoreboard(&mut self) {
        for (id, slot) in self.children.serving() {
            if let Some(cell) = self.memory.cell(slot) {
                let since = cell.no_progress_since();
                self.queue.push_back(Event::Beat(id, since));
            }
        }
    }

    /// Orders a reload when files of the app have changed.
    fn order_reload_for_changes(&mut self) {
        let changes = self.watcher.take_changes(clock::now());
        if self.brain.phase() == Phase::Running
            && let Some(line) = describe_changes(&changes)
        {
            log::info(format_args!("{line}"));
            self.queue.push_back(Event::Ordered(Order::Reload));
        }
    }

    /// Carries an action out. Failures become events: the arbiter decides what they mean.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Load => self.load(),
            Action::StartTemplate(generation) => self.start_template(generation),
            Action::EndTemplate(generation) => {
                if self.brain.is_stopping() && generation == self.brain.generation() {
                    self.call_hook(HookEvent::Exit);
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
            Action::Ask(pid, ask) => self.ask(pid, ask),
            Action::PostMortem(_, slot, pid) => {
                report_hung(pid, self.memory.cell(slot), &self.stacks_of(pid));
            }
            Action::Commit(_) => self.commit(),
            Action::Discard(_) => self.discard(),
            Action::CloseListeners => self.close_listeners(),
            Action::ReopenLogs => {
                Logs::reopen(&self.settings);
                self.children.send_to_templates(&Command::Reopen);
            }
            Action::Upgrade => self.upgrade(),
            Action::Wanted(now) => {
                let before = self.memory.set_wanted(now);
                // The first number is known to the first template.
                if before != 0 && before != now {
                    self.call_hook(HookEvent::WorkersChanged { now, before });
                }
            }
            Action::FreeSlot(slot) => self.free_slot(slot),
            Action::Say(note) => self.say(&note),
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }

    fn ask(&self, pid: Pid, ask: Ask) {
        if ask != Ask::DumpStacks && !self.children.has_worker(pid) {
            log::debug(format_args!("not sent to {pid}, which is gone: {ask:?}"));
            return;
        }
        match ask {
            Ask::Drain => signal(pid, Signal::SIGTERM),
            Ask::Quit => signal(pid, Signal::SIGQUIT),
            Ask::Reopen => signal(pid, Signal::SIGUSR1),
            Ask::DumpStacks => self.children.request_stacks(pid),
            Ask::Abort => signal(pid, Signal::SIGABRT),
            Ask::Kill => signal(pid, Signal::SIGKILL),
        }
    }

    /// The stacks that a worker or template has dumped; empty when it has dumped none.
    fn stacks_of(&self, pid: Pid) -> String {
        let dump = self.children.stack_dump(pid);
        dump.map(read_stacks).unwrap_or_default()
    }

    fn kill_template(&self, pid: Pid) {
        let stacks = self.stacks_of(pid);
        if !stacks.is_empty() {
            log::error(format_args!("Template (pid:{pid}) was here:\n{stacks}"));
        }
        signal(pid, Signal::SIGKILL);
    }

    fn free_slot(&mut self, slot: Slot) {
        if let Some(cell) = self.memory.cell(slot) {
            report_lost_request(cell, &self.settings, &self.logs);
        }
        self.sockets.wake_worker();
        self.memory.free(slot);
        self.children.free(slot);
    }

    /// Calls a hook of a Python config file.
    fn call_hook(&self, event: HookEvent) {
        let config = self.settings.config.as_ref();
        if config.is_some_and(ConfigFile::is_python) {
            self.children.send_to_newest(&Command::Hook(event));
        }
    }

    /// Logs what the arbiter says, and passes it on to others who want to know.
    fn say(&mut self, note: &Note) {
        log::record(note.level(), format_args!("{note}"));
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "most notes are for the log alone"
        )]
        match note {
            Note::Worker(pid, WorkerNote::Ended(Exit::Signal(9))) => {
                self.out_of_memory.note_kill(*pid);
            }
            Note::Reload(ReloadNote::Begun) => {
                self.reload.outcome = None;
                let leaving = self.settings.graceful_timeout.duration();
                let leaving = leaving.saturating_mul(self.brain.wanted());
                let limit = boot_limit(&self.settings).map(|boot| boot.saturating_add(leaving));
                self.manager.reloading(clock::now(), limit);
            }
            Note::Reload(ReloadNote::Done(_)) => self.reload.outcome = Some(Ok(note.to_string())),
            Note::Reload(
                ReloadNote::NotLoaded(_) | ReloadNote::Failed(..) | ReloadNote::RolledBack(..),
            ) => {
                self.reload.outcome = Some(Err(note.to_string()));
            }
            Note::Upgrade(UpgradeNote::Ended(_)) => self.manager.main_again(),
            Note::Stop(StopNote::Delayed(_)) => self.tell_stopping(),
            _ => {}
        }
    }

    /// The service manager is told of the first worker that serves, and of the end of a reload.
    fn inform_manager(&mut self) {
        if !self.manager.is_announced() && self.children.serving().next().is_some() {
            self.manager.serving(self.predecessor.is_some());
            process::trim_heap();
        }
        if self.manager.is_reloading()
            && !self.brain.is_reloading()
            && !self.brain.is_on_probation()
        {
            let outcome = match &self.reload.outcome {
                Some(Ok(text) | Err(text)) => text.as_str(),
                None => "Serving",
            };
            self.manager.reloaded(outcome);
            process::trim_heap();
        }
    }

    fn tell_stopping(&self) {
        // While another arbiter serves, the service does not stop.
        if !self.shares_sockets() {
            self.manager.stopping(stop_limit(&self.settings));
        }
    }

    /// Refuses new connections; workers empty the queue.
    fn close_listeners(&mut self) {
        self.successor = None;
        self.tell_stopping();
        // Of sockets that another arbiter shares, its workers serve the queue.
        if !self.shares_sockets() {
            self.memory.stop(match self.settings.drain_mode {
                DrainMode::Immediate => StopMode::AtOnce,
                DrainMode::Queue | DrainMode::Delay => StopMode::QueueFirst,
            });
            self.sockets.close();
        }
    }

    /// Whether another arbiter holds our sockets, too: they are neither closed for new clients nor removed.
    fn shares_sockets(&self) -> bool {
        self.brain.upgrade().is_some() || self.predecessor.is_some()
    }

    fn start_template(&mut self, generation: Generation) {
        let event = match self.try_start_template(generation) {
            Ok(pid) => Event::TemplateStarted(generation, pid),
            Err(error) => Event::TemplateNotStarted(generation, error),
        };
        self.queue.push_back(event);
    }

    fn try_start_template(&mut self, generation: Generation) -> Result<Pid, String> {
        let pending = self.reload.pending_for(generation);
        let settings = pending.map_or(&self.settings, |pending| &pending.settings);
        if !logs::are_same(settings, &self.settings) {
            self.logs = Logs::start(settings)?;
        }
        let sockets = match pending {
            Some(pending) => pending.plan.sockets(self.sockets.listeners()),
            None => self.sockets.listeners().iter().collect(),
        };
        let sockets = sockets.into_iter();
        let (error_log, access_log) = self.logs.numbers();
        let start = Start {
            generation: generation.0,
            listeners: sockets
                .map(|listener| listener.for_link(settings))
                .collect(),
            scoreboard: self.memory.number(),
            reports: self.reports.numbers().1,
            handoff_queue: self.sockets.queue_numbers(),
            error_log,
            access_log,
            directory: self.origin.directory.clone(),
            reason: match pending {
                Some(_) => TemplateReason::Reload,
                None if self.has_booted => TemplateReason::Replacement,
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
        self.has_booted = true;
        started.map_err(|error| format!("cannot start {shown}: {error}"))
    }

    fn load(&mut self) {
        let event = self.with_reload(|reload, context| reload.begin(context));
        self.queue.extend(event);
    }

    fn advance_reload(&mut self) {
        let event = self.with_reload(|reload, context| reload.advance(context));
        self.queue.extend(event);
    }

    fn with_reload<T>(
        &mut self,
        act: impl FnOnce(&mut ReloadTransaction<'_>, &reload::Context<'_>) -> T,
    ) -> T {
        let context = reload::Context {
            arguments: &self.origin.arguments,
            registry: self.poller.registry(),
            token: RELOAD,
            settings: &self.settings,
            listeners: self.sockets.listeners(),
            now: clock::now(),
        };
        act(&mut self.reload, &context)
    }

    fn commit(&mut self) {
        let Some(Pending { settings, plan, .. }) = self.reload.commit() else {
            return;
        };
        self.sockets.commit(plan, &self.settings, &settings);
        warn_of_boot_settings(&self.settings, &settings);
        let before = std::mem::replace(&mut self.settings, settings);
        let registry = self.poller.registry();
        self.watcher.renew(&before, &self.settings, registry, WATCH);
    }

    fn discard(&mut self) {
        let Some(settings) = self.reload.discard(&self.settings) else {
            return;
        };
        if !logs::are_same(&settings, &self.settings) {
            match Logs::start(&self.settings) {
                Ok(logs) => self.logs = logs,
                Err(error) => {
                    log::error(format_args!("cannot go back to the old log files: {error}"));
                }
            }
        }
    }

    /// What a successor gets: with `in_place` everything.
    fn handover(&self, in_place: bool) -> io::Result<Handover> {
        let state = || -> io::Result<InPlaceState> {
            // Written and read again: what is handed over is what can be read.
            let brain = serde_json::to_value(&self.brain)?;
            Ok(InPlaceState {
                brain: serde_json::from_value(brain)?,
                children: SavedChildren::save(&self.children),
                settings: self.settings.clone(),
                scoreboard: self.memory.number(),
                totals: self.memory.totals(),
                reports: self.reports.numbers(),
                is_announced: self.manager.is_announced(),
                control_socket: self.control.as_ref().map(|one| one.path().to_owned()),
            })
        };
        Ok(Handover::new(
            self.sockets.saved_listeners(),
            self.sockets.queue_numbers(),
            in_place.then(state).transpose()?,
        ))
    }

    fn upgrade(&mut self) {
        if self.successor.is_some() {
            return;
        }
        let begun = match self.settings.upgrade {
            UpgradeMode::Beside => self.upgrade_beside(),
            UpgradeMode::InPlace => self.begin_upgrade_in_place(),
        };
        if let Err(error) = begun {
            self.upgrade_failed(&error);
        }
    }

    fn upgrade_failed(&mut self, error: &io::Error) {
        let what = format!("{}: {error}", self.origin.program.display());
        self.queue.push_back(Event::UpgradeNotStarted(what));
    }

    fn upgrade_beside(&mut self) -> io::Result<()> {
        self.call_hook(HookEvent::PreExec);
        let pid = upgrade::start_beside(&self.origin, &self.handover(false)?)?;
        self.children.upgrade = Some(pid);
        self.queue.push_back(Event::UpgradeStarted(pid));
        Ok(())
    }

    fn begin_upgrade_in_place(&mut self) -> io::Result<()> {
        let handover = self.handover(true)?;
        let registry = self.poller.registry();
        let begun = InPlaceUpgrade::begin(&self.origin, handover, registry, UPGRADE)?;
        self.successor = Some(begun);
        Ok(())
    }

    /// Goes on with an upgrade in place once the new build has answered. Does not return if it takes over.
    fn advance_upgrade(&mut self) -> io::Result<()> {
        let Some(successor) = &mut self.successor else {
            return Ok(());
        };
        let Some(answer) = successor.poll(clock::now()) else {
            return Ok(());
        };
        let Some(successor) = self.successor.take() else {
            return Ok(());
        };
        // What has come by now belongs into the hand-over.
        self.take_reports()?;
        self.drain_queue();
        let blocked = BlockedSignals::new()?;
        let concluded = answer.and_then(|()| self.conclude_upgrade(successor, &blocked));
        drop(blocked);
        if let Err(error) = concluded {
            self.upgrade_failed(&error);
        }
        Ok(())
    }

    fn conclude_upgrade(
        &mut self,
        successor: InPlaceUpgrade,
        blocked: &BlockedSignals,
    ) -> io::Result<()> {
        if self.brain.phase() != Phase::Running || self.brain.is_stop_delayed() {
            return Err(io::Error::other("rcorn is stopping"));
        }
        if self.brain.is_reloading() {
            return Err(io::Error::other("a reload is under way"));
        }
        // Signals that came before they were blocked would be lost with our pipe: they have their turn first.
        let late = self.poller.take_signals();
        if !late.is_empty() {
            let orders = late.into_iter().filter(|one| *one != Signal::SIGCHLD);
            orders.for_each(|signal| self.take_order(signal));
            self.children.reap(&mut self.queue)?;
            return self.begin_upgrade_in_place();
        }
        let current = self.handover(true)?;
        let registry = self.poller.registry();
        match successor.conclude(current, &self.origin, registry, UPGRADE)? {
            Err(again) => self.successor = Some(again),
            Ok(checked) => {
                // A client that waits for a reload that is over would lose its connection.
                self.answer_waiting_clients();
                let program = self.origin.program.display();
                log::info(format_args!("Upgrading in place: {program}"));
                match upgrade::replace(&self.origin, &checked, blocked)? {}
            }
        }
        Ok(())
    }

    /// When the arbiter that started us beside itself is gone, its place is ours.
    fn check_predecessor(&mut self) {
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
        if let Some(file) = self.pid_file.take() {
            file.remove_or_warn();
            match self.settings.pidfile.as_deref().map(PidFile::create) {
                Some(Ok(file)) => self.pid_file = Some(file),
                Some(Err(error)) => log::error(format_args!("{error}")),
                None => {}
            }
        }
    }

    /// What `ps` shows.
    fn name_process(&self) {
        let settings = &self.settings;
        let name = settings.process_name();
        let second = if self.predecessor.is_some() { ".2" } else { "" };
        process::set_title(&format!("rcorn: master [{name}{second}]"));
    }

    fn serve_client(&mut self, token: usize) {
        let Some(control) = &mut self.control else {
            return;
        };
        let request = match control.receive(token) {
            None => return,
            Some(Err(text)) => return control.answer(token, &Answer::failed(text)),
            Some(Ok(request)) => request,
        };
        let has_stacks = |pid| self.children.stack_dump(pid).is_some();
        match decide(&request, &self.brain, has_stacks) {
            Decision::Status => {
                let status = Some(self.view().status());
                let answer = Answer {
                    status,
                    ..Answer::done("")
                };
                self.answer(token, &answer);
            }
            Decision::Refuse(text) => self.answer(token, &Answer::failed(text)),
            Decision::Order(order, text) => {
                log::info(format_args!("Control: {text}"));
                self.answer(token, &Answer::done(text));
                self.queue.push_back(Event::Ordered(order));
            }
            Decision::ReloadAndWait => {
                log::info(format_args!("Control: reload"));
                self.wait_for(token, Waits::Reload);
                self.reload.outcome = None;
                self.queue.push_back(Event::Ordered(Order::Reload));
            }
            Decision::DumpStacks(pid) => {
                self.children.request_stacks(pid);
                let due = clock::now().after(STACKS_INTERVAL);
                self.wait_for(token, Waits::Stacks(pid, due, STACKS_MORE_LOOKS));
            }
        }
    }

    fn view(&self) -> View<'_> {
        View {
            arbiter: &self.brain,
            settings: &self.settings,
            sockets: &self.sockets,
            memory: &self.memory,
            last_reload: self.reload.outcome.as_ref(),
            now: clock::now(),
        }
    }

    fn answer(&mut self, token: usize, answer: &Answer) {
        if let Some(control) = &mut self.control {
            control.answer(token, answer);
        }
    }

    fn wait_for(&mut self, token: usize, waits: Waits) {
        if let Some(control) = &mut self.control {
            control.wait(token, waits);
        }
    }

    /// Answers the clients whose time has come.
    fn answer_waiting_clients(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        let children = &self.children;
        let stacks = |pid| children.stack_dump(pid).map(read_stacks);
        control.answer_stacks(clock::now(), STACKS_INTERVAL, stacks);
        let is_stopping = self.brain.phase() != Phase::Running;
        let is_over = !self.brain.is_reloading() && !self.brain.is_on_probation();
        if is_over || is_stopping {
            let outcome = self.reload.outcome.clone();
            let outcome = outcome.or_else(|| is_stopping.then(|| Err("rcorn is stopping".into())));
            if let Some(outcome) = outcome {
                control.answer_reload(outcome);
            }
        }
    }

    /// Leaves nothing behind.
    pub(super) fn tidy_up(&mut self) {
        if !self.shares_sockets() {
            self.sockets.tidy_up();
        }
        if let Some(control) = self.control.take() {
            control.remove_file();
        }
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.remove_or_warn();
        }
    }
}
