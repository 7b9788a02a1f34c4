//! Records for the error log. The arbiter writes them, so that there is one form.

use rcorn_types::Level;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Records that wait for the link; more are dropped: a log never stops a server.
const MAX_WAITING: usize = 256;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// Where records go.
#[derive(Clone, Debug)]
pub(crate) struct Records(Sender<Record>);

impl Records {
    /// A way for records, and its end.
    pub(crate) fn channel() -> (Self, Receiver<Record>) {
        let (sender, receiver) = channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Sends one, unless too many wait.
    pub(crate) fn write(&self, level: Level, text: String) {
        self.0.try_send(Record { level, text }).ok();
    }
}
