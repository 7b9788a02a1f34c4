//! The messages between arbiter, template and workers: one enum for each direction.
//!
//! Arbiter → template: [`Start`] in a sealed memfd at exec, then one [`Command`] per datagram on
//! the command socket; a template that was a worker before has made that socket itself. Template
//! and workers → arbiter: one [`Report`] per datagram on the report socket, which all of them
//! share. Messages are JSON: they are rare, and a trace of them can be read.
//!
//! After an upgrade in place a new arbiter talks to templates and workers of the build before. So a
//! name on the wire never changes: a renamed field or variant keeps its old name by
//! `#[serde(rename)]`, a new field has a `#[serde(default)]`. The tests read what the first build
//! (cb54ddf) wrote.
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::sys::socket::MsgFlags;
use rcorn_sys::passing::send_with;
use serde::{Deserialize, Serialize};

use rcorn_settings::{Protocol, Settings};

/// The longest datagram on either socket, in bytes. Texts of a longer report are cut.
pub const MAX_DATAGRAM_BYTES: usize = 16 * 1024;

/// What stands at the end of a text that was cut.
const CUT: &str = "...";
/// Findings in a report that is too long.
const MAX_FINDINGS: usize = 32;

/// The exit code of a `--check-config` process that imported the app: one that no program uses by
/// itself.
pub const IMPORTED_EXIT_CODE: i32 = 113;

/// What a template needs to know, given at exec.
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
    /// The memfd with the cells of threads, if workers have threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<RawFd>,
    /// The command socket (datagrams in).
    pub commands: RawFd,
    /// The report socket (datagrams out).
    pub reports: RawFd,
    /// Both ends of the hand-off queue, through which workers give connections to each other
    /// (write end, read end).
    #[serde(rename = "lot")]
    pub handoff_queue: (RawFd, RawFd),
    /// The memfd into which the template dumps the stacks of its threads on request.
    #[serde(rename = "testimony")]
    pub stack_dump: RawFd,
    /// Where error-log lines go.
    pub error_log: RawFd,
    /// Where access-log lines go, when there is an access log.
    pub access_log: Option<RawFd>,
    /// The socket for messages to syslog and metrics, if either is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<RawFd>,
    /// The memfd in which workers note requests for statsd, if it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<RawFd>,
    /// The memfd in which workers keep lines of the access log until they write them, if there is
    /// an access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_lines: Option<RawFd>,
    /// The socket on which a process sends the pipes of what it prints, if that is captured: a
    /// [`PrintedPipe`] with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RawFd>,
    /// The arbiter's pid. A worker exits when its parent is another process.
    pub arbiter: i32,
    /// `sys.argv` for the app: rcorn's own command line.
    pub argv: Vec<String>,
    /// Where rcorn was started: a Python config file is executed there.
    pub directory: PathBuf,
    /// Why this template is started.
    #[serde(rename = "occasion")]
    pub reason: TemplateReason,
}

/// Why a template is started: decides which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateReason {
    /// The server starts.
    Boot,
    /// The server reloads.
    Reload,
    /// The template before it has ended.
    #[serde(rename = "Again")]
    Replacement,
}

impl Start {
    /// The start message of a process that serves nothing: no sockets, no shared memory.
    #[must_use]
    pub fn of(settings: &Settings, arguments: &[OsString]) -> Self {
        Self {
            settings: settings.clone(),
            generation: 0,
            listeners: Vec::new(),
            scoreboard: -1,
            threads: None,
            commands: -1,
            reports: -1,
            handoff_queue: (-1, -1),
            stack_dump: -1,
            error_log: -1,
            access_log: None,
            relay: None,
            samples: None,
            held_lines: None,
            output: None,
            arbiter: i32::try_from(std::process::id()).unwrap_or(0),
            argv: arguments
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            directory: PathBuf::new(),
            reason: TemplateReason::Replacement,
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
    /// The protocol spoken on it.
    pub protocol: Protocol,
    /// `SERVER_NAME`: the host it is bound to; empty for unix sockets.
    pub host: String,
    /// `SERVER_PORT`: empty for unix sockets.
    pub port: String,
    /// Only fronts connect to it: each request begins with a field that tells of its client.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_inner: bool,
}

/// The address families that rcorn listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerKind {
    /// IPv4 or IPv6 TCP.
    Tcp,
    /// A unix stream socket.
    Unix,
}

/// Arbiter → template. End of file on the command socket means: exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Fork a worker.
    Fork {
        /// The worker's id.
        id: u64,
        /// The index of its scoreboard cell.
        #[serde(rename = "slot")]
        cell: u16,
        /// The app must answer `reload_probe` before the worker is ready.
        probe: bool,
        /// The worker becomes the template of its generation if its import may be shared. Never
        /// sent to a template of a build that does not know of it: those have the app, if it may.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        promote: bool,
        /// The worker imports the app, and waits until it is told to serve. Never sent to a
        /// template of a build that does not know of it: its settings have no such workers.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        spare: bool,
    },
    /// Reopen the log files by path.
    Reopen,
    /// Run this hook of a `gunicorn.conf.py`.
    Hook(HookEvent),
    /// A worker has taken your place, and has what you have: exit, without the functions for the
    /// exit. Never sent to a template of a build that does not know of it: no worker takes the
    /// place of those.
    Replaced,
}

/// An event in the arbiter that a hook of a `gunicorn.conf.py` is called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookEvent {
    /// A worker has ended.
    ChildExit {
        /// Its id, in the order of forks.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// The wanted number of workers changed.
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
        /// Implementation and version of its Python.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        python: Option<String>,
    },
    /// The template could not load the app; it exits after this.
    TemplateFailed {
        /// Its generation.
        generation: u32,
        /// Why.
        failure: Failure,
    },
    /// A worker was forked. The memfd for its stack dumps comes with this message.
    Forked {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// The worker's id.
        id: u64,
        /// The reason, one line.
        reason: String,
    },
    /// A worker that was forked to be promoted has imported the app, and is a template from now on.
    /// Its command socket comes with this message.
    Promoted {
        /// The id that it had as a worker.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// A worker that was forked to be promoted stays a worker: what its import did must not be
    /// shared.
    NotPromoted {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
        /// What was found, one line each.
        found: Vec<String>,
    },
    /// A worker that has left to become the template stays none: what it has served must not be
    /// shared. It exits after this.
    NotReforked {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
        /// What was found, one line each.
        found: Vec<String>,
    },
    /// A spare worker has imported the app. A socket comes with this message: a byte on it tells
    /// the worker to serve, its end tells it to exit.
    SpareReady {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// The worker accepts requests.
    Ready {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
    },
    /// The worker could not boot; it exits after this.
    BootFailed {
        /// The worker's id.
        id: u64,
        /// Its pid.
        pid: i32,
        /// Why.
        failure: Failure,
    },
    /// With `reload`: where the app's modules were loaded from. May be split over several reports.
    Imported {
        /// The directories, without those of installed packages.
        #[serde(rename = "places")]
        directories: Vec<CodeDirectory>,
    },
    /// A request of the worker took longer than `timeout`, and was ended by an exception. The
    /// worker serves on.
    Recovered {
        /// The worker's id.
        id: u64,
    },
    /// The worker has served `max_requests` or exceeds `max_worker_memory`, and asks to be
    /// replaced.
    WantsRetirement {
        /// The worker's id.
        id: u64,
        /// Its memory in KiB, when that is the reason.
        memory: Option<u64>,
    },
    /// The worker has served `refork` requests: it could become the template.
    WantsRefork {
        /// The worker's id.
        id: u64,
    },
}

/// A directory with Python code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeDirectory {
    /// Its path.
    pub path: PathBuf,
    /// Includes all directories below it: a package, or an entry of `sys.path`.
    #[serde(rename = "whole")]
    pub is_recursive: bool,
}

/// Why something did not boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// gunicorn's exit code for it: 3 (boot), 4 (app), 1 (host).
    pub code: i32,
    /// One line.
    pub summary: String,
}

/// A process prints into a pipe, whose read end comes with this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedPipe {
    /// Its pid.
    pub pid: u32,
    /// The generation of its template.
    pub generation: u32,
    /// Which of its streams goes there.
    pub stream: StandardStream,
}

/// A stream that a process prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StandardStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl StandardStream {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// Sends the read end of a pipe to the arbiter. Never waits.
///
/// # Errors
///
/// Those of sendmsg(2): the arbiter is gone, or there is no room.
pub fn send_printed(
    socket: BorrowedFd<'_>,
    pipe: &PrintedPipe,
    reader: BorrowedFd<'_>,
) -> io::Result<()> {
    let text = serde_json::to_vec(pipe)?;
    send_with(
        socket,
        &[IoSlice::new(&text)],
        Some(reader),
        MsgFlags::MSG_DONTWAIT,
    )
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
    let text = encode(report)?;
    send_with(
        reports,
        &[IoSlice::new(&text)],
        descriptor,
        MsgFlags::empty(),
    )
}

/// A report as the bytes of a datagram. What an app says in an exception can be of any length, and
/// take several times that in JSON: its beginning must arrive.
fn encode(report: &Report) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(report)?;
    let mut limit = MAX_DATAGRAM_BYTES;
    while bytes.len() > MAX_DATAGRAM_BYTES && limit > 1 {
        limit = limit.div_euclid(2);
        let mut shorter = report.clone();
        shorter.cut(limit);
        bytes = serde_json::to_vec(&shorter)?;
    }
    Ok(bytes)
}

impl Report {
    /// Cuts texts to so many bytes.
    fn cut(&mut self, limit: usize) {
        match self {
            Self::TemplateFailed { failure, .. } | Self::BootFailed { failure, .. } => {
                cut(&mut failure.summary, limit);
            }
            Self::ForkFailed { reason, .. } => cut(reason, limit),
            Self::NotPromoted { found, .. } | Self::NotReforked { found, .. } => {
                found.truncate(MAX_FINDINGS);
                let each = limit.div_euclid(MAX_FINDINGS);
                for finding in found {
                    cut(finding, each);
                }
            }
            Self::TemplateReady { .. }
            | Self::Forked { .. }
            | Self::Promoted { .. }
            | Self::Ready { .. }
            | Self::Imported { .. }
            | Self::Recovered { .. }
            | Self::WantsRetirement { .. }
            | Self::WantsRefork { .. }
            | Self::SpareReady { .. } => {}
        }
    }
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(CUT);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rcorn_sys::passing::receive_with;

    use super::*;

    /// What the first build (cb54ddf) gave its template.
    const START: &str = include_str!("samples/start-6.json");

    #[test]
    fn the_start_message_of_protocol_6_keeps_its_names() {
        let start: Start = serde_json::from_str(START).unwrap();
        assert_eq!(start.reason, TemplateReason::Boot);
        assert_eq!(start.listeners.len(), 2);
        let sample: serde_json::Value = serde_json::from_str(START).unwrap();
        let written = serde_json::to_value(&start).unwrap();
        for (name, value) in sample.as_object().unwrap() {
            if name != "settings" {
                assert_eq!(written.get(name), Some(value), "{name}");
            }
        }
    }

    /// One line for each variant, as the first build (cb54ddf) wrote it: its templates understand
    /// nothing else.
    #[test]
    fn commands_and_reports_of_protocol_6_keep_their_names() {
        let commands = [
            r#"{"Fork":{"id":7,"slot":3,"probe":true}}"#,
            r#""Reopen""#,
            r#"{"Hook":{"ChildExit":{"id":7,"pid":4711}}}"#,
            r#"{"Hook":{"WorkersChanged":{"now":3,"before":2}}}"#,
            r#"{"Hook":"PreExec"}"#,
            r#"{"Hook":"Exit"}"#,
            // Since promotion.
            r#"{"Fork":{"id":7,"slot":3,"probe":false,"promote":true}}"#,
            r#""Replaced""#,
            // Since spare workers.
            r#"{"Fork":{"id":7,"slot":3,"probe":false,"spare":true}}"#,
        ];
        for text in commands {
            let command: Command = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
        let reports = [
            r#"{"TemplateReady":{"generation":1}}"#,
            r#"{"TemplateFailed":{"generation":1,"failure":{"code":3,"summary":"x"}}}"#,
            r#"{"Forked":{"id":7,"pid":4711}}"#,
            r#"{"ForkFailed":{"id":7,"reason":"x"}}"#,
            r#"{"Ready":{"id":7,"pid":4711}}"#,
            r#"{"BootFailed":{"id":7,"pid":4711,"failure":{"code":4,"summary":"x"}}}"#,
            r#"{"Imported":{"places":[{"path":"/srv/site","whole":true}]}}"#,
            r#"{"WantsRetirement":{"id":7,"memory":null}}"#,
            // Since promotion.
            r#"{"Promoted":{"id":7,"pid":4711}}"#,
            r#"{"NotPromoted":{"id":7,"pid":4711,"found":["a thread is left by the import"]}}"#,
            // Since refork.
            r#"{"NotReforked":{"id":7,"pid":4711,"found":["serving left a thread"]}}"#,
            r#"{"WantsRefork":{"id":7}}"#,
            // Since threads.
            r#"{"Recovered":{"id":7}}"#,
            // Since spare workers.
            r#"{"SpareReady":{"id":7,"pid":4711}}"#,
        ];
        for text in reports {
            let report: Report = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&report).unwrap(), text);
        }
    }

    #[test]
    fn texts_of_any_length_fit_into_a_datagram() {
        let texts = [
            "x".repeat(100_000),
            "\u{e9}".repeat(9_000),
            "\u{1f600}".repeat(5_000),
            // Six bytes each in JSON.
            "\u{1}".repeat(4_000),
            "\"\n".repeat(20_000),
        ];
        for text in texts {
            let failure = Failure {
                code: 3,
                summary: text.clone(),
            };
            let reports = [
                Report::BootFailed {
                    id: 1,
                    pid: 2,
                    failure: failure.clone(),
                },
                Report::TemplateFailed {
                    generation: 1,
                    failure,
                },
                Report::ForkFailed {
                    id: 1,
                    reason: text.clone(),
                },
                Report::NotPromoted {
                    id: 1,
                    pid: 2,
                    found: vec![text.clone(); 100],
                },
            ];
            for report in reports {
                let bytes = encode(&report).unwrap();
                assert!(bytes.len() <= MAX_DATAGRAM_BYTES, "{}", bytes.len());
                let read: Report = serde_json::from_slice(&bytes).unwrap();
                let begin: String = text.chars().take(20).collect();
                let begin = serde_json::to_string(&begin).unwrap();
                let read = serde_json::to_string(&read).unwrap();
                assert!(read.contains(begin.trim_matches('"')), "{read}");
                assert!(read.contains(CUT), "{read}");
            }
        }
    }

    #[test]
    fn a_report_arrives_with_its_descriptor() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let ready = Report::Ready { id: 1, pid: 2 };
        report_with(theirs.as_fd(), &ready, Some(theirs.as_fd())).unwrap();
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        let (length, descriptor) = receive_with(ours.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!(
            serde_json::from_slice::<Report>(&buffer[..length]).unwrap(),
            ready
        );
        assert!(descriptor.is_some());
    }
}
