//! The fronts: children that speak TLS with clients and pass requests on to the workers. There are
//! some only if an address speaks TLS. The arbiter reads their certificates, gives them listeners,
//! the inner socket to the workers and the keys of session tickets, and starts one again that has
//! ended. They are no part of the brain: nothing that it decides depends on them.

mod attempts;
mod certificates;
mod check;
mod configuration;
mod context;
mod exits;
mod inner;
mod process;
mod program;
mod renewals;
mod saved;
mod start;
mod tickets;
mod watch;

use std::io;
use std::time::Duration;

use rcorn_arbiter::{Exit, Pid};
use rcorn_control::FrontStatus;
use rcorn_front_link::{CertificateFacts, FromFront, TicketKey, Tls, ToFront};
use rcorn_link as link;
use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_sys::clock;
use rcorn_types::{Monotonic, with_remedy};

use super::owner::Owner;
use attempts::Attempts;
use configuration::configuration;
use inner::InnerSocket;
use process::{Counters, EXIT_GRACE, FrontProcess, Stage};
use renewals::Renewals;
use start::{SetKey, start_of};
use tickets::Tickets;

pub(super) use certificates::Reading;
pub(super) use check::CertificateCheck;
pub(super) use context::Context;
pub(super) use exits::FrontExits;
pub(super) use program::FrontProgram;
pub(super) use saved::SavedFronts;

/// How long a front may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);
/// One that has served for less than this has failed to start.
const STABLE_TIME: Duration = Duration::from_secs(1);
/// How often fronts are asked how they do.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// A certificate that expires within this time is a warning.
const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);

/// What the arbiter counts itself, beside what fronts do.
const DEATHS: &str = "front_deaths";
const REFUSED_RENEWALS: &str = "refused_renewals";

/// Whether the settings are on trial by which fronts serve.
#[derive(Debug, Default)]
enum Trial {
    /// They are in force.
    #[default]
    None,
    /// They are; with the certificates from before, if there were any.
    Since(Option<Tls>),
}

/// The fronts, and what they have in common.
#[derive(Debug)]
pub(super) struct Fronts {
    program: FrontProgram,
    inner: Option<InnerSocket>,
    tickets: Option<Tickets>,
    /// The certificates in force; `None`: they are not known yet, or there are none.
    tls: Option<Tls>,
    trial: Trial,
    processes: Vec<FrontProcess>,
    /// The set of listeners of those that are wanted. Others leave when one of these serves.
    set: u32,
    /// What makes a set: another user, or other listeners, need other processes.
    set_of: Option<SetKey>,
    renewals: Renewals,
    attempts: Attempts,
    status_due: Option<Monotonic>,
    /// What those that have ended had counted.
    totals: Counters,
    /// How many have ended by themselves.
    deaths: u64,
    /// Why the last one could not start, until one serves.
    refusal: Option<String>,
}

impl Fronts {
    /// None yet.
    pub(super) fn new(program: FrontProgram) -> Self {
        Self {
            program,
            inner: None,
            tickets: None,
            tls: None,
            trial: Trial::None,
            processes: Vec::new(),
            set: 0,
            set_of: None,
            renewals: Renewals::default(),
            attempts: Attempts::default(),
            status_due: None,
            totals: Counters::new(),
            deaths: 0,
            refusal: None,
        }
    }

    /// The executable of fronts.
    pub(super) fn program(&self) -> &FrontProgram {
        &self.program
    }

    /// The listener on which workers with these settings take what fronts pass on.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn inner_listener(
        &mut self,
        settings: &Settings,
        owner: Owner,
    ) -> io::Result<Option<link::Listener>> {
        if !settings.has_fronts() {
            return Ok(None);
        }
        self.inner(settings, owner)
            .map(|inner| Some(inner.for_link()))
    }

    fn inner(&mut self, settings: &Settings, owner: Owner) -> io::Result<&InnerSocket> {
        let inner = match self.inner.take() {
            Some(inner) => inner,
            None => InnerSocket::open(owner, i32::try_from(settings.backlog).unwrap_or(i32::MAX))?,
        };
        Ok(self.inner.insert(inner))
    }

    /// Puts certificates and settings into force. `tls`: those that were read for these settings.
    pub(super) fn apply(
        &mut self,
        tls: Option<Tls>,
        context: &Context<'_>,
        exits: &mut FrontExits,
    ) {
        self.renewals.give_up();
        self.attempts = Attempts::default();
        let Some(tls) = tls.filter(|_| context.settings.has_fronts()) else {
            return self.dismiss(context);
        };
        self.tls = Some(tls);
        self.renewals.watch(context);
        let key = SetKey::of(context);
        if self.set_of.as_ref() == Some(&key) {
            // One that has not begun yet begins with what it was started with.
            self.offer_configuration(context);
        } else {
            self.set_of = Some(key);
            self.set = self.set.saturating_add(1);
        }
        self.start_missing(context, exits);
    }

    /// The settings that are given from now on are on trial.
    pub(super) fn begin_trial(&mut self) {
        self.trial = Trial::Since(self.tls.clone());
    }

    /// Whether they are.
    pub(super) fn are_on_trial(&self) -> bool {
        matches!(self.trial, Trial::Since(_))
    }

    /// They are in force, or given up. Returns the certificates from before the trial.
    pub(super) fn end_trial(&mut self) -> Option<Tls> {
        match std::mem::take(&mut self.trial) {
            Trial::None => None,
            Trial::Since(before) => before,
        }
    }

    /// No address speaks TLS any more.
    fn dismiss(&mut self, context: &Context<'_>) {
        self.tls = None;
        self.set_of = None;
        self.renewals.watch_nothing();
        self.set = self.set.saturating_add(1);
        let grace = context.settings.graceful_timeout.duration();
        self.leave_all(context.now, grace);
    }

    /// Tells all to accept nothing more, and to finish what runs.
    pub(super) fn leave_all(&mut self, now: Monotonic, within: Duration) {
        self.set_of = None;
        self.attempts.due = None;
        self.renewals.give_up();
        for process in &mut self.processes {
            process.leave(now, within);
        }
    }

    /// Starts them again after [`Self::leave_all`], if they are wanted.
    pub(super) fn return_to_work(&mut self, context: &Context<'_>, exits: &mut FrontExits) {
        if self.set_of.is_none() && self.tls.is_some() && context.settings.has_fronts() {
            self.set_of = Some(SetKey::of(context));
            self.set = self.set.saturating_add(1);
            self.start_missing(context, exits);
        }
    }

    /// The keys of session tickets.
    pub(super) fn ticket_keys(&self) -> Vec<TicketKey> {
        let tickets = self.tickets.as_ref();
        tickets.map_or_else(Vec::new, |tickets| tickets.keys().to_vec())
    }

    /// Goes on with those of a predecessor.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn take_ticket_keys(&mut self, keys: Vec<TicketKey>) -> io::Result<()> {
        if !keys.is_empty() {
            self.tickets = Some(Tickets::new(keys, clock::now())?);
        }
        Ok(())
    }

    /// Whether there is one, be it that it leaves.
    pub(super) fn are_there(&self) -> bool {
        !self.processes.is_empty()
    }

    /// Whether the wanted ones serve.
    pub(super) fn all_serve(&self) -> bool {
        let mut current = self.current().peekable();
        current.peek().is_some() && current.all(|process| process.stage == Stage::Serving)
    }

    /// Why the last one could not start.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    fn current(&self) -> impl Iterator<Item = &FrontProcess> {
        let is_current = |process: &&FrontProcess| {
            process.set == self.set && !matches!(process.stage, Stage::Leaving(_))
        };
        self.processes.iter().filter(is_current)
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let processes = self.processes.iter().filter_map(|one| match one.stage {
            Stage::Starting => Some(one.begun.after(START_LIMIT)),
            Stage::Leaving(until) => Some(until),
            Stage::Serving => None,
        });
        let others = [
            self.attempts.due,
            self.status_due,
            self.renewals.deadline(),
            self.tickets.as_ref().map(Tickets::deadline),
        ];
        // Of those that leave nothing else is wanted.
        let others = others.into_iter().flatten();
        let others = others.filter(|_| self.set_of.is_some());
        processes.chain(others).min()
    }

    /// Takes what fronts say and what has become of them, and does what is due.
    pub(super) fn advance(&mut self, context: &Context<'_>, exits: &mut FrontExits) {
        self.listen(context);
        for (pid, exit) in exits.take() {
            self.ended(pid, exit, context.now);
        }
        self.end_late_ones(context.now);
        if self.set_of.is_none() {
            return;
        }
        self.start_missing(context, exits);
        self.renew(context);
        self.rotate_tickets(context.now);
        if self.status_due.is_none_or(|due| due <= context.now) {
            self.status_due = Some(context.now.after(STATUS_INTERVAL));
            self.send_all(&ToFront::Status);
        }
    }

    fn send_all(&mut self, message: &ToFront) {
        for process in &mut self.processes {
            if process.stage == Stage::Serving {
                process.send(message);
            }
        }
    }

    fn listen(&mut self, context: &Context<'_>) {
        let mut processes = std::mem::take(&mut self.processes);
        for process in &mut processes {
            match process.receive() {
                Ok(messages) => {
                    for message in messages {
                        self.take(process, message);
                    }
                    if process.has_closed() && process.stage == Stage::Starting {
                        let ended = || "a front has ended before it could serve".to_owned();
                        self.refusal.get_or_insert_with(ended);
                    }
                }
                Err(error) => {
                    let pid = process.pid;
                    log::error(format_args!(
                        "Front (pid:{pid}) cannot be understood: {error}; it is started again"
                    ));
                    process.kill();
                }
            }
        }
        // Those of other sets leave once all that are wanted serve.
        let is_current = |one: &&FrontProcess| one.set == self.set;
        let mut current = processes.iter().filter(is_current).peekable();
        let are_served = current.peek().is_some() && current.all(|one| one.stage == Stage::Serving);
        if are_served {
            let grace = context.settings.graceful_timeout.duration();
            for old in processes.iter_mut().filter(|one| one.set != self.set) {
                old.leave(context.now, grace);
            }
        }
        self.processes = processes;
    }

    fn take(&mut self, process: &mut FrontProcess, message: FromFront) {
        let pid = process.pid;
        match message {
            FromFront::Log { level, text } => {
                log::record(level, format_args!("Front (pid:{pid}): {text}"));
            }
            FromFront::Status {
                counters,
                connections,
            } => {
                process.counters = counters;
                process.connections = connections;
            }
            FromFront::Ready { certificates } => {
                if process.stage == Stage::Starting {
                    process.stage = Stage::Serving;
                    self.refusal = None;
                    log::info(format_args!("Front serving (pid:{pid})"));
                }
                if process.certificates != certificates {
                    tell_expiry(&certificates);
                    process.certificates = certificates;
                }
                self.take_answer(None);
            }
            FromFront::Refused { reason } if process.stage == Stage::Starting => {
                log::error(format_args!("Front (pid:{pid}) cannot start: {reason}"));
                self.refusal = Some(reason);
            }
            FromFront::Refused { reason } => self.take_answer(Some(reason)),
            FromFront::Checked { .. } => {}
        }
    }

    /// A front has answered whether it takes what it was offered.
    fn take_answer(&mut self, refused: Option<String>) {
        if let Some(tls) = self.renewals.answered(refused) {
            self.tls = Some(tls);
        }
    }

    /// Notes the end of a front.
    fn ended(&mut self, pid: Pid, exit: Exit, now: Monotonic) {
        let place = self.processes.iter().position(|one| one.pid == pid);
        let Some(place) = place else {
            return;
        };
        let process = self.processes.remove(place);
        for (name, count) in &process.counters {
            let total = self.totals.entry(name.clone()).or_default();
            *total = total.saturating_add(*count);
        }
        match process.stage {
            Stage::Leaving(_) => {
                log::info(format_args!("Front exited (pid:{pid})"));
            }
            Stage::Starting | Stage::Serving => {
                self.deaths = self.deaths.saturating_add(1);
                let has_served =
                    process.stage == Stage::Serving && now.since(process.begun) >= STABLE_TIME;
                let pause = self.attempts.ended(has_served, now);
                let when = if pause.is_zero() {
                    "it is started again".to_owned()
                } else {
                    format!("it is started again in {} ms", pause.as_millis())
                };
                let what = with_cause(exit);
                log::error(format_args!("Front (pid:{pid}) {what}; {when}"));
                self.renewals.take_offer_back();
            }
        }
    }

    fn end_late_ones(&mut self, now: Monotonic) {
        for process in &mut self.processes {
            match process.stage {
                Stage::Leaving(until) if until <= now => {
                    process.kill();
                    process.stage = Stage::Leaving(now.after(EXIT_GRACE));
                }
                Stage::Starting if now.since(process.begun) >= START_LIMIT => {
                    let (pid, limit) = (process.pid, START_LIMIT.as_secs());
                    log::error(format_args!(
                        "Front (pid:{pid}) does not serve after {limit} s, and is killed"
                    ));
                    process.kill();
                    process.begun = now;
                }
                Stage::Starting | Stage::Serving | Stage::Leaving(_) => {}
            }
        }
    }

    /// Starts those that are missing, if it is time.
    fn start_missing(&mut self, context: &Context<'_>, exits: &mut FrontExits) {
        if self.attempts.due.is_some_and(|due| due > context.now) {
            return;
        }
        let wanted = usize::try_from(context.settings.fronts).unwrap_or(1);
        let missing = wanted.saturating_sub(self.current().count());
        if missing == 0 {
            self.attempts.due = None;
            return;
        }
        let Some(tls) = self.tls.clone() else {
            // After an upgrade in place they are not known before the reload that follows.
            return;
        };
        for _ in 0..missing {
            let started = self.start_one(tls.clone(), context);
            match started {
                Ok(process) => {
                    exits.add(process.pid);
                    self.processes.push(process);
                    self.attempts.due = None;
                }
                Err(error) => {
                    let reason = with_remedy(&error);
                    log::error(format_args!("A front cannot be started: {reason}"));
                    self.refusal = Some(reason);
                    self.attempts.ended(false, context.now);
                    return;
                }
            }
        }
    }

    fn start_one(&mut self, tls: Tls, context: &Context<'_>) -> io::Result<FrontProcess> {
        let inner = self.inner(context.settings, context.owner)?;
        let inner = inner.inode().try_clone_to_owned()?;
        let tickets = match self.tickets.take() {
            Some(tickets) => tickets,
            None => Tickets::new(Vec::new(), context.now)?,
        };
        let tickets = self.tickets.insert(tickets);
        let (start, descriptors) = start_of(context, tls, tickets.keys(), inner)?;
        let start = ToFront::Start(Box::new(start));
        let process = FrontProcess::start(&self.program, &start, descriptors, self.set)?;
        if let Err(error) = process.register(context.registry, context.token) {
            process.kill();
            return Err(error);
        }
        Ok(process)
    }

    /// Tells all how to serve from now on.
    fn offer_configuration(&mut self, context: &Context<'_>) {
        let Some(tls) = self.tls.clone() else {
            return;
        };
        let reload = self.reload_with(tls, context);
        for process in &mut self.processes {
            if !matches!(process.stage, Stage::Leaving(_)) {
                process.send(&reload);
            }
        }
    }

    fn reload_with(&self, tls: Tls, context: &Context<'_>) -> ToFront {
        let keys = self.tickets.as_ref().map_or(&[][..], Tickets::keys);
        let configuration = configuration(context.settings, tls, keys);
        ToFront::Reload(Box::new(configuration))
    }

    /// Reads certificates whose files have changed, and offers them to those that serve.
    fn renew(&mut self, context: &Context<'_>) {
        let Some(tls) = self.renewals.poll(context) else {
            return;
        };
        if self.tls.as_ref() == Some(&tls) {
            return;
        }
        let serving = self.processes.iter();
        let serving = serving.filter(|one| one.stage == Stage::Serving).count();
        if serving == 0 {
            // The next one shows whether they can be used.
            self.tls = Some(tls);
            return;
        }
        let reload = self.reload_with(tls.clone(), context);
        self.send_all(&reload);
        self.renewals.offer(tls, serving);
    }

    fn rotate_tickets(&mut self, now: Monotonic) {
        let Some(tickets) = &mut self.tickets else {
            return;
        };
        match tickets.rotate(now) {
            Ok(false) => {}
            Ok(true) => {
                let keys = tickets.keys().to_vec();
                self.send_all(&ToFront::TicketKeys(keys));
            }
            Err(error) => log::error(format_args!("there is no new key for tickets: {error}")),
        }
    }

    /// Ends all at once.
    pub(super) fn kill_all(&mut self) {
        for process in self.processes.drain(..) {
            process.kill_child();
        }
    }

    /// How they do.
    pub(super) fn status(&self, now: Monotonic) -> Vec<FrontStatus> {
        let processes = self.processes.iter().map(|process| FrontStatus {
            pid: process.pid.0,
            stage: match process.stage {
                Stage::Starting => "starting",
                Stage::Serving => "serving",
                Stage::Leaving(_) => "leaving",
            }
            .to_owned(),
            age: now.since(process.begun).as_secs_f64(),
            connections: process.connections,
        });
        processes.collect()
    }

    /// What all have counted, those that have ended, too.
    pub(super) fn counters(&self) -> Counters {
        let mut sums = self.totals.clone();
        for process in &self.processes {
            for (name, count) in &process.counters {
                let sum = sums.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        if self.set_of.is_some() {
            sums.insert(DEATHS.to_owned(), self.deaths);
            sums.insert(REFUSED_RENEWALS.to_owned(), self.renewals.refused);
        }
        sums
    }

    /// The certificates in force.
    pub(super) fn certificates(&self) -> &[CertificateFacts] {
        let mut serving = self.processes.iter().rev();
        let serving = serving.find(|one| one.stage == Stage::Serving);
        serving.map_or(&[], |one| &one.certificates)
    }
}

/// What the end of a front was, in words.
fn with_cause(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    }
}

/// Says which certificates expire soon.
fn tell_expiry(certificates: &[CertificateFacts]) {
    for certificate in certificates {
        let left = certificate.not_after.saturating_sub(clock::wall().0);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        let days = left.as_secs().div_euclid(24 * 60 * 60);
        let (file, names) = (&certificate.certfile, certificate.names.join(", "));
        if left < EXPIRY_WARNING {
            log::warning(format_args!(
                "The certificate {file} ({names}) expires in {days} days; hint: renew it, it is read again by itself"
            ));
        } else {
            log::info(format_args!(
                "Certificate {file} ({names}), valid for {days} days"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_nothing_is_due() {
        let fronts = Fronts::new(FrontProgram::new(&[]));
        assert_eq!(fronts.deadline(), None);
        assert!(!fronts.are_there() && fronts.counters().is_empty());
        assert!(SavedFronts::save(&fronts).is_none());
    }

    #[test]
    fn a_front_that_is_neither_contained_nor_beside_is_named() {
        let error = FrontProgram::new(&[]).path().unwrap_err().to_string();
        assert!(
            error.contains("/rcorn-front: ") && error.contains("hint: "),
            "{error}"
        );
    }
}
