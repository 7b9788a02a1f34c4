//! Logs a worker that hangs, or has ended while it served a request: its Python stacks, the request
//! with its client and age, and the state of the process in the kernel.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::uio::pread;

use rcorn_arbiter::{CellIndex, Pid};
use rcorn_log::{self as log, AccessForm, AccessFormatter as _, AccessLog, Record};
use rcorn_scoreboard::{Answered, Cell, Scoreboard};
use rcorn_settings::{LogTarget, Settings};
use rcorn_sys::clock;
use rcorn_sys::procfs::{Stat, wait_channel};
use rcorn_types::Level;

use super::in_hand::{InHand, Silent, Thread, name_threads, requests, silent};
use super::logs::Logs;

/// The longest stack dump that is logged.
const MAX_DUMP_BYTES: usize = 256 * 1024;

/// The stacks that a process has dumped; empty if there are none.
pub(super) fn read_stacks(stack_dump: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    while text.len() < MAX_DUMP_BYTES {
        let at = i64::try_from(text.len()).unwrap_or(i64::MAX);
        match pread(stack_dump.as_fd(), &mut chunk, at) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// `state S, in futex_wait_queue`: what the kernel says about a process (`proc_pid_stat(5)`,
/// `proc_pid_wchan(5)`).
fn kernel_state(pid: Pid) -> String {
    let state = Stat::of(pid.0).and_then(|stat| stat.state());
    let state = state.unwrap_or('?');
    match wait_channel(pid.0) {
        None => format!("state {state}"),
        Some(name) => format!("state {state}, in {name}"),
    }
}

/// Logs where a worker hangs, in one record, so that other lines cannot split it.
pub(super) fn report_hung(pid: Pid, cell: CellIndex, scoreboard: &Scoreboard, stacks: &str) {
    let now = clock::now();
    let silent = silent(scoreboard, cell, now);
    let Silent { thread, request } = silent.unwrap_or(Silent {
        thread: None,
        request: None,
    });
    let id = request.as_ref().and_then(InHand::request_id);
    let text = request.as_ref().map(ToString::to_string);
    let text = text.unwrap_or_else(|| "no request in hand".to_owned());
    let (thread, state) = match thread {
        None => (String::new(), kernel_state(pid)),
        Some(Thread { number, tid, .. }) => {
            let thread = Pid(i32::try_from(tid).unwrap_or(pid.0));
            (
                format!(", in thread {number} (tid {tid})"),
                kernel_state(thread),
            )
        }
    };
    let stacks = match stacks {
        "" => "; its Python did not respond".to_owned(),
        stacks => format!("\n{}", name_threads(stacks, scoreboard, cell, now)),
    };
    log::record_about(
        Level::Error,
        id,
        format_args!("Worker (pid:{pid}) is hung: {text}{thread}; {state}{stacks}"),
    );
}

/// Writes the lines of the access log that a worker had not written when it ended.
pub(super) fn write_held_lines(lines: &[u8], logs: &Logs) {
    if lines.is_empty() {
        return;
    }
    let written = match logs.access() {
        None => Err(std::io::Error::other("there is no access log any more")),
        Some(fd) => fd
            .try_clone()
            .and_then(|fd| AccessLog::new(fd, None, Duration::ZERO))
            .map(|access| access.write_left(lines)),
    };
    if let Err(error) = written {
        log::warning(format_args!("lines of the access log are lost: {error}"));
    }
}

/// Logs the requests that a worker served when it ended: their clients got no response, or a
/// partial one.
pub(super) fn report_lost_requests(
    cell: CellIndex,
    scoreboard: &Scoreboard,
    settings: &Settings,
    logs: &Logs,
) {
    let Some(pid) = scoreboard.cell(cell.0).map(Cell::pid) else {
        return;
    };
    for lost in requests(scoreboard, cell, clock::now()) {
        match lost.answered {
            Answered::Yes => {}
            Answered::Perhaps => log::record_about(
                Level::Warning,
                lost.request_id(),
                format_args!(
                    "Worker (pid:{pid}) ended while it sent the end of a response, which the client may have or not: {lost}"
                ),
            ),
            Answered::No => {
                log::record_about(
                    Level::Error,
                    lost.request_id(),
                    format_args!("Request lost when worker (pid:{pid}) ended: {lost}"),
                );
                if let Err(error) = write_access_line(settings, logs, &lost, pid) {
                    log::warning(format_args!("no access line for a lost request: {error}"));
                }
            }
        }
    }
}

fn write_access_line(
    settings: &Settings,
    logs: &Logs,
    lost: &InHand,
    pid: u32,
) -> std::io::Result<()> {
    let Some(fd) = logs.access() else {
        return Ok(());
    };
    let path = settings.accesslog.as_ref().and_then(LogTarget::path);
    let access = AccessLog::new(fd.try_clone()?, path, Duration::ZERO)?;
    let form = AccessForm::of(settings).map_err(std::io::Error::other)?;
    let id = lost.request_id();
    let InHand { request, age, .. } = lost;
    let mut words = request.line.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or(b"");
    let lost = Lost {
        method: word(),
        target: word(),
        // Without the id of the request.
        protocol: word().split(|byte| *byte == b' ').next().unwrap_or(b""),
        address: String::from_utf8_lossy(&request.peer).into_owned(),
        age: *age,
        pid,
        id,
    };
    let mut line = Vec::new();
    form.format(&lost, &mut line);
    access.write(&mut line, id);
    Ok(())
}

/// A request whose worker died: in the access log it has status 500 and no body.
struct Lost<'a> {
    method: &'a [u8],
    target: &'a [u8],
    protocol: &'a [u8],
    address: String,
    age: Duration,
    pid: u32,
    id: Option<&'a str>,
}

impl Lost<'_> {
    fn halves(&self) -> (&[u8], &[u8]) {
        match memchr::memchr(b'?', self.target) {
            Some(at) => {
                let (path, query) = self.target.split_at_checked(at).unwrap_or((&[], &[]));
                (path, query.get(1..).unwrap_or(&[]))
            }
            None => (self.target, &[]),
        }
    }
}

impl Record for Lost<'_> {
    fn remote_addr(&self) -> &str {
        &self.address
    }
    fn time(&self) -> i64 {
        clock::wall().0
    }
    fn method(&self) -> &[u8] {
        self.method
    }
    fn raw_uri(&self) -> &[u8] {
        self.target
    }
    fn protocol(&self) -> &[u8] {
        self.protocol
    }
    fn path(&self) -> &[u8] {
        self.halves().0
    }
    fn query(&self) -> &[u8] {
        self.halves().1
    }
    fn status(&self) -> u16 {
        500
    }
    fn body_bytes(&self) -> Option<u64> {
        Some(0)
    }
    fn duration_ns(&self) -> u64 {
        u64::try_from(self.age.as_nanos()).unwrap_or(u64::MAX)
    }
    fn pid(&self) -> u32 {
        self.pid
    }
    fn request_id(&self) -> Option<&str> {
        self.id
    }
    fn request_header(&self, _name: &str, _out: &mut Vec<u8>) -> bool {
        false
    }
    fn response_header(&self, _name: &str, _out: &mut Vec<u8>) -> bool {
        false
    }
    fn environ(&self, _name: &str, _out: &mut Vec<u8>) -> bool {
        false
    }
}
