//! The bookkeeping of children, without any but harmless processes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command as Process, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{MsgFlags, recv};

use rcorn_arbiter::{CellIndex, Event, Exit, Generation, Pid, WorkerId};
use rcorn_link::Command;

use super::children::{Children, HowToFork, Registered, TemplateProcess, pair};

const GENERATION: Generation = Generation(1);

fn memory() -> OwnedFd {
    memfd_create(c"", MFdFlags::empty()).unwrap()
}

/// Children with a template of this pid; and the other end of its command socket.
fn with_template(pid: Pid) -> (Children, OwnedFd) {
    let (commands, theirs) = pair().unwrap();
    let template = TemplateProcess {
        pid,
        commands: Some(commands),
        pending_forks: BTreeSet::new(),
        stack_dump: Some(memory()),
        served_as: None,
        loading: None,
        python: None,
    };
    let mut children = Children::default();
    children.templates.insert(GENERATION, template);
    (children, theirs)
}

fn fork(children: &mut Children, id: u64) -> Result<(), String> {
    let cell = CellIndex(u16::try_from(id).unwrap());
    children.fork(WorkerId(id), cell, GENERATION, HowToFork::PLAIN)
}

/// A process that has ended, and is not reaped yet.
#[expect(clippy::zombie_processes, reason = "that is what the tests want")]
fn ended_process() -> Pid {
    let child = Process::new("true").spawn().unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let end = rcorn_sys::process::watch(pid.0).unwrap();
    let mut wanted = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::NONE).unwrap();
    pid
}

#[test]
fn a_fork_is_ordered_and_waits_for_its_report() {
    let (mut children, template) = with_template(Pid(i32::MAX));
    fork(&mut children, 7).unwrap();
    let mut text = [0; 200];
    let length = recv(template.as_raw_fd(), &mut text, MsgFlags::MSG_DONTWAIT).unwrap();
    let command: Command = serde_json::from_slice(&text[..length]).unwrap();
    let ordered = Command::Fork {
        id: 7,
        cell: 7,
        probe: false,
        promote: false,
        spare: false,
    };
    assert_eq!(command, ordered);
    let pending = |children: &Children| children.templates[&GENERATION].pending_forks.len();
    assert_eq!(pending(&children), 1);
    children.acknowledge(WorkerId(7));
    assert_eq!(pending(&children), 0);
    children.set_ready(WorkerId(7));
    assert_eq!(
        children.serving().collect::<Vec<_>>(),
        [(WorkerId(7), CellIndex(7))]
    );
    children.free(CellIndex(7));
    assert_eq!(children.serving().count(), 0);
}

#[test]
fn a_template_that_is_told_to_leave_forks_no_more() {
    let (mut children, template) = with_template(Pid(i32::MAX));
    children.end_template(GENERATION);
    assert!(fork(&mut children, 1).is_err());
    // It sees the end of the command socket.
    assert_eq!(
        recv(template.as_raw_fd(), &mut [0; 9], MsgFlags::MSG_DONTWAIT),
        Ok(0)
    );
    children.templates.clear();
    assert!(fork(&mut children, 1).is_err());
}

#[test]
fn forks_of_a_template_that_ended_have_failed_after_its_end() {
    let (mut children, _commands) = with_template(Pid(7));
    fork(&mut children, 1).unwrap();
    fork(&mut children, 2).unwrap();
    let mut events = Vec::new();
    children.note_exit(Pid(7), Exit::Code(0), &mut events);
    assert_eq!(events[0], Event::Exited(Pid(7), Exit::Code(0)));
    for (event, id) in events[1..].iter().zip([1, 2]) {
        assert!(matches!(event, Event::ForkFailed(failed, _) if failed.0 == id));
    }
    assert_eq!(events.len(), 3);
    assert!(children.templates.is_empty());
}

#[test]
fn an_exit_that_nobody_claims_is_kept_only_while_a_fork_is_unanswered() {
    let (mut children, _commands) = with_template(Pid(7));
    let mut events = Vec::new();
    // An orphan of the app.
    children.note_exit(Pid(100), Exit::Code(0), &mut events);
    assert!(children.unclaimed_exits.is_empty() && events.is_empty());
    fork(&mut children, 1).unwrap();
    fork(&mut children, 2).unwrap();
    children.note_exit(Pid(101), Exit::Signal(9), &mut events);
    children.note_exit(Pid(102), Exit::Code(0), &mut events);
    assert!(events.is_empty());
    let registered = children.register(WorkerId(1), Pid(101), None);
    assert_eq!(registered, Registered::Ended(Exit::Signal(9)));
    assert_eq!(children.unclaimed_exits.len(), 1);
    children.acknowledge(WorkerId(2));
    children.register(WorkerId(3), Pid(i32::MAX), None);
    assert!(children.unclaimed_exits.is_empty());
}

#[test]
fn a_worker_that_ends_takes_its_stack_dump_along() {
    let mut children = Children::default();
    let pid = ended_process();
    let registered = children.register(WorkerId(1), pid, Some(memory()));
    assert_eq!(registered, Registered::Alive);
    assert!(children.stack_dump(pid).is_some());
    children.set_ready(WorkerId(1));
    let mut events = Vec::new();
    children.note_exit(pid, Exit::Code(0), &mut events);
    assert_eq!(events, [Event::Exited(pid, Exit::Code(0))]);
    assert_eq!(children.ended, [(pid, WorkerId(1))]);
    assert!(children.stack_dump(pid).is_none());
    assert!(children.ready.is_empty() && children.workers.is_empty());
}

#[test]
fn the_end_of_a_new_arbiter_is_told() {
    let mut children = Children {
        upgrade: Some(Pid(9)),
        ..Children::default()
    };
    let mut events = Vec::new();
    children.note_exit(Pid(9), Exit::Code(1), &mut events);
    assert_eq!(events, [Event::Exited(Pid(9), Exit::Code(1))]);
    assert_eq!(children.upgrade, None);
}

#[test]
fn a_process_that_is_gone_is_not_registered() {
    let mut child = Process::new("true").spawn().unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let mut children = Children::default();
    let stack_dump = || Some(memfd_create(c"", MFdFlags::empty()).unwrap());
    assert_eq!(
        children.register(WorkerId(1), pid, stack_dump()),
        Registered::Alive
    );
    assert!(children.stack_dump(pid).is_some());
    child.wait().unwrap();
    assert_eq!(
        children.register(WorkerId(2), pid, stack_dump()),
        Registered::Gone
    );
    children.unclaimed_exits.insert(pid, Exit::Code(3));
    assert_eq!(
        children.register(WorkerId(3), pid, stack_dump()),
        Registered::Ended(Exit::Code(3))
    );
    for nobody in [0, -1] {
        assert_eq!(
            children.register(WorkerId(4), Pid(nobody), stack_dump()),
            Registered::Gone
        );
    }
    assert_eq!(children.stack_dumps.len(), 1, "the rest would stay open");
}

#[test]
fn a_worker_that_is_promoted_takes_the_templates_place() {
    let (mut children, before) = with_template(Pid(i32::MAX));
    fork(&mut children, 1).unwrap();
    fork(&mut children, 2).unwrap();
    // Its template has not reported it yet.
    let mut child = Process::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let alive = children.register(WorkerId(1), pid, None);
    assert_eq!(alive, Registered::Alive);
    let (ours, theirs) = pair().unwrap();
    children.offer(WorkerId(1), ours);
    children.promote(WorkerId(1), GENERATION, pid);
    children.free(CellIndex(1));
    children.decline_offers();
    assert!(!children.has_worker(pid));
    let end = recv(before.as_raw_fd(), &mut [0; 900], MsgFlags::MSG_DONTWAIT);
    assert!(
        end.unwrap() > 0,
        "what was ordered before is still to be done"
    );
    // The late report brings the stack dump, and makes it no worker again.
    let late = children.register(WorkerId(1), pid, Some(memory()));
    assert_eq!(late, Registered::Gone);
    assert!(children.stack_dump(pid).is_some() && !children.has_worker(pid));
    fork(&mut children, 3).unwrap();
    let ordered = recv(theirs.as_raw_fd(), &mut [0; 900], MsgFlags::MSG_DONTWAIT);
    assert!(ordered.unwrap() > 0);
    // The one before ends, and owes a fork.
    let mut events = Vec::new();
    children.note_exit(Pid(i32::MAX), Exit::Code(0), &mut events);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0], Event::Exited(Pid(i32::MAX), Exit::Code(0)));
    assert!(children.templates.contains_key(&GENERATION) && children.replaced.is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_offer_that_is_declined_ends_the_command_socket() {
    let mut children = Children::default();
    let (ours, theirs) = pair().unwrap();
    children.offer(WorkerId(1), ours);
    children.decline_offers();
    assert_eq!(
        recv(theirs.as_raw_fd(), &mut [0; 9], MsgFlags::MSG_DONTWAIT),
        Ok(0)
    );
}
