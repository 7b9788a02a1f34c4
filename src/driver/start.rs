//! From settings to the running loop, and from its end to the exit code: what is done once.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use mio::Poll;
use nix::sys::signal::SigSet;

use rcorn_arbiter::{Arbiter, Event, Order, Outcome};
use rcorn_log::{self as log, AccessFormat};
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::Settings;
use rcorn_sys::clock;
use rcorn_sys::process;

use super::background::Background;
use super::bind;
use super::children::{self, Children};
use super::control::Control;
use super::error::StartError;
use super::family::take_over;
use super::handover::Handover;
use super::interpreter;
use super::listeners::Listener;
use super::logs::Logs;
use super::native::NativeModule;
use super::notify::Notify;
use super::perform::policy;
use super::pidfile::PidFile;
use super::postmortem::OutOfMemory;
use super::signals::Signals;
use super::upgrade::name_beside;
use super::{Driver, Reload};

/// Cells of the scoreboard: the highest number of workers that settings allow, and room for replacements.
const MOST_WORKERS: u16 = 4096 + 64;

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// How this process was started: what a successor needs.
#[derive(Debug)]
pub struct Origin {
    /// The executable, as it would be found now.
    pub program: PathBuf,
    /// All words of the command line.
    pub arguments: Vec<OsString>,
    /// The directory it was started in.
    pub directory: PathBuf,
}

/// What the server starts with.
#[derive(Debug)]
pub struct Launch {
    /// The settings.
    pub settings: Settings,
    /// The native module.
    pub module: NativeModule,
    /// How this process was started.
    pub origin: Origin,
    /// What a predecessor left, at an upgrade.
    pub handover: Option<Handover>,
    /// Set free once the addresses are bound: then this process is in the background.
    pub background: Option<Background>,
}

impl Launch {
    /// The arbiter that started us beside itself.
    fn predecessor(&self) -> Option<i32> {
        let beside = self
            .handover
            .as_ref()
            .filter(|handover| handover.settings().is_none());
        beside.map(|handover| handover.from)
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs the server to its end; gives the exit code.
pub fn run(launch: Launch, reload: Reload<'_>) -> Result<u8, StartError> {
    let file_log = launch.settings.errorlog.path().is_some();
    let result = run_to_end(launch, reload);
    // Under a supervisor or in the background nobody sees standard error.
    if let Err(error) = &result
        && file_log
    {
        log::critical(format_args!("{error}"));
    }
    result
}

fn run_to_end(launch: Launch, reload: Reload<'_>) -> Result<u8, StartError> {
    let ready = prepare(&launch)?;
    let predecessor = launch.predecessor();
    let pid_file = launch.settings.pidfile.as_deref();
    let pid_file = pid_file.map(|path| PidFile::create(&name_beside(path, predecessor.is_some())));
    let pid_file = pid_file.transpose()?;
    // What fails from here on takes the pid file with it.
    let driver = assemble(launch, ready, reload).inspect_err(|_error| {
        if let Some(pid_file) = &pid_file {
            drop(pid_file.remove());
        }
    });
    let mut driver = match driver {
        Ok(driver) => driver,
        Err(StartError::Stopped) => return Ok(0),
        Err(error) => return Err(error),
    };
    driver.pid_file = pid_file;
    driver.name_process();
    let outcome = driver.work().map_err(system("go on"));
    driver.tidy_up();
    Ok(match outcome? {
        Outcome::Asked => 0,
        Outcome::Refused => 1,
        Outcome::NoBoot => 3,
        Outcome::NoApp => 4,
    })
}

/// What does not touch anything that others can see.
struct Ready {
    logs: Logs,
    signals: Signals,
}

fn prepare(launch: &Launch) -> Result<Ready, StartError> {
    let settings = &launch.settings;
    std::env::set_current_dir(&settings.chdir).map_err(|source| StartError::Directory {
        path: settings.chdir.clone(),
        source,
    })?;
    // Each template looks for its own; that there is none is said before anything else is begun.
    let found = interpreter::look_for(settings.python.clone())?;
    AccessFormat::compile(&settings.access_log_format).map_err(StartError::AccessFormat)?;
    let logs = open_logs(settings)?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| system("become a subreaper")(errno.into()))?;
    let signals = Signals::install().map_err(system("install signal handlers"))?;
    // A predecessor in whose place we are held them back until our handlers stood.
    SigSet::empty()
        .thread_set_mask()
        .map_err(|errno| system("let signals in")(errno.into()))?;
    log::info(format_args!("Starting rcorn {}", env!("CARGO_PKG_VERSION")));
    for missed in found.missed {
        log::warning(format_args!(
            "There is no {missed}: the app runs with {}; hint: activate an environment that exists, unset VIRTUAL_ENV, or give \
             --python PATH",
            found.python.display()
        ));
    }
    Ok(Ready { logs, signals })
}

fn open_logs(settings: &Settings) -> Result<Logs, StartError> {
    let logs = Logs::open(settings).map_err(StartError::Logs)?;
    logs.use_here(settings)
        .map_err(system("use the error log"))?;
    Ok(logs)
}

/// Sockets, and all that the loop needs.
fn assemble(launch: Launch, ready: Ready, reload: Reload<'_>) -> Result<Driver<'_>, StartError> {
    let predecessor = launch.predecessor();
    let Launch {
        module,
        settings,
        origin,
        handover,
        background,
    } = launch;
    let Ready {
        mut logs,
        mut signals,
    } = ready;
    let handed = handover.as_ref().map(Handover::adopt_listeners).transpose();
    let handed = handed.map_err(system("take over the sockets"))?;
    let mut listeners = bind::first_listeners(
        &settings,
        &environment,
        &mut signals,
        handed.unwrap_or_default(),
    )?;
    let control = Control::open(&settings, &environment, predecessor.is_some());
    let control = control.map_err(StartError::Control)?;
    announce(&listeners, &settings);
    let notify = Notify::new(&environment);
    notify.store(&mut listeners);
    log::info(format_args!("Using worker: {}", settings.worker_class));
    if let Some(background) = background {
        background
            .enter()
            .map_err(system("go into the background"))?;
        // The standard streams lead nowhere now.
        logs = open_logs(&settings)?;
    }
    let shared = Shared::new(handover.as_ref()).map_err(system("make what is shared"))?;
    let whole = handover.and_then(|handover| handover.whole);
    let (brain, mut children, announced, first) = match whole {
        None => {
            let first = Event::Started(policy(&settings));
            let brain = Arbiter::new(clock::monotonic());
            (brain, Children::default(), false, first)
        }
        Some(whole) => {
            let children =
                Children::unpack(whole.family).map_err(system("take over the workers"))?;
            // The new build proves itself by an ordinary reload; the old workers serve meanwhile.
            let first = Event::Ordered(Order::Reload);
            (whole.brain, children, whole.announced, first)
        }
    };
    children.module = module;
    Ok(Driver {
        brain,
        poll: Poll::new().map_err(system("make an epoll set"))?,
        signals,
        reports: shared.reports,
        lot: shared.lot,
        scoreboard: shared.scoreboard,
        scoreboard_fd: shared.scoreboard_fd,
        children,
        listeners,
        settings,
        pending: None,
        reload,
        loading: None,
        origin,
        logs,
        notify,
        control,
        predecessor: predecessor.map(|pid| (pid, process::watch(pid).ok())),
        pid_file: None,
        started: announced,
        announced,
        reloading: false,
        last_reload: None,
        out_of_memory: OutOfMemory::find(),
        watch: None,
        queue: [first].into(),
        outcome: None,
    })
}

/// What arbiter, templates and workers share: made anew, or taken over.
struct Shared {
    scoreboard: Scoreboard,
    scoreboard_fd: OwnedFd,
    reports: (OwnedFd, OwnedFd),
    lot: (OwnedFd, OwnedFd),
}

impl Shared {
    fn new(handover: Option<&Handover>) -> io::Result<Self> {
        let both = |pair: (RawFd, RawFd)| -> io::Result<(OwnedFd, OwnedFd)> {
            Ok((take_over(pair.0)?, take_over(pair.1)?))
        };
        let lot = match handover {
            Some(handover) => both(handover.lot)?,
            None => children::pair()?,
        };
        let Some(whole) = handover.and_then(|handover| handover.whole.as_ref()) else {
            let (scoreboard, scoreboard_fd) = Scoreboard::create(MOST_WORKERS)?;
            return Ok(Self {
                scoreboard,
                scoreboard_fd,
                reports: children::pair()?,
                lot,
            });
        };
        let scoreboard_fd = take_over(whole.scoreboard)?;
        Ok(Self {
            scoreboard: Scoreboard::open(scoreboard_fd.as_fd())?,
            scoreboard_fd,
            reports: both(whole.reports)?,
            lot,
        })
    }
}

/// gunicorn's start line: `Listening at: http://127.0.0.1:8000 (4711)`.
fn announce(listeners: &[Listener], settings: &Settings) {
    let shown: Vec<String> = listeners
        .iter()
        .map(|listener| listener.shown(settings))
        .collect();
    log::info(format_args!(
        "Listening at: {} ({})",
        shown.join(","),
        std::process::id()
    ));
}

impl Driver<'_> {
    /// What `ps` shows.
    pub(super) fn name_process(&self) {
        let settings = &self.settings;
        let name = settings.proc_name.clone().unwrap_or_else(|| {
            let app = settings.wsgi_app.as_ref();
            app.map_or_else(|| "rcorn".to_owned(), ToString::to_string)
        });
        let second = if self.predecessor.is_some() { ".2" } else { "" };
        process::title(&format!("rcorn: master [{name}{second}]"));
    }

    /// Leaves nothing behind.
    fn tidy_up(&mut self) {
        let shared = self.shares_sockets();
        for listener in &mut self.listeners {
            if !shared {
                listener.remove_file();
                listener.open_the_door();
            }
        }
        if let Some(control) = self.control.take() {
            control.remove_file();
        }
        if let Some(pid_file) = self.pid_file.take()
            && let Err(error) = pid_file.remove()
        {
            log::warning(format_args!("cannot remove the pid file: {error}"));
        }
    }
}
