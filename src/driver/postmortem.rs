//! What is told of a worker that hung or died with a request in hand: where its Python was, which request, whose,
//! for how long, and its state in the kernel. Nothing is guessed: that the kernel killed for want of memory is said
//! only when its own counter shows it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::uio::pread;

use rcorn_arbiter::{Pid, Slot};
use rcorn_log::{self as log, AccessFormat, AccessLog, Record, escaped};
use rcorn_scoreboard::{Cell, RequestNow};
use rcorn_settings::{LogTarget, Settings};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::Driver;
use super::logs::Logs;

/// Longest testimony that is logged.
const LONGEST: usize = 256 * 1024;

/// What a process wrote into its testimony; empty when it wrote nothing.
pub(super) fn read(testimony: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    while text.len() < LONGEST {
        let at = i64::try_from(text.len()).unwrap_or(i64::MAX);
        match pread(testimony.as_fd(), &mut piece, at) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or(&[])),
        }
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// `state S, in futex_wait_queue`: what the kernel says of a process (`proc_pid_stat(5)`, `proc_pid_wchan(5)`).
fn kernel_state(pid: Pid) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or("?");
    let channel = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    match channel.trim() {
        "" | "0" => format!("state {state}"),
        name => format!("state {state}, in {name}"),
    }
}

/// The request in hand and since when, by the scoreboard.
pub(super) fn in_hand(cell: &Cell, now: Monotonic) -> Option<(RequestNow, Duration)> {
    let since = cell.busy_since.load(Ordering::Acquire);
    if since == 0 {
        return None;
    }
    let request = cell.request()?;
    Some((request, now.since(Monotonic::from_nanos(since))))
}

/// `GET /x HTTP/1.1 from 127.0.0.1, 3.2 s`.
pub(super) fn describe(request: &RequestNow, age: Duration) -> String {
    let peer = if request.peer.is_empty() {
        "a unix socket".to_owned()
    } else {
        escaped(&request.peer).to_string()
    };
    format!(
        "{} from {peer}, for {:.1} s",
        escaped(&request.line),
        age.as_secs_f64()
    )
}

impl Driver<'_> {
    /// One record: it must not be torn apart by other lines.
    pub(super) fn post_mortem(&self, slot: Slot, pid: Pid, testimony: Option<&OwnedFd>) {
        let mut text = format!("Worker (pid:{pid}) does not get on: ");
        let hand = self
            .scoreboard
            .cell(slot.0)
            .and_then(|cell| in_hand(cell, super::now()));
        match hand {
            Some((request, age)) => text.push_str(&describe(&request, age)),
            None => text.push_str("no request in hand"),
        }
        text.push_str("; ");
        text.push_str(&kernel_state(pid));
        let stacks = testimony.map(read).unwrap_or_default();
        if stacks.is_empty() {
            text.push_str("; its Python gave no answer");
        } else {
            text.push('\n');
            text.push_str(&stacks);
        }
        log::error(format_args!("{text}"));
    }

    /// A worker is gone; if it had a request in hand, that one got no answer, or half of one.
    pub(super) fn note_lost_request(&self, slot: Slot) {
        let Some(cell) = self.scoreboard.cell(slot.0) else {
            return;
        };
        if cell.answered.load(Ordering::Acquire) != 0 {
            return;
        }
        let Some((request, age)) = in_hand(cell, super::now()) else {
            return;
        };
        let pid = cell.pid.load(Ordering::Relaxed);
        log::error(format_args!(
            "In hand when worker (pid:{pid}) ended: {}",
            describe(&request, age)
        ));
        if let Err(error) = write_access_line(&self.settings, &self.logs, &request, age, pid) {
            log::warning(format_args!("no access line for a lost request: {error}"));
        }
    }
}

fn write_access_line(
    settings: &Settings,
    logs: &Logs,
    request: &RequestNow,
    age: Duration,
    pid: u32,
) -> std::io::Result<()> {
    let Some(fd) = logs.access() else {
        return Ok(());
    };
    let path = settings.accesslog.as_ref().and_then(LogTarget::path);
    let access = AccessLog::new(fd.try_clone()?, path);
    let format =
        AccessFormat::compile(&settings.access_log_format).map_err(std::io::Error::other)?;
    let mut words = request.line.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or(b"");
    let lost = Lost {
        method: word(),
        target: word(),
        protocol: word(),
        address: String::from_utf8_lossy(&request.peer).into_owned(),
        age,
        pid,
    };
    let mut line = Vec::new();
    format.render(&lost, &mut line);
    access.write(&mut line);
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
        clock::unix_seconds()
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

/// The kernel's own count of processes of our control group that it killed for want of memory.
#[derive(Debug)]
pub(super) struct OutOfMemory {
    file: Option<PathBuf>,
    seen: u64,
}

impl OutOfMemory {
    /// Finds the counter (cgroups(7): `memory.events` of version 2, `memory.oom_control` of version 1).
    pub(super) fn find() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let path = path.trim_start_matches('/');
            let candidates = if controllers.is_empty() {
                [
                    format!("/sys/fs/cgroup/{path}"),
                    "/sys/fs/cgroup".to_owned(),
                ]
                .map(|folder| PathBuf::from(folder).join("memory.events"))
            } else if controllers.split(',').any(|name| name == "memory") {
                [
                    format!("/sys/fs/cgroup/memory/{path}"),
                    "/sys/fs/cgroup/memory".to_owned(),
                ]
                .map(|folder| PathBuf::from(folder).join("memory.oom_control"))
            } else {
                return None;
            };
            candidates.into_iter().find(|file| file.is_file())
        });
        let mut found = Self { file, seen: 0 };
        found.seen = found.count();
        found
    }

    fn count(&self) -> u64 {
        let text = self.file.as_ref().map(fs::read_to_string);
        let text = text.and_then(Result::ok).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// After a KILL that was not ours: says so if the kernel did it.
    pub(super) fn note_if_it_was(&mut self, pid: Pid) {
        let count = self.count();
        if count > self.seen
            && let Some(file) = &self.file
        {
            log::error(format_args!(
                "Worker (pid:{pid}) ended when the kernel killed for want of memory: oom_kill in {} went from {} to {count}.",
                file.display(),
                self.seen
            ));
        }
        self.seen = count;
    }
}
