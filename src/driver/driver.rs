//! The loop of the arbiter's process. It waits for signals, reports, clients, helpers, changed
//! files and deadlines; each becomes an event, each event a step of the arbiter, and each step's
//! actions are carried out by the hands (`hands.rs`). Nothing else waits, nothing sleeps.

use std::io;
use std::time::Duration;

use mio::{Interest, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::{Arbiter, Event, Order, Outcome, Phase};
use rcorn_control::Answer;
use rcorn_link::HookEvent;
use rcorn_log as log;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::captured_output::CapturedOutput;
use super::control::{ControlServer, FIRST_CLIENT, Waits};
use super::hands::{CONTROL, Context, FRONTS, Hands, TELEMETRY, UPGRADE, WATCH};
use super::in_hand::name_threads;
use super::monitor::MonitorServer;
use super::policy::boot_limit;
use super::poller::Poller;
use super::postmortem::read_stacks;
use super::reports::{self, Meaning, ReportSocket};
use super::requests::{Decision, decide};
use super::signals::order;
use super::upgrade::{self, BlockedSignals, InPlaceUpgrade};
use super::watch::describe_changes;

const REPORTS: Token = Token(1);
const PREDECESSOR: Token = Token(3);

/// How long a process may take to dump its stacks before the first look, and between two looks.
const STACKS_INTERVAL: Duration = Duration::from_millis(100);
/// How many more looks follow the first one if there is no dump yet.
const STACKS_MORE_LOOKS: u32 = 9;

/// The brain, and the sources of its events.
pub(super) struct Core {
    pub(super) brain: Arbiter,
    pub(super) poller: Poller,
    pub(super) reports: reports::Receiver<ReportSocket>,
}

impl Core {
    /// The parts of it that an action may need.
    fn context(&self) -> Context<'_> {
        Context {
            brain: &self.brain,
            registry: self.poller.registry(),
            reports: self.reports.numbers(),
        }
    }
}

/// The loop: what decides, and what acts.
pub(super) struct Driver<'a> {
    pub(super) core: Core,
    pub(super) hands: Hands<'a>,
}

impl Driver<'_> {
    /// The loop.
    ///
    /// # Errors
    ///
    /// Those of the system calls that supervision needs.
    pub(super) fn run(&mut self) -> io::Result<Outcome> {
        self.register_sources()?;
        self.hands.name_process();
        self.hands
            .manager
            .ask_for_time(boot_limit(&self.hands.settings));
        let registry = self.core.poller.registry();
        self.hands
            .watcher
            .begin(&self.hands.settings, registry, WATCH);
        // Children that ended while a new build took over this process: their SIGCHLD is lost.
        self.hands.children.reap(&mut self.hands.queue)?;
        self.drain_queue();
        // Those that came while the sockets were bound.
        self.take_signals()?;
        loop {
            self.drain_queue();
            if let Some(outcome) = self.hands.outcome {
                return Ok(outcome);
            }
            self.hands.manager.show_life(clock::now());
            self.answer_waiting_clients();
            let ready = self.core.poller.wait(self.deadline())?;
            // These are cheap, and checked each time.
            self.take_reports()?;
            self.take_signals()?;
            self.hands.check_predecessor(self.core.poller.registry());
            self.hands.advance_reload(self.core.context());
            self.advance_upgrade()?;
            self.hands.look_for_slow_requests(self.core.context());
            self.hands.try_fronts(self.core.context());
            if ready.contains(&FRONTS) || self.hands.fronts_are_due(clock::now()) {
                self.hands.advance_fronts(self.core.context());
            }
            let sends = self.hands.telemetry.deadline();
            if ready.contains(&TELEMETRY) || sends.is_some_and(|due| due <= clock::now()) {
                self.hands.advance_telemetry(self.core.context());
            }
            for token in ready {
                self.serve(token);
            }
            self.hands.output.turn(self.core.poller.registry());
            self.hands.serve_monitor(self.core.context());
            self.order_reload_for_changes();
            if self
                .core
                .brain
                .deadline()
                .is_some_and(|due| due <= clock::now())
            {
                self.read_scoreboard();
                self.hands.queue.push_back(Event::Tick);
            }
        }
    }

    fn register_sources(&mut self) -> io::Result<()> {
        let registry = self.core.poller.registry();
        self.core.reports.register(registry, REPORTS)?;
        if let Some(control) = &mut self.hands.control {
            registry.register(control.source(), CONTROL, Interest::READABLE)?;
        }
        if let Some(monitor) = &self.hands.monitor {
            monitor.register(registry)?;
        }
        if let Some(predecessor) = &self.hands.predecessor {
            predecessor.register(registry, PREDECESSOR)?;
        }
        self.hands.output.register(registry)?;
        Ok(())
    }

    /// When the next thing is due; `None`: never.
    fn deadline(&self) -> Option<Monotonic> {
        let due = [
            self.core.brain.deadline(),
            self.core.reports.deadline(),
            self.hands.manager.deadline(),
            self.hands
                .control
                .as_ref()
                .and_then(ControlServer::deadline),
            self.hands.reload.deadline(),
            self.hands.fronts.deadline(),
            self.hands.successor.as_ref().map(InPlaceUpgrade::deadline),
            self.hands.watcher.deadline(),
            self.hands.telemetry.deadline(),
            self.hands.output.deadline(),
            self.hands
                .monitor
                .as_ref()
                .and_then(MonitorServer::deadline),
            self.hands.slow.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    fn serve(&mut self, token: Token) {
        match token {
            WATCH => self.hands.watcher.read_events(),
            CONTROL => {
                if let Some(control) = &mut self.hands.control {
                    control.accept(self.core.poller.registry());
                }
            }
            token if MonitorServer::has_token(token) => {
                if let Some(monitor) = &mut self.hands.monitor {
                    monitor.note(token);
                }
            }
            token if CapturedOutput::has_token(token) => self.hands.output.note(token),
            Token(client) if client >= FIRST_CLIENT => self.serve_client(client),
            // It is checked each time.
            Token(_) => {}
        }
    }

    /// Steps the arbiter through all events, and carries its actions out.
    fn drain_queue(&mut self) {
        let mut actions = Vec::new();
        for (pid, id) in std::mem::take(&mut self.hands.children.ended) {
            self.hands.call_hook(HookEvent::ChildExit {
                id: id.0,
                pid: pid.0,
            });
        }
        while let Some(event) = self.hands.queue.pop_front() {
            if self.hands.outcome.is_some() {
                return;
            }
            if let Event::Exited(pid, _) = event {
                // Its last words come before the record of its end.
                self.hands.output.ended(pid, self.core.poller.registry());
            }
            let end = self.hands.count_event(&event, &self.core.brain);
            self.core.brain.step(clock::now(), event, &mut actions);
            let stalls = self.core.brain.retirement_stalls();
            self.hands.memory.set_retirement_stalls(stalls);
            for action in actions.drain(..) {
                self.hands.perform(self.core.context(), action);
            }
            if let Some(end) = end {
                self.hands.tally.ended(end);
            }
            self.hands.inform_manager(self.core.context());
        }
        self.hands.children.decline_offers();
    }

    /// Takes reports in the order of their arrival, each with its consequences: the meaning of one
    /// depends on what was done about those before it.
    fn take_reports(&mut self) -> io::Result<()> {
        for (report, descriptor) in self.core.reports.take(clock::now())? {
            match reports::translate(report, descriptor, &mut self.hands.children) {
                Meaning::Events(events) => self.hands.queue.extend(events),
                Meaning::Imported(directories) => self.hands.watcher.add(directories),
            }
            self.drain_queue();
        }
        Ok(())
    }

    /// Takes signals in the order of their arrival, each with its consequences.
    fn take_signals(&mut self) -> io::Result<()> {
        for signal in self.core.poller.take_signals() {
            if signal == Signal::SIGCHLD {
                // The reports that children sent before they ended come first.
                self.take_reports()?;
                self.hands.children.reap(&mut self.hands.queue)?;
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
        // WINCH also comes from terminals: it is an order where there is none, or while another
        // arbiter serves.
        let is_order = signal != Signal::SIGWINCH
            || self.hands.settings.daemon
            || self.core.brain.upgrade().is_some();
        if is_order {
            log::info(format_args!("Handling signal: {name}"));
            self.hands.queue.extend(order(signal).map(Event::Ordered));
        } else {
            log::debug(format_args!("Handling signal: {name}"));
            log::debug(format_args!("SIGWINCH ignored. Not daemonized"));
        }
    }

    /// Tells the arbiter when the current request of each worker began.
    fn read_scoreboard(&mut self) {
        for (id, cell) in self.hands.children.serving() {
            let since = self.hands.memory.scoreboard().no_progress_since(cell.0);
            self.hands.queue.push_back(Event::Beat(id, since));
        }
    }

    /// Orders a reload when files of the app have changed.
    fn order_reload_for_changes(&mut self) {
        let changes = self.hands.watcher.take_changes(clock::now());
        if self.core.brain.phase() == Phase::Running
            && let Some(line) = describe_changes(&changes)
        {
            log::info(format_args!("{line}"));
            self.hands.queue.push_back(Event::Ordered(Order::Reload));
        }
    }

    /// Continues an upgrade in place once the new build has answered. Does not return if it takes
    /// over.
    fn advance_upgrade(&mut self) -> io::Result<()> {
        let Some(successor) = &mut self.hands.successor else {
            return Ok(());
        };
        let Some(answer) = successor.poll(clock::now()) else {
            return Ok(());
        };
        let Some(successor) = self.hands.successor.take() else {
            return Ok(());
        };
        // Everything that has arrived by now belongs into the hand-over.
        self.take_reports()?;
        self.drain_queue();
        let blocked = BlockedSignals::new()?;
        let concluded = answer.and_then(|()| self.conclude_upgrade(successor, &blocked));
        drop(blocked);
        if let Err(error) = concluded {
            self.hands.upgrade_failed(&error);
        }
        Ok(())
    }

    fn conclude_upgrade(
        &mut self,
        successor: InPlaceUpgrade,
        blocked: &BlockedSignals,
    ) -> io::Result<()> {
        if self.core.brain.phase() != Phase::Running || self.core.brain.is_stop_delayed() {
            return Err(io::Error::other("rcorn is stopping"));
        }
        if self.core.brain.is_reloading() {
            self.hands.queue.push_back(Event::UpgradePutOff);
            return Ok(());
        }
        // Signals that arrived before they were blocked would be lost with our pipe, so they are
        // handled first.
        let late = self.core.poller.take_signals();
        if !late.is_empty() {
            let orders = late.into_iter().filter(|one| *one != Signal::SIGCHLD);
            orders.for_each(|signal| self.take_order(signal));
            self.hands.children.reap(&mut self.hands.queue)?;
            return self.hands.begin_upgrade_in_place(self.core.context());
        }
        let current = self.hands.handover(self.core.context(), true)?;
        let registry = self.core.poller.registry();
        match successor.conclude(current, &self.hands.origin, registry, UPGRADE)? {
            Err(again) => self.hands.successor = Some(again),
            Ok(checked) => {
                // Otherwise a client that waits for a reload that is over would lose its
                // connection.
                self.answer_waiting_clients();
                self.hands.finish_telemetry(self.core.context());
                self.hands.output.save_begun()?;
                let program = self.hands.origin.program.display();
                log::info(format_args!("Upgrading in place: {program}"));
                match upgrade::replace(&self.hands.origin, &checked, blocked)? {}
            }
        }
        Ok(())
    }

    fn serve_client(&mut self, token: usize) {
        let Some(control) = &mut self.hands.control else {
            return;
        };
        let request = match control.receive(token) {
            None => return,
            Some(Err(text)) => return control.answer(token, &Answer::failed(text)),
            Some(Ok(request)) => request,
        };
        let has_stacks = |pid| self.hands.children.stack_dump(pid).is_some();
        let served = |cell| self.hands.memory.counts(cell).requests;
        match decide(&request, &self.core.brain, has_stacks, served) {
            Decision::Status => {
                let status = Some(self.hands.view(self.core.context()).status());
                let answer = Answer {
                    status,
                    ..Answer::done("")
                };
                self.answer(token, &answer);
            }
            Decision::Refuse(text) => self.answer(token, &Answer::failed(text)),
            Decision::Slow => {
                let last = self
                    .hands
                    .slow
                    .last(self.hands.settings.slow_request.limit());
                self.answer(token, &Answer::done(last));
            }
            Decision::Order(order, text) => {
                log::info(format_args!("Control: {text}"));
                self.answer(token, &Answer::done(text));
                self.hands.queue.push_back(Event::Ordered(order));
            }
            Decision::ReloadAndWait => {
                log::info(format_args!("Control: reload"));
                self.wait_for(token, Waits::Reload);
                self.hands.reload.outcome = None;
                self.hands.queue.push_back(Event::Ordered(Order::Reload));
            }
            Decision::ReforkAndWait(id) => {
                log::info(format_args!("Control: refork"));
                self.wait_for(token, Waits::Refork);
                self.hands.refork = None;
                self.hands
                    .queue
                    .push_back(Event::Ordered(Order::Refork(id)));
            }
            Decision::DumpStacks(pid) => {
                self.hands.children.request_stacks(pid);
                let due = clock::now().after(STACKS_INTERVAL);
                self.wait_for(token, Waits::Stacks(pid, due, STACKS_MORE_LOOKS));
            }
        }
    }

    fn answer(&mut self, token: usize, answer: &Answer) {
        if let Some(control) = &mut self.hands.control {
            control.answer(token, answer);
        }
    }

    fn wait_for(&mut self, token: usize, waits: Waits) {
        if let Some(control) = &mut self.hands.control {
            control.wait(token, waits);
        }
    }

    /// Answers the clients whose time has come.
    fn answer_waiting_clients(&mut self) {
        let Some(control) = &mut self.hands.control else {
            return;
        };
        let (children, now) = (&self.hands.children, clock::now());
        let (brain, scoreboard) = (&self.core.brain, self.hands.memory.scoreboard());
        let stacks = |pid| {
            let stacks = read_stacks(children.stack_dump(pid)?);
            let mut workers = brain.workers().iter().map(|(_, worker)| worker);
            Some(
                match workers.find(|worker| worker.stage.pid() == Some(pid)) {
                    Some(worker) => name_threads(&stacks, scoreboard, worker.cell, now),
                    None => stacks,
                },
            )
        };
        control.answer_stacks(now, STACKS_INTERVAL, stacks);
        let is_stopping = self.core.brain.phase() != Phase::Running;
        let is_over = !self.core.brain.is_reloading() && !self.core.brain.is_on_probation();
        if is_over || is_stopping {
            let outcome = self.hands.reload.outcome.clone();
            let outcome = outcome.or_else(|| is_stopping.then(|| Err("rcorn is stopping".into())));
            if let Some(outcome) = outcome {
                control.answer_all(Waits::Reload, outcome);
            }
        }
        let refork = self.hands.refork.clone();
        let refork = refork.or_else(|| is_stopping.then(|| Err("rcorn is stopping".into())));
        if let Some(outcome) = refork {
            control.answer_all(Waits::Refork, outcome);
        }
    }

    /// Leaves nothing behind.
    pub(super) fn tidy_up(&mut self) {
        self.hands.tidy_up(self.core.context());
    }
}
