//! What templates and workers report, as events for the brain.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rcorn_arbiter::{BootFailure, BootFailureKind, Event, Generation, Pid, RetireReason, WorkerId};
use rcorn_link::{Failure, MAX_DATAGRAM_BYTES, Report};
use rcorn_log as log;
use rcorn_sys::passing::receive_with;

use super::Driver;
use super::children::Birth;

/// A failure to boot as the brain knows it.
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

impl Driver<'_> {
    /// All that has come by now.
    pub(super) fn hear_reports(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        while let Some((length, descriptor)) = receive_with(self.reports.0.as_fd(), &mut buffer)? {
            match serde_json::from_slice(buffer.get(..length).unwrap_or(&[])) {
                Ok(report) => self.hear(report, descriptor),
                Err(error) => log::error(format_args!("a report that cannot be read: {error}")),
            }
        }
        Ok(())
    }

    fn hear(&mut self, report: Report, descriptor: Option<OwnedFd>) {
        let event = match report {
            Report::TemplateReady { generation } => Event::TemplateReady(Generation(generation)),
            Report::TemplateFailed {
                generation,
                failure,
            } => Event::TemplateFailed(Generation(generation), boot_failure(failure)),
            Report::Forked { id, pid } => {
                let (id, pid) = (WorkerId(id), Pid(pid));
                return self.born(id, pid, [Event::Forked(id, pid)], descriptor);
            }
            Report::Ready { id, pid } => {
                let (id, pid) = (WorkerId(id), Pid(pid));
                return self.born(id, pid, [Event::Ready(id, pid)], None);
            }
            Report::ForkFailed { id, reason } => {
                self.children.paid(WorkerId(id));
                Event::ForkFailed(WorkerId(id), reason)
            }
            Report::Imported { directories } => return self.imported(directories),
            Report::BootFailed { id, pid, failure } => {
                let (id, pid) = (WorkerId(id), Pid(pid));
                // Its template may not have told of it yet.
                let events = [
                    Event::Forked(id, pid),
                    Event::BootFailed(id, boot_failure(failure)),
                ];
                return self.born(id, pid, events, None);
            }
            Report::WantsRetirement { id, memory } => {
                let why = match memory {
                    Some(_) => RetireReason::Memory,
                    None => RetireReason::MaxRequests,
                };
                Event::WantsRetirement(WorkerId(id), why)
            }
        };
        self.queue.push_back(event);
    }

    /// The worker lives, or has ended already; these are the events that follow from it.
    fn born(
        &mut self,
        id: WorkerId,
        pid: Pid,
        events: impl IntoIterator<Item = Event>,
        testimony: Option<OwnedFd>,
    ) {
        match self.children.born(id, pid, testimony) {
            Birth::Alive => {
                for event in events {
                    if matches!(event, Event::Ready(..)) {
                        self.children.is_ready(id);
                    }
                    self.queue.push_back(event);
                }
            }
            Birth::Ended(exit) => {
                self.queue.extend(events);
                self.queue.push_back(Event::Exited(pid, exit));
            }
            Birth::Gone => log::debug(format_args!(
                "Worker (pid:{pid}) ended before it was reported"
            )),
        }
    }
}
