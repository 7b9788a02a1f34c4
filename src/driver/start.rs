//! From settings to the running loop, and from its end to the exit code: what is done once.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::Signal;

use crate::arbiter::{Arbiter, Event, Outcome};
use crate::log;
use crate::settings::Settings;
use crate::sys::clock;
use crate::sys::process;
use crate::sys::scoreboard::Scoreboard;

use super::children::{self, Children};
use super::interpreter::{self, InterpreterError, Places};
use super::listeners::{self, ListenError, Listener};
use super::logs::Logs;
use super::notify::Notify;
use super::perform::policy;
use super::pidfile::{PidFile, PidFileError};
use super::postmortem::OutOfMemory;
use super::signals::Signals;
use super::{Driver, Reload};

/// Cells of the scoreboard: the highest number of workers that settings allow, and room for replacements.
const MOST_WORKERS: u16 = 4096 + 64;
/// gunicorn's patience with an address in use.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No Python.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// Another instance.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// A log file, a user or a group.
    #[error("{0}")]
    Logs(String),
    /// The working directory.
    #[error("cannot change to {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The listeners; the log says more.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A signal ended the start.
    #[error("stopped while starting")]
    Stopped,
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Interpreter(error) => Some(error.hint()),
            Self::PidFile(PidFileError::Running(..)) => {
                Some("stop the other instance, or give another path with --pid".into())
            }
            Self::PidFile(PidFileError::Write { .. }) => {
                Some("make its folder, or give another path with --pid".into())
            }
            Self::Logs(_) => {
                Some("check --error-logfile, --access-logfile, --user and --group".into())
            }
            Self::Directory { .. } => Some("check --chdir: it must exist and be readable".into()),
            Self::Listen(ListenError::InUse { .. }) => Some(
                "another server has this address; stop it, or choose another with --bind".into(),
            ),
            Self::Listen(ListenError::Refused { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(
                    "ports below 1024 and others' folders need rights that this user does not have"
                        .into(),
                )
            }
            Self::Listen(_) => Some("check --bind".into()),
            Self::Stopped | Self::System { .. } => None,
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// Runs the server to its end; gives the exit code.
pub fn run(settings: Settings, argv: Vec<String>, reload: Reload<'_>) -> Result<u8, StartError> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    std::env::set_current_dir(&settings.chdir).map_err(|source| StartError::Directory {
        path: settings.chdir.clone(),
        source,
    })?;
    let python = interpreter::find(&Places {
        chosen: settings.python.clone(),
        executable: std::env::current_exe().ok(),
        virtual_env: environment("VIRTUAL_ENV").map(PathBuf::from),
        path: std::env::var_os("PATH"),
    })?;
    let logs = Logs::open(&settings).map_err(StartError::Logs)?;
    logs.use_here(&settings)
        .map_err(system("use the error log"))?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| system("become a subreaper")(errno.into()))?;
    let mut signals = Signals::install().map_err(system("install signal handlers"))?;
    log::info(format_args!("Starting rcorn {}", env!("CARGO_PKG_VERSION")));
    let pid_file = settings
        .pidfile
        .as_deref()
        .map(PidFile::create)
        .transpose()?;
    let listeners = match first_listeners(&settings, &environment, &mut signals) {
        Ok(listeners) => listeners,
        Err(error) => {
            if let Some(pid_file) = pid_file {
                drop(pid_file.remove());
            }
            return if matches!(error, StartError::Stopped) {
                Ok(0)
            } else {
                Err(error)
            };
        }
    };
    announce(&listeners);
    log::info(format_args!("Using worker: {}", settings.worker_class));
    let name = settings.proc_name.clone().unwrap_or_else(|| {
        settings
            .wsgi_app
            .as_ref()
            .map_or_else(|| "rcorn".to_owned(), ToString::to_string)
    });
    process::title(&format!("rcorn: master [{name}]"));
    let (scoreboard, scoreboard_fd) =
        Scoreboard::create(MOST_WORKERS).map_err(system("make the scoreboard"))?;
    let first = Event::Started(policy(&settings));
    let mut driver = Driver {
        brain: Arbiter::new(clock::monotonic()),
        poll: Poll::new().map_err(system("make an epoll set"))?,
        signals,
        reports: children::pair().map_err(system("make a socket pair"))?,
        lot: children::pair().map_err(system("make a socket pair"))?,
        scoreboard,
        scoreboard_fd,
        children: Children::default(),
        listeners,
        settings,
        pending: None,
        reload,
        python,
        argv,
        logs,
        notify: Notify::new(environment("NOTIFY_SOCKET")),
        pid_file,
        announced: false,
        out_of_memory: OutOfMemory::find(),
        queue: [first].into(),
        outcome: None,
    };
    let outcome = driver.work().map_err(system("go on"));
    driver.tidy_up();
    Ok(match outcome? {
        Outcome::Asked => 0,
        Outcome::Refused => 1,
        Outcome::NoBoot => 3,
        Outcome::NoApp => 4,
    })
}

/// gunicorn's start line: `Listening at: http://127.0.0.1:8000 (4711)`.
fn announce(listeners: &[Listener]) {
    let shown: Vec<&str> = listeners.iter().map(Listener::shown).collect();
    log::info(format_args!(
        "Listening at: {} ({})",
        shown.join(","),
        std::process::id()
    ));
}

/// The first sockets. An address in use is tried again for some seconds: a predecessor may just be leaving.
fn first_listeners(
    settings: &Settings,
    environment: &dyn Fn(&str) -> Option<String>,
    signals: &mut Signals,
) -> Result<Vec<Listener>, StartError> {
    let given = listeners::from_systemd(environment, std::process::id())?;
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        process::unset_variable(name);
    }
    if !given.is_empty() {
        return Ok(given);
    }
    let mut listeners = Vec::new();
    for attempt in 1..=ATTEMPTS {
        match listeners::plan(settings, &[]) {
            Ok(plan) => {
                plan.commit(&mut listeners);
                return Ok(listeners);
            }
            Err(ListenError::InUse { address, source }) => {
                log::error(format_args!("Connection in use: {address}"));
                log::error(format_args!(
                    "connection to {address} failed: [Errno {}] Address already in use",
                    source.raw_os_error().unwrap_or(nix::libc::EADDRINUSE)
                ));
                if attempt == ATTEMPTS {
                    log::error(format_args!("Can't connect to {address}"));
                    return Err(ListenError::InUse { address, source }.into());
                }
                pause(signals)?;
            }
            Err(error) => {
                log::error(format_args!("{error}"));
                return Err(error.into());
            }
        }
    }
    Ok(listeners)
}

/// Waits for the next attempt, or for a signal that ends the start.
fn pause(signals: &mut Signals) -> Result<(), StartError> {
    let mut wait = || -> io::Result<bool> {
        let mut poll = Poll::new()?;
        poll.registry()
            .register(signals.source(), Token(0), Interest::READABLE)?;
        let due = clock::monotonic()
            .saturating_add(u64::try_from(BETWEEN_ATTEMPTS.as_nanos()).unwrap_or(0));
        let mut stopped = false;
        while !stopped {
            let left = due.saturating_sub(clock::monotonic());
            if left == 0 {
                break;
            }
            match poll.poll(
                &mut Events::with_capacity(4),
                Some(Duration::from_nanos(left)),
            ) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            stopped = signals
                .take()
                .iter()
                .any(|signal| [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].contains(signal));
        }
        poll.registry().deregister(signals.source())?;
        Ok(stopped)
    };
    if wait().map_err(system("wait"))? {
        Err(StartError::Stopped)
    } else {
        Ok(())
    }
}

impl Driver<'_> {
    /// Leaves nothing behind.
    fn tidy_up(&mut self) {
        for listener in &mut self.listeners {
            listener.remove_file();
            listener.open_the_door();
        }
        if let Some(pid_file) = self.pid_file.take()
            && let Err(error) = pid_file.remove()
        {
            log::warning(format_args!("cannot remove the pid file: {error}"));
        }
    }
}
