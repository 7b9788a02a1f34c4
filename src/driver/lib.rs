//! The hands: the arbiter's process. One loop on mio: signals, reports of templates and workers, the brain's
//! deadline; each becomes an event, each event a step of the brain, each step's actions are carried out
//! (`perform.rs`). Nothing else waits, nothing sleeps. Called by `main.rs`; knows no Python.
#![forbid(unsafe_code)]

mod background;
mod bind;
mod check;
mod children;
mod control;
mod error;
mod evaluate;
mod family;
mod handover;
mod interpreter;
mod listeners;
mod load;
mod logs;
mod native;
mod notify;
mod obey;
mod open;
mod perform;
mod pidfile;
mod postmortem;
mod reports;
mod signals;
mod start;
mod status;
mod upgrade;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::{Arbiter, Event, Generation, Order, Outcome};
use rcorn_link::HookEvent;
use rcorn_log as log;
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::{Error, Settings, Sources};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use children::Children;
use control::Control;
use evaluate::Evaluation;
use listeners::{Listener, Plan};
use logs::Logs;
use notify::Notify;
use pidfile::PidFile;
use postmortem::OutOfMemory;
pub use signals::HEEDED;
use signals::Signals;
use watch::Watch;

pub use background::Background;
pub use check::check;
pub use error::StartError;
pub use evaluate::evaluate;
pub use handover::{Handover, PROTOCOL};
pub use interpreter::InterpreterError;
pub use interpreter::find_for as python;
pub use native::NativeModule;
pub use start::{Launch, Origin, run};
pub use upgrade::PROTOCOL_FLAG;

const SIGNALS: Token = Token(0);
const REPORTS: Token = Token(1);
const CONTROL: Token = Token(2);
const PREDECESSOR: Token = Token(3);
const EVALUATION: Token = Token(4);
const WATCH: Token = Token(5);
/// Tokens from here on are clients of the control socket.
const FIRST_CLIENT: usize = 16;

/// Settings that were read and wait for their template to prove itself.
#[derive(Debug)]
struct Pending {
    settings: Settings,
    plan: Plan,
    /// Known from the order to start its template on.
    generation: Option<Generation>,
}

/// Gathers anew what the operator says.
pub type Reload<'a> = &'a dyn Fn() -> Result<Box<Sources<'static>>, Error>;

/// The arbiter's process.
pub(crate) struct Driver<'a> {
    brain: Arbiter,
    poll: Poll,
    signals: Signals,
    reports: (OwnedFd, OwnedFd),
    lot: (OwnedFd, OwnedFd),
    scoreboard: Scoreboard,
    scoreboard_fd: OwnedFd,
    children: Children,
    listeners: Vec<Listener>,
    settings: Settings,
    pending: Option<Pending>,
    reload: Reload<'a>,
    /// A Python file that is evaluated for a reload.
    loading: Option<(Box<Sources<'static>>, Evaluation)>,
    origin: Origin,
    logs: Logs,
    notify: Notify,
    control: Option<Control>,
    /// The arbiter that started us beside itself, and what tells of its end.
    predecessor: Option<(i32, Option<OwnedFd>)>,
    pid_file: Option<PidFile>,
    /// A template was started once.
    started: bool,
    /// Something was ready once: the service manager knows.
    announced: bool,
    /// The service manager was told of a reload that is not over.
    reloading: bool,
    /// How the last reload ended.
    last_reload: Option<Result<String, String>>,
    out_of_memory: OutOfMemory,
    /// With `reload`.
    watch: Option<Watch>,
    queue: VecDeque<Event>,
    outcome: Option<Outcome>,
}

/// The clock of the brain.
fn now() -> Monotonic {
    clock::now()
}

/// What a signal orders.
fn order(signal: Signal) -> Option<Order> {
    let orders = [
        (Signal::SIGTERM, Order::Stop),
        (Signal::SIGINT, Order::Quit),
        (Signal::SIGQUIT, Order::Quit),
        (Signal::SIGHUP, Order::Reload),
        (Signal::SIGTTIN, Order::More),
        (Signal::SIGTTOU, Order::Fewer),
        (Signal::SIGUSR1, Order::Reopen),
        (Signal::SIGUSR2, Order::Upgrade),
    ];
    orders
        .into_iter()
        .find_map(|(known, order)| (known == signal).then_some(order))
}

impl Driver<'_> {
    /// The loop.
    fn work(&mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(64);
        self.poll
            .registry()
            .register(self.signals.source(), SIGNALS, Interest::READABLE)?;
        let reports = self.reports.0.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&reports), REPORTS, Interest::READABLE)?;
        if let Some(control) = &mut self.control {
            self.poll
                .registry()
                .register(control.source(), CONTROL, Interest::READABLE)?;
        }
        if let Some((_, Some(end))) = &self.predecessor {
            let end = end.as_raw_fd();
            self.poll
                .registry()
                .register(&mut SourceFd(&end), PREDECESSOR, Interest::READABLE)?;
        }
        self.notify.ask_for_time(self.boot_limit());
        self.begin_watch();
        // Whoever ended while a new build took this process over was not heard.
        self.children.reap(&mut self.queue)?;
        loop {
            self.drain_queue();
            if let Some(outcome) = self.outcome {
                return Ok(outcome);
            }
            self.notify.show_life(now());
            self.answer_waiting();
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Edge-triggered, and cheap: look at both sources each time.
            self.hear_reports()?;
            self.hear_signals()?;
            self.look_after_predecessor();
            self.hear_evaluation();
            for event in &events {
                self.hear_other(event.token());
            }
            self.look_at_files();
            if self.brain.deadline().is_some_and(|due| due <= now()) {
                self.look_at_scoreboard();
                self.queue.push_back(Event::Tick);
            }
        }
    }

    /// How long to wait at most: for ever, when nothing is due.
    fn patience(&self) -> Option<Duration> {
        let control = self.control.as_ref().and_then(Control::deadline);
        let loading = self.loading.as_ref().map(|(_, loading)| loading.deadline);
        let watch = self.watch.as_ref().and_then(Watch::deadline);
        let due = [
            self.brain.deadline(),
            self.notify.deadline(),
            control,
            loading,
            watch,
        ];
        due.into_iter().flatten().min().map(|due| {
            // Rounded up to what epoll counts in, so that it is due when we wake.
            due.since(now()).saturating_add(Duration::from_micros(999))
        })
    }

    /// Longest time from now to a worker that is ready; `None`: no limit.
    fn boot_limit(&self) -> Option<Duration> {
        // A template, then a worker.
        let limit = self.settings.boot_timeout.limit()?;
        Some(limit.saturating_mul(2))
    }

    fn hear_other(&mut self, token: Token) {
        match token {
            SIGNALS | REPORTS | PREDECESSOR | EVALUATION => {}
            WATCH => self.hear_watch(),
            CONTROL => {
                if let Some(control) = &mut self.control {
                    control.accept(self.poll.registry());
                }
            }
            Token(client) => self.hear_client(client),
        }
    }

    fn note_signal(&self, signal: Signal) {
        let name = signal
            .as_str()
            .trim_start_matches("SIG")
            .to_ascii_lowercase();
        if signal != Signal::SIGWINCH || self.may_dismiss() {
            log::info(format_args!("Handling signal: {name}"));
        } else {
            // A terminal that changes its size is no news.
            log::debug(format_args!("Handling signal: {name}"));
            log::debug(format_args!("SIGWINCH ignored. Not daemonized"));
        }
    }

    /// WINCH also comes from terminals: it counts where there is none, or while another arbiter serves.
    fn may_dismiss(&self) -> bool {
        self.settings.daemon || self.brain.upgrade().is_some()
    }

    fn drain_queue(&mut self) {
        let mut actions = Vec::new();
        for (pid, id) in std::mem::take(&mut self.children.ended) {
            self.hook(HookEvent::ChildExit {
                id: id.0,
                pid: pid.0,
            });
        }
        while let Some(event) = self.queue.pop_front() {
            if self.outcome.is_some() {
                return;
            }
            self.brain.step(now(), event, &mut actions);
            for action in actions.drain(..) {
                self.perform(action);
            }
            self.announce();
        }
    }

    fn hear_signals(&mut self) -> io::Result<()> {
        for signal in self.signals.take() {
            if signal == Signal::SIGCHLD {
                // What they reported before they ended is heard first.
                self.hear_reports()?;
                self.children.reap(&mut self.queue)?;
            } else {
                self.note_signal(signal);
                let order = if signal == Signal::SIGWINCH {
                    self.may_dismiss().then_some(Order::Dismiss)
                } else {
                    order(signal)
                };
                self.queue.extend(order.map(Event::Ordered));
            }
            // In the order they came, each with its consequences.
            self.drain_queue();
        }
        Ok(())
    }

    /// When each worker's request in hand began.
    fn look_at_scoreboard(&mut self) {
        for (id, slot) in self.children.serving() {
            let Some(cell) = self.scoreboard.cell(slot.0) else {
                continue;
            };
            let since = cell
                .silent_since()
                .map(|since| Monotonic::from_nanos(since));
            self.queue.push_back(Event::Beat(id, since));
        }
    }
}
