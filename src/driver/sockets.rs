//! The sockets that arbiter and workers share: the listeners, and the queue through which workers
//! hand connections to each other.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::MsgFlags;

use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_sys::descriptor::adopt;
use rcorn_sys::passing::send_with;

use super::handover::{Handover, SavedListener};
use super::listener::Listener;
use super::plan::Plan;
use super::service_manager::ServiceManager;

/// The listeners, in the order of `bind`, and both ends of the hand-off queue (write end, read
/// end).
#[derive(Debug)]
pub(super) struct Sockets {
    listeners: Vec<Listener>,
    handoff_queue: (OwnedFd, OwnedFd),
}

/// The listeners that another arbiter has handed over.
///
/// # Errors
///
/// A descriptor that was not inherited.
pub(super) fn handed_over(handover: &Handover) -> io::Result<Vec<Listener>> {
    let in_place = handover.in_place.is_some();
    let adopt_one = |saved: &SavedListener| {
        Listener::hand_over(adopt(saved.fd)?, saved.address.clone(), in_place)
    };
    handover.listeners.iter().map(adopt_one).collect()
}

impl Sockets {
    pub(super) fn new(listeners: Vec<Listener>, handoff_queue: (OwnedFd, OwnedFd)) -> Self {
        Self {
            listeners,
            handoff_queue,
        }
    }

    /// The listeners in force.
    pub(super) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The same for a successor.
    pub(super) fn saved_listeners(&self) -> Vec<SavedListener> {
        let saved = |listener: &Listener| SavedListener {
            fd: listener.number(),
            address: listener.address.clone(),
        };
        self.listeners.iter().map(saved).collect()
    }

    /// The descriptors of the hand-off queue.
    pub(super) fn queue_numbers(&self) -> (RawFd, RawFd) {
        let (write, read) = &self.handoff_queue;
        (write.as_raw_fd(), read.as_raw_fd())
    }

    /// The addresses as gunicorn's start line has them.
    pub(super) fn shown(&self, settings: &Settings) -> Vec<String> {
        let shown = self.listeners.iter();
        shown.map(|listener| listener.shown(settings)).collect()
    }

    /// Logs gunicorn's start line: `Listening at: http://127.0.0.1:8000 (4711)`.
    pub(super) fn announce(&self, settings: &Settings) {
        let shown = self.shown(settings).join(",");
        log::info(format_args!(
            "Listening at: {shown} ({})",
            std::process::id()
        ));
    }

    /// Puts a plan into force, and logs it if the addresses have changed.
    pub(super) fn commit(&mut self, plan: Plan, before: &Settings, now: &Settings) {
        let shown = self.shown(before);
        plan.commit(&mut self.listeners);
        if shown != self.shown(now) {
            self.announce(now);
        }
    }

    /// Refuses new connections; those in the queues stay for the workers.
    pub(super) fn close(&mut self) {
        self.listeners.iter_mut().for_each(Listener::close);
    }

    /// Takes ownership of the files of unix sockets, because the arbiter that had them is gone.
    pub(super) fn own_files(&mut self) {
        self.listeners.iter_mut().for_each(Listener::own_file);
    }

    /// Leaves nothing behind.
    pub(super) fn tidy_up(&mut self) {
        for listener in &mut self.listeners {
            listener.remove_file();
            listener.reopen();
        }
    }

    /// Puts the sockets into the service manager's store.
    pub(super) fn store(&mut self, manager: &ServiceManager) {
        manager.store(&mut self.listeners);
    }

    /// Makes one worker look at the listeners. The kernel wakes one worker for a new connection
    /// (`EPOLLEXCLUSIVE`). If that worker has just ended, no other knows of the connection, so an
    /// empty message in the hand-off queue wakes another one.
    pub(super) fn wake_worker(&self) {
        let empty = [IoSlice::new(&[0])];
        let queue = self.handoff_queue.0.as_fd();
        if let Err(error) = send_with(queue, &empty, None, MsgFlags::MSG_DONTWAIT) {
            log::debug(format_args!("cannot wake a worker: {error}"));
        }
    }
}
