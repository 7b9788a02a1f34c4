//! The settings of a reload, as a transaction: they are read and checked, then either put into
//! force or discarded. Helper processes evaluate a Python file and look up names, while the arbiter
//! continues.

use mio::{Registry, Token};

use rcorn_arbiter::{Event, Generation};
use rcorn_front_link::Tls;
use rcorn_log::{self as log, AccessForm};
use rcorn_settings::{Effect, Error, Resolved, Settings, Sources, TABLE};
use rcorn_types::{Monotonic, with_remedy};

use super::evaluate::Evaluation;
use super::front::{CertificateCheck, FrontProgram, Reading};
use super::listener::Listener;
use super::lookup::{Found, Lookup};
use super::origin::Origin;
use super::owner::Owner;
use super::plan::Plan;
use super::policy::policy;

/// Reads the sources of settings again.
pub type ReadSources<'a> = &'a dyn Fn() -> Result<Box<Sources<'static>>, Error>;

/// Settings that were read, and are on trial until their template and workers have proved
/// themselves.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    /// The owner of new files.
    pub(super) owner: Owner,
    /// Certificates, if an address speaks TLS.
    pub(super) tls: Option<Tls>,
    /// Known once its template was ordered.
    generation: Option<Generation>,
}

/// The stage of the transaction.
#[derive(Debug)]
enum Stage {
    /// No reload, or one whose settings are in force.
    Idle,
    /// A Python file is evaluated.
    Evaluating(Box<Sources<'static>>, Evaluation),
    /// The names of `bind`, and user and group, are looked up.
    LookingUp(Box<Settings>, Lookup),
    /// The files of certificates are read.
    Reading(Box<Settings>, Found, Reading),
    /// Certificates are checked.
    Checking(Box<Checked>),
    /// The new settings are on trial.
    Loaded(Box<Pending>),
}

/// What waits for the check of certificates.
#[derive(Debug)]
struct Checked {
    settings: Settings,
    found: Found,
    tls: Tls,
    check: CertificateCheck,
}

/// What becomes of a stage.
#[derive(Debug)]
enum Step {
    /// It goes on when a helper has answered.
    Waits(Stage),
    /// The next one begins.
    GoesOn(Stage),
    /// The settings are checked, or cannot be loaded.
    Ends(Event),
}

/// The context of a reload.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// How this process was started.
    pub(super) origin: &'a Origin,
    /// The registry in which helpers are waited for, and their token.
    pub(super) registry: &'a Registry,
    pub(super) token: Token,
    /// The settings in force.
    pub(super) settings: &'a Settings,
    pub(super) listeners: &'a [Listener],
    /// The executable of fronts.
    pub(super) program: &'a FrontProgram,
    pub(super) now: Monotonic,
}

/// The reload that is under way, and how the last one ended.
pub(super) struct ReloadTransaction<'a> {
    read_sources: ReadSources<'a>,
    stage: Stage,
    /// How the last reload ended: in one line, with success or without.
    pub(super) outcome: Option<Result<String, String>>,
}

impl<'a> ReloadTransaction<'a> {
    pub(super) fn new(read_sources: ReadSources<'a>) -> Self {
        Self {
            read_sources,
            stage: Stage::Idle,
            outcome: None,
        }
    }

    /// Reads the settings again. The event is returned now, or by [`Self::advance`].
    pub(super) fn begin(&mut self, context: &Context<'_>) -> Option<Event> {
        self.discard(context.settings);
        match self.try_begin(context) {
            Ok(()) => self.advance(context),
            Err(error) => Some(not_loaded(&error)),
        }
    }

    fn try_begin(&mut self, context: &Context<'_>) -> Result<(), Error> {
        let sources = (self.read_sources)()?;
        self.stage = match sources.python_file() {
            None => look_up(sources.resolve(None)?, context),
            Some(file) => {
                let evaluation = Evaluation::start(&file, context.origin)?;
                if let Err(error) = evaluation.register(context.registry, context.token) {
                    log::error(format_args!("cannot wait for the config file: {error}"));
                }
                Stage::Evaluating(sources, evaluation)
            }
        };
        Ok(())
    }

    /// Continues if a helper has answered or is late; returns the event once the settings are
    /// checked.
    pub(super) fn advance(&mut self, context: &Context<'_>) -> Option<Event> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Idle);
            match self.step(stage, context) {
                Step::Waits(stage) => {
                    self.stage = stage;
                    return None;
                }
                Step::GoesOn(stage) => self.stage = stage,
                Step::Ends(event) => return Some(event),
            }
        }
    }

    fn step(&mut self, stage: Stage, context: &Context<'_>) -> Step {
        match stage {
            Stage::Evaluating(sources, mut evaluation) => match evaluation.poll(context.now) {
                None => Step::Waits(Stage::Evaluating(sources, evaluation)),
                Some(answer) => {
                    let resolved = answer.and_then(|answer| sources.resolve(Some(&answer)));
                    match resolved {
                        Ok(resolved) => Step::GoesOn(look_up(resolved, context)),
                        Err(error) => Step::Ends(not_loaded(&error)),
                    }
                }
            },
            Stage::LookingUp(settings, mut lookup) => match lookup.poll(context.now) {
                None => Step::Waits(Stage::LookingUp(settings, lookup)),
                Some(found) if settings.has_fronts() => read_certificates(settings, found, context),
                Some(found) => Step::Ends(self.check(*settings, found, None, context)),
            },
            Stage::Reading(settings, found, mut reading) => match reading.poll(context.now) {
                None => Step::Waits(Stage::Reading(settings, found, reading)),
                // Without TLS (h2c) there is nothing to check.
                Some(Ok(tls)) if tls.sites.is_empty() => {
                    Step::Ends(self.check(*settings, found, Some(tls), context))
                }
                Some(Ok(tls)) => check_certificates(settings, found, tls, context),
                Some(Err(text)) => Step::Ends(Event::NotLoaded(text)),
            },
            Stage::Checking(mut checked) => match checked.check.poll(context.now) {
                None => Step::Waits(Stage::Checking(checked)),
                Some(Ok(())) => {
                    let Checked {
                        settings,
                        found,
                        tls,
                        check,
                    } = *checked;
                    drop(check);
                    Step::Ends(self.check(settings, found, Some(tls), context))
                }
                Some(Err(text)) => Step::Ends(Event::NotLoaded(text)),
            },
            Stage::Idle | Stage::Loaded(_) => Step::Waits(stage),
        }
    }

    /// Sockets for new addresses are opened at once, so that a failure shows before anything
    /// changes.
    fn check(
        &mut self,
        settings: Settings,
        found: Found,
        tls: Option<Tls>,
        context: &Context<'_>,
    ) -> Event {
        match check(&settings, found, context.listeners) {
            Ok((plan, owner)) => {
                let policy = policy(&settings);
                self.stage = Stage::Loaded(Box::new(Pending {
                    settings,
                    plan,
                    owner,
                    tls,
                    generation: None,
                }));
                Event::Loaded(policy)
            }
            Err(text) => {
                enter_directory(context.settings);
                Event::NotLoaded(text)
            }
        }
    }

    /// When a helper is given up.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        match &self.stage {
            Stage::Evaluating(_, evaluation) => Some(evaluation.deadline()),
            Stage::LookingUp(_, lookup) => Some(lookup.deadline()),
            Stage::Reading(_, _, reading) => Some(reading.deadline()),
            Stage::Checking(checked) => Some(checked.check.deadline()),
            Stage::Idle | Stage::Loaded(_) => None,
        }
    }

    /// The settings on trial, if they are those of this generation: the first one that asks. While
    /// a reload is on trial, the generation before may need a template too, with its own
    /// settings.
    pub(super) fn pending_for(&mut self, generation: Generation) -> Option<&Pending> {
        let Stage::Loaded(pending) = &mut self.stage else {
            return None;
        };
        pending.generation.get_or_insert(generation);
        (pending.generation == Some(generation)).then_some(&**pending)
    }

    /// The settings on trial.
    pub(super) fn on_trial(&self) -> Option<&Pending> {
        match &self.stage {
            Stage::Loaded(pending) => Some(pending),
            Stage::Idle
            | Stage::Evaluating(..)
            | Stage::LookingUp(..)
            | Stage::Reading(..)
            | Stage::Checking(..) => None,
        }
    }

    /// Takes the settings on trial, to put them into force.
    pub(super) fn commit(&mut self) -> Option<Pending> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Loaded(pending) => Some(*pending),
            Stage::Idle
            | Stage::Evaluating(..)
            | Stage::LookingUp(..)
            | Stage::Reading(..)
            | Stage::Checking(..) => None,
        }
    }

    /// Discards the new settings; returns them if they were on trial. Those in force stay.
    pub(super) fn discard(&mut self, in_force: &Settings) -> Option<Settings> {
        let Pending { settings, plan, .. } = self.commit()?;
        plan.discard();
        enter_directory(in_force);
        Some(settings)
    }
}

/// Looks up the names in the settings, once these are resolved.
fn look_up(resolved: Resolved, context: &Context<'_>) -> Stage {
    for warning in &resolved.warnings {
        log::warning(format_args!("{warning}"));
    }
    let settings = Box::new(resolved.settings);
    let lookup = Lookup::start(&settings, None, context.registry, context.token);
    Stage::LookingUp(settings, lookup)
}

/// Reads the files of certificates.
fn read_certificates(settings: Box<Settings>, found: Found, context: &Context<'_>) -> Step {
    let reading = Reading::start(&settings).and_then(|reading| {
        reading.register(context.registry, context.token)?;
        Ok(reading)
    });
    match reading {
        Ok(reading) => Step::GoesOn(Stage::Reading(settings, found, reading)),
        Err(error) => Step::Ends(Event::NotLoaded(format!(
            "cannot read certificates: {}",
            with_remedy(&error)
        ))),
    }
}

/// Lets a front look at them.
fn check_certificates(
    settings: Box<Settings>,
    found: Found,
    tls: Tls,
    context: &Context<'_>,
) -> Step {
    let check = CertificateCheck::start(context.program, &tls).and_then(|check| {
        check.register(context.registry, context.token)?;
        Ok(check)
    });
    match check {
        Ok(check) => Step::GoesOn(Stage::Checking(Box::new(Checked {
            settings: *settings,
            found,
            tls,
            check,
        }))),
        Err(error) => Step::Ends(Event::NotLoaded(format!(
            "cannot check certificates: {}",
            with_remedy(&error)
        ))),
    }
}

fn check(
    settings: &Settings,
    found: Found,
    listeners: &[Listener],
) -> Result<(Plan, Owner), String> {
    let owner = found.owner?;
    AccessForm::of(settings).map_err(|error| format!("--access-logformat: {error}"))?;
    std::env::set_current_dir(&settings.chdir)
        .map_err(|error| format!("cannot change to {}: {error}", settings.chdir.display()))?;
    let plan = Plan::make(settings, listeners, &found.addresses, owner);
    let plan = plan.map_err(|error| error.to_string())?;
    Ok((plan, owner))
}

/// The working directory is that of the settings in force.
fn enter_directory(settings: &Settings) {
    if let Err(error) = std::env::set_current_dir(&settings.chdir) {
        log::warning(format_args!(
            "cannot go back to {}: {error}",
            settings.chdir.display()
        ));
    }
}

fn not_loaded(error: &Error) -> Event {
    if let Some(detail) = error.detail() {
        log::error(format_args!("{}", detail.trim_end()));
    }
    let hint = error.hint().map(|hint| format!("; {hint}"));
    Event::NotLoaded(format!("{error}{}", hint.unwrap_or_default()))
}

/// Logs which changed settings have no effect before a restart.
pub(super) fn warn_of_boot_settings(before: &Settings, now: &Settings) {
    let is_changed = |row: &&rcorn_settings::Setting| {
        row.effect == Effect::Boot && (row.value)(now) != (row.value)(before)
    };
    let changed: Vec<&str> = TABLE
        .iter()
        .filter(is_changed)
        .map(|row| row.name)
        .collect();
    if !changed.is_empty() {
        log::warning(format_args!(
            "These settings keep their values until a restart: {}",
            changed.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use mio::Poll;
    use rcorn_settings::{self as settings, Address, Invocation, Value};
    use rcorn_sys::clock;

    use super::*;

    const TOKEN: Token = Token(1);

    /// Settings of a command line.
    fn sources(words: &[&str]) -> Result<Box<Sources<'static>>, Error> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match settings::collect(words.into_iter(), &|_name| None, PathBuf::from("/"))? {
            Invocation::Serve(sources) => Ok(sources),
            Invocation::Print(_) | Invocation::Generate(_) => panic!("no settings"),
        }
    }

    fn in_force() -> Settings {
        Settings {
            chdir: PathBuf::from("/"),
            ..Settings::default()
        }
    }

    /// Runs a reload with these sources until it has an event.
    fn load(transaction: &mut ReloadTransaction<'_>, poll: &Poll) -> Event {
        let in_force = in_force();
        let origin = Origin::of_process(&[], Path::new("/")).unwrap();
        let program = FrontProgram::new(&[]);
        let context = |now| Context {
            origin: &origin,
            registry: poll.registry(),
            token: TOKEN,
            settings: &in_force,
            listeners: &[],
            program: &program,
            now,
        };
        let mut event = transaction.begin(&context(clock::now()));
        while event.is_none() {
            assert!(transaction.deadline().is_some(), "something is waited for");
            event = transaction.advance(&context(clock::now()));
        }
        event.unwrap()
    }

    #[test]
    fn settings_on_trial_belong_to_the_generation_that_asks_first() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let bind = format!("unix:{}", socket.display());
        let read = || sources(&["-w", "3", "-b", &bind, "m:app"]);
        let mut transaction = ReloadTransaction::new(&read);
        let poll = Poll::new().unwrap();
        let event = load(&mut transaction, &poll);
        assert!(matches!(event, Event::Loaded(policy) if policy.workers == 3));
        assert!(transaction.deadline().is_none());
        assert!(transaction.pending_for(Generation(2)).is_some());
        assert!(transaction.pending_for(Generation(1)).is_none());
        assert!(socket.exists());
        let given_up = transaction.discard(&in_force()).unwrap();
        assert_eq!(given_up.bind, [Address::parse(&bind).ok().unwrap()]);
        assert!(!socket.exists());
        assert!(transaction.commit().is_none());
    }

    #[test]
    fn a_reload_that_replaces_one_on_trial_takes_its_sockets_back() {
        let folder = tempfile::tempdir().unwrap();
        let name = std::cell::Cell::new("a");
        let path = |name: &str| folder.path().join(name);
        let read = || {
            let bind = format!("unix:{}", path(name.get()).display());
            sources(&["-b", &bind, "m:app"])
        };
        let mut transaction = ReloadTransaction::new(&read);
        let poll = Poll::new().unwrap();
        load(&mut transaction, &poll);
        name.set("b");
        load(&mut transaction, &poll);
        assert!(!path("a").exists() && path("b").exists());
        let pending = transaction.commit().unwrap();
        let mut listeners = Vec::new();
        pending.plan.commit(&mut listeners);
        assert_eq!(listeners.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_or_checked_changes_nothing() {
        let poll = Poll::new().unwrap();
        // That of the settings in force, to which other tests may have changed already.
        let directories = [std::env::current_dir().unwrap(), PathBuf::from("/")];
        for (words, reason) in [
            (&["--workers", "many", "m:app"][..], "workers"),
            (&["--chdir", "/nonexistent", "m:app"], "/nonexistent"),
            (
                &["-b", "no.such.name.invalid:1", "m:app"],
                "no.such.name.invalid",
            ),
            (&["--access-logformat", "%(", "m:app"], "access-logformat"),
        ] {
            let read = || sources(words);
            let mut transaction = ReloadTransaction::new(&read);
            let event = load(&mut transaction, &poll);
            assert!(
                matches!(&event, Event::NotLoaded(text) if text.contains(reason)),
                "{event:?}"
            );
            assert!(transaction.commit().is_none());
            assert!(directories.contains(&std::env::current_dir().unwrap()));
        }
    }
}
