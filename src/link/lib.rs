//! The words between arbiter, template and workers: one enum for each direction.
//!
//! Arbiter → template: [`Start`] in a sealed memfd at exec, then one [`Command`] a datagram on the command
//! socket. Template and workers → arbiter: one [`Report`] a datagram on the report socket, which all of them
//! share. JSON, because these are rare and must be readable in a trace.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::sys::socket::MsgFlags;
use rcorn_sys::passing::send_with;
use serde::{Deserialize, Serialize};

use rcorn_settings::{Protocol, Settings};

/// Longest datagram on either socket, in bytes. A longer summary is cut before sending.
pub const LONGEST: usize = 16 * 1024;

/// The exit code of a check that has imported the app: none that a program ends with by itself.
pub const IMPORTED: i32 = 113;

/// All that a template needs to know, given at exec.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The settings of this generation.
    pub settings: Settings,
    /// Which generation the template is.
    pub generation: u32,
    /// Inherited listening sockets, in the order of `bind`.
    pub listeners: Vec<Listener>,
    /// The scoreboard's memfd.
    pub scoreboard: RawFd,
    /// The command socket (datagrams in).
    pub commands: RawFd,
    /// The report socket (datagrams out).
    pub reports: RawFd,
    /// Both ends of the lot: the queue through which workers hand connections to each other
    /// (write end, read end).
    pub lot: (RawFd, RawFd),
    /// The memfd into which the template writes where its threads are, when asked to.
    pub testimony: RawFd,
    /// Where error-log lines go.
    pub error_log: RawFd,
    /// Where access-log lines go, when there is an access log.
    pub access_log: Option<RawFd>,
    /// The arbiter's pid: a worker whose parent is another leaves.
    pub arbiter: i32,
    /// `sys.argv` for the app: rcorn's own command line.
    pub argv: Vec<String>,
    /// Where rcorn was started: a Python config file is executed there.
    pub directory: PathBuf,
    /// What this template is started for.
    pub occasion: Occasion,
}

/// What a template is started for: tells which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    /// The server starts.
    Boot,
    /// It reloads.
    Reload,
    /// The template before has ended.
    Again,
}

impl Start {
    /// The orders of a process that serves nothing: no sockets, nothing shared.
    #[must_use]
    pub fn of(settings: &Settings, arguments: &[OsString]) -> Self {
        Self {
            settings: settings.clone(),
            generation: 0,
            listeners: Vec::new(),
            scoreboard: -1,
            commands: -1,
            reports: -1,
            lot: (-1, -1),
            testimony: -1,
            error_log: -1,
            access_log: None,
            arbiter: i32::try_from(std::process::id()).unwrap_or(0),
            argv: arguments
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            directory: PathBuf::new(),
            occasion: Occasion::Again,
        }
    }
}

/// One inherited listening socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Its descriptor.
    pub fd: RawFd,
    /// What kind of peers it has.
    pub kind: ListenerKind,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// `SERVER_NAME`: the host it is bound to; empty for unix sockets.
    pub host: String,
    /// `SERVER_PORT`: empty for unix sockets.
    pub port: String,
}

/// The families rcorn listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerKind {
    /// IPv4 or IPv6 TCP.
    Tcp,
    /// A unix stream socket.
    Unix,
}

/// Arbiter → template. End of file on the command socket means: leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Fork a worker with this id onto this scoreboard slot.
    Fork {
        /// The worker's id.
        id: u64,
        /// Its scoreboard slot.
        slot: u16,
        /// The app must answer `reload_probe` before the worker is ready.
        probe: bool,
    },
    /// Reopen the log files by path.
    Reopen,
    /// Run this hook of a `gunicorn.conf.py`.
    Hook(Moment),
}

/// What happened to the arbiter that a hook wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// A worker has ended.
    ChildExit {
        /// Its id, in the order of forks.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// Another number of workers is wanted.
    WorkersChanged {
        /// The number now.
        now: u32,
        /// The number before.
        before: u32,
    },
    /// A new rcorn is about to be started beside this one.
    PreExec,
    /// All workers have ended.
    Exit,
}

/// Template or worker → arbiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The template can fork.
    TemplateReady {
        /// Its generation.
        generation: u32,
    },
    /// The template could not load; it leaves after this.
    TemplateFailed {
        /// Its generation.
        generation: u32,
        /// Why.
        failure: Failure,
    },
    /// The order to fork was carried out. Comes with the memfd of the worker's testimony.
    Forked {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// The order to fork could not be carried out.
    ForkFailed {
        /// The worker's id.
        id: u64,
        /// The reason, one line.
        reason: String,
    },
    /// The worker accepts requests.
    Ready {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// The worker could not boot; it leaves after this.
    BootFailed {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
        /// Why.
        failure: Failure,
    },
    /// With `reload`: where the app's modules were loaded from. One report of several.
    Imported {
        /// The places, none that belong to an installation.
        places: Vec<Place>,
    },
    /// The worker has served `max_requests`, or has grown too much, and asks to be replaced.
    WantsRetirement {
        /// The worker's id.
        id: u64,
        /// How much memory it has, in KiB, if that is why.
        memory: Option<u64>,
    },
}

/// A directory with Python code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// With all directories below it: a package, or an entry of `sys.path`.
    pub whole: bool,
}

/// Why something did not boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// gunicorn's exit code for it: 3 (boot), 4 (app), 1 (host).
    pub code: i32,
    /// One line.
    pub summary: String,
}

/// Sends a report to the arbiter.
///
/// # Errors
///
/// Those of sendmsg(2): the arbiter is gone.
pub fn report(reports: BorrowedFd<'_>, report: &Report) -> io::Result<()> {
    report_with(reports, report, None)
}

/// Sends a report to the arbiter, with a descriptor if there is one.
///
/// # Errors
///
/// Those of sendmsg(2): the arbiter is gone.
pub fn report_with(
    reports: BorrowedFd<'_>,
    report: &Report,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let text = serde_json::to_vec(report).map_err(io::Error::other)?;
    send_with(
        reports,
        &[IoSlice::new(&text)],
        descriptor,
        MsgFlags::empty(),
    )
}
