//! A connection on its way from the event loop to the thread that serves it, and back.

use pyo3::prelude::*;

use rcorn_connection::{Channel, Connections, Next};
use rcorn_wsgi::Endpoints;

use super::connection::Connection;
use super::receive::{receive, serve_ready};
use super::rules::Rules;
use super::slot::RequestSlot;

/// A connection to serve: a parked one that is ready, or a new one. With `TCP_DEFER_ACCEPT` the
/// request of a new one has already arrived, so the poller need not be asked.
#[derive(Debug)]
pub(super) struct Work(Box<Connection>);

impl From<Connection> for Work {
    fn from(new: Connection) -> Self {
        Self(Box::new(new))
    }
}

impl From<Box<Connection>> for Work {
    fn from(parked: Box<Connection>) -> Self {
        Self(parked)
    }
}

impl Work {
    /// What the bytes of the connection go through.
    pub(super) fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// Whether the connection has a place among the parked ones.
    pub(super) fn has_place(&self) -> bool {
        self.0.has_place()
    }

    /// Does what the connection waits for, as far as it has come.
    pub(super) fn serve(&mut self, py: Python<'_>, rules: &Rules, slot: &mut RequestSlot) -> Next {
        if self.has_place() {
            serve_ready(py, rules, slot, &mut self.0)
        } else {
            receive(py, rules, slot, &mut self.0)
        }
    }

    /// Parks or closes the connection.
    pub(super) fn finish(self, connections: &Connections<Endpoints>, next: Next) {
        connections.park_or_close(self.0, next);
    }

    /// The same for a connection that another thread does not let the poller watch any more.
    pub(super) fn finish_unwatched(self, connections: &Connections<Endpoints>, next: Next) {
        connections.park_or_close_unwatched(self.0, next);
    }
}
