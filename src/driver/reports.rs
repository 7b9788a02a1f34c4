//! What templates and workers report: received from the socket that they share, and translated into
//! events for the arbiter.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;

use rcorn_arbiter::{BootFailure, BootFailureKind, Event, Generation, Pid, RetireReason, WorkerId};
use rcorn_link::{CodeDirectory, Failure, MAX_DATAGRAM_BYTES, Report};
use rcorn_log as log;
use rcorn_sys::passing::receive_with;
use rcorn_types::Monotonic;

use super::children::{Children, ImportSharing, Registered};

/// The pause after the first failure to receive; each further one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A source of datagrams that may carry a descriptor. It never waits: `None` if there is none.
pub(super) trait Source {
    /// Receives one datagram into `buffer`; returns its length.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2).
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, Option<OwnedFd>)>>;
}

/// The report socket: our end, and the end that templates and workers inherit.
#[derive(Debug)]
pub(super) struct ReportSocket {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Source for ReportSocket {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
        receive_with(self.ours.as_fd(), buffer)
    }
}

impl ReportSocket {
    pub(super) fn new((ours, theirs): (OwnedFd, OwnedFd)) -> Self {
        Self { ours, theirs }
    }
}

impl Receiver<ReportSocket> {
    /// Makes the loop wake up for reports.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let ours = self.source.ours.as_raw_fd();
        registry.register(&mut SourceFd(&ours), token, Interest::READABLE)
    }

    /// Both descriptors: ours, and the one that templates inherit.
    pub(super) fn numbers(&self) -> (RawFd, RawFd) {
        (self.source.ours.as_raw_fd(), self.source.theirs.as_raw_fd())
    }
}

/// Receives reports. A failure that may pass (no memory, no free descriptor) is logged, and tried
/// again after a pause: a supervisor must not end because of a temporary lack of memory.
#[derive(Debug)]
pub(super) struct Receiver<S> {
    source: S,
    buffer: Vec<u8>,
    backoff: Option<Backoff>,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    pause: Duration,
    until: Monotonic,
}

/// Whether the cause of a failed system call may pass by itself.
fn is_transient(error: &io::Error) -> bool {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let may_pass = [
        Errno::ENOBUFS,
        Errno::ENOMEM,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::EINTR,
        Errno::EAGAIN,
    ];
    may_pass.contains(&errno)
}

impl<S: Source> Receiver<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            buffer: vec![0; MAX_DATAGRAM_BYTES],
            backoff: None,
        }
    }

    /// When to try again after a failure.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.backoff.map(|backoff| backoff.until)
    }

    /// All reports that have arrived, in order.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2) that cannot pass by themselves: the socket is broken.
    pub(super) fn take(&mut self, now: Monotonic) -> io::Result<Vec<(Report, Option<OwnedFd>)>> {
        let mut reports = Vec::new();
        if self.backoff.is_some_and(|backoff| backoff.until > now) {
            return Ok(reports);
        }
        loop {
            match self.source.receive(&mut self.buffer) {
                Ok(None) => {
                    self.backoff = None;
                    return Ok(reports);
                }
                Ok(Some((length, descriptor))) => {
                    self.backoff = None;
                    let text = self.buffer.get(..length).unwrap_or_default();
                    match serde_json::from_slice(text) {
                        Ok(report) => reports.push((report, descriptor)),
                        Err(error) => log::error(format_args!("cannot read a report: {error}")),
                    }
                }
                Err(error) if is_transient(&error) => {
                    self.back_off(now, &error);
                    return Ok(reports);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn back_off(&mut self, now: Monotonic, error: &io::Error) {
        let pause = match self.backoff {
            None => FIRST_BACKOFF,
            Some(before) => before.pause.saturating_mul(2).min(MAX_BACKOFF),
        };
        let until = now.after(pause);
        self.backoff = Some(Backoff { pause, until });
        log::warning(format_args!(
            "cannot receive reports of workers: {error}; trying again in {} ms",
            pause.as_millis()
        ));
    }
}

/// What a report means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Events for the arbiter, in order.
    Events(Vec<Event>),
    /// The app was loaded from these directories.
    Imported(Vec<CodeDirectory>),
}

/// Translates a report, and notes in the children what it says about them.
pub(super) fn translate(
    report: Report,
    descriptor: Option<OwnedFd>,
    children: &mut Children,
) -> Meaning {
    let event = match report {
        Report::TemplateReady { generation, python } => {
            let generation = Generation(generation);
            children.template_is_ready(generation, python);
            Event::TemplateReady(generation)
        }
        Report::TemplateFailed {
            generation,
            failure,
        } => Event::TemplateFailed(Generation(generation), boot_failure(failure)),
        Report::Forked { id, pid } => {
            let (id, pid) = (WorkerId(id), Pid(pid));
            return registered(id, pid, vec![Event::Forked(id, pid)], descriptor, children);
        }
        Report::Ready { id, pid } => {
            let (id, pid) = (WorkerId(id), Pid(pid));
            return registered(id, pid, vec![Event::Ready(id, pid)], None, children);
        }
        Report::Promoted { id, pid } => {
            return promoted(WorkerId(id), Pid(pid), descriptor, children);
        }
        Report::NotPromoted { id, pid, found } => {
            let (id, pid) = (WorkerId(id), Pid(pid));
            children.import = ImportSharing::NotShared(found);
            let events = vec![Event::Forked(id, pid), Event::NotPromoted(id)];
            return registered(id, pid, events, None, children);
        }
        Report::SpareReady { id, pid } => {
            return spare(WorkerId(id), Pid(pid), descriptor, children);
        }
        Report::NotReforked { id, found, .. } => Event::NotReforked(WorkerId(id), found.join("; ")),
        Report::WantsRefork { id } => Event::WantsRefork(WorkerId(id)),
        Report::ForkFailed { id, reason } => {
            children.acknowledge(WorkerId(id));
            Event::ForkFailed(WorkerId(id), reason)
        }
        Report::Recovered { id } => Event::Recovered(WorkerId(id)),
        Report::Imported { directories } => return Meaning::Imported(directories),
        Report::BootFailed { id, pid, failure } => {
            let (id, pid) = (WorkerId(id), Pid(pid));
            // Its template may not have reported it yet.
            let events = vec![
                Event::Forked(id, pid),
                Event::BootFailed(id, boot_failure(failure)),
            ];
            return registered(id, pid, events, None, children);
        }
        Report::WantsRetirement { id, memory } => {
            let why = match memory {
                Some(_) => RetireReason::Memory,
                None => RetireReason::MaxRequests,
            };
            Event::WantsRetirement(WorkerId(id), why)
        }
    };
    Meaning::Events(vec![event])
}

/// The events of a worker that can become a template.
fn promoted(id: WorkerId, pid: Pid, commands: Option<OwnedFd>, children: &mut Children) -> Meaning {
    let event = match commands {
        Some(commands) => {
            children.offer(id, commands);
            children.import = ImportSharing::Shared;
            Event::Promoted(id, pid)
        }
        // This process has no descriptor free for it. Without a command socket nobody could give it
        // orders, so it leaves.
        None => Event::BootFailed(
            id,
            BootFailure {
                kind: BootFailureKind::Host,
                summary: "no descriptor is free for the command socket of a template".to_owned(),
            },
        ),
    };
    let events = vec![Event::Forked(id, pid), event];
    registered(id, pid, events, None, children)
}

/// The events of a worker that waits for the order to serve.
fn spare(id: WorkerId, pid: Pid, socket: Option<OwnedFd>, children: &mut Children) -> Meaning {
    let mut events = vec![Event::Forked(id, pid)];
    // Without its socket nobody could tell it to serve: it exits.
    if socket.is_some() {
        events.push(Event::SpareReady(id, pid));
    }
    let meaning = registered(id, pid, events, None, children);
    if let Some(socket) = socket.filter(|_| children.has_worker(pid)) {
        children.keep_spare(id, socket);
    }
    meaning
}

/// The events of a worker that lives, or has ended already.
fn registered(
    id: WorkerId,
    pid: Pid,
    mut events: Vec<Event>,
    stack_dump: Option<OwnedFd>,
    children: &mut Children,
) -> Meaning {
    match children.register(id, pid, stack_dump) {
        Registered::Alive => {
            if events.contains(&Event::Ready(id, pid)) {
                children.set_ready(id);
            }
        }
        Registered::Ended(exit) => events.push(Event::Exited(pid, exit)),
        Registered::Gone => {
            log::debug(format_args!(
                "Worker (pid:{pid}) ended before it was reported"
            ));
            events.clear();
        }
    }
    Meaning::Events(events)
}

/// A failure to boot as the arbiter knows it.
fn boot_failure(failure: Failure) -> BootFailure {
    let kind = match failure.code {
        3 => BootFailureKind::Boot,
        4 => BootFailureKind::App,
        _ => BootFailureKind::Host,
    };
    BootFailure {
        kind,
        summary: failure.summary,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rcorn_arbiter::Exit;
    use rcorn_link::report;
    use rcorn_sys::clock;

    use super::super::children::pair;
    use super::*;

    /// Gives these results, one after the other, then nothing.
    struct Script(VecDeque<Result<&'static [u8], Errno>>);

    impl Source for Script {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
            match self.0.pop_front() {
                None => Ok(None),
                Some(Err(errno)) => Err(errno.into()),
                Some(Ok(text)) => {
                    buffer[..text.len()].copy_from_slice(text);
                    Ok(Some((text.len(), None)))
                }
            }
        }
    }

    const READY: &[u8] = br#"{"TemplateReady":{"generation":1}}"#;

    fn receiver<const N: usize>(script: [Result<&'static [u8], Errno>; N]) -> Receiver<Script> {
        Receiver::new(Script(script.into()))
    }

    #[test]
    fn want_of_memory_or_descriptors_is_waited_out() {
        let errors = [
            Errno::ENOBUFS,
            Errno::ENOMEM,
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::EINTR,
        ];
        let mut receiver = receiver([Ok(READY)]);
        receiver.source.0.extend(errors.map(Err));
        receiver.source.0.push_back(Ok(READY));
        let mut now = clock::now();
        assert_eq!(receiver.take(now).unwrap().len(), 1);
        let mut pause = FIRST_BACKOFF;
        for _ in errors {
            // Not before its time.
            assert_eq!(receiver.deadline(), Some(now.after(pause)));
            let left = receiver.source.0.len();
            assert!(receiver.take(now).unwrap().is_empty());
            assert_eq!(receiver.source.0.len(), left);
            now = receiver.deadline().unwrap();
            pause = (pause * 2).min(MAX_BACKOFF);
            if left == 1 {
                break;
            }
            assert!(receiver.take(now).unwrap().is_empty());
        }
        assert_eq!(receiver.take(now).unwrap().len(), 1);
        assert_eq!(receiver.deadline(), None);
    }

    #[test]
    fn a_broken_socket_ends_it() {
        for errno in [Errno::EBADF, Errno::ENOTCONN, Errno::EINVAL] {
            let mut receiver = receiver([Err(errno)]);
            let error = receiver.take(clock::now()).unwrap_err();
            assert_eq!(
                error.raw_os_error(),
                Some(nix::libc::c_int::from(raw(errno)))
            );
        }
    }

    fn raw(errno: Errno) -> i32 {
        io::Error::from(errno).raw_os_error().unwrap()
    }

    #[test]
    fn a_report_that_cannot_be_read_does_not_hold_the_others() {
        let mut receiver = receiver([Ok(b"{}"), Ok(READY)]);
        let taken = receiver.take(clock::now()).unwrap();
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn reports_come_from_the_socket_that_templates_inherit() {
        let mut receiver = Receiver::new(ReportSocket::new(pair().unwrap()));
        let sent = Report::TemplateReady {
            generation: 7,
            python: None,
        };
        report(receiver.source.theirs.as_fd(), &sent).unwrap();
        let taken = receiver.take(clock::now()).unwrap();
        assert_eq!(taken.first().map(|(report, _)| report), Some(&sent));
    }

    #[test]
    fn a_worker_that_ended_before_its_fork_was_reported_has_ended() {
        let mut children = Children::default();
        let (id, pid) = (WorkerId(1), Pid(i32::MAX));
        children.unclaimed_exits.insert(pid, Exit::Code(3));
        let forked = Report::Forked { id: 1, pid: pid.0 };
        assert_eq!(
            translate(forked.clone(), None, &mut children),
            Meaning::Events(vec![
                Event::Forked(id, pid),
                Event::Exited(pid, Exit::Code(3))
            ])
        );
        // Told again, it is nobody.
        assert_eq!(
            translate(forked, None, &mut children),
            Meaning::Events(Vec::new())
        );
    }

    #[test]
    fn failures_keep_gunicorns_kinds() {
        for (code, kind) in [
            (3, BootFailureKind::Boot),
            (4, BootFailureKind::App),
            (1, BootFailureKind::Host),
        ] {
            let failure = Failure {
                code,
                summary: "x".to_owned(),
            };
            assert_eq!(boot_failure(failure).kind, kind);
        }
    }
}
