//! What an operator may order, by signal or by the control socket.

use super::values::WorkerId;

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// TERM: drain all workers and leave.
    Stop,
    /// INT, QUIT: leave at once.
    Quit,
    /// HUP: load settings and code again.
    Reload,
    /// TTIN: one worker more.
    More,
    /// TTOU: one worker less, but never none.
    Fewer,
    /// `rcorn ctl scale`: this many workers, at least one.
    Scale(u32),
    /// USR1: reopen the log files.
    Reopen,
    /// USR2: start a new arbiter.
    Upgrade,
    /// WINCH: drain all workers, but stay. The driver takes it only as a daemon or during an
    /// upgrade.
    Dismiss,
    /// `rcorn ctl retire`: replace this worker.
    Retire(WorkerId),
    /// `rcorn ctl refork`: make this worker the template, and replace the others.
    Refork(WorkerId),
}

impl Order {
    /// Its name in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Quit => "quit",
            Self::Reload => "reload",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Scale(_) => "scale",
            Self::Reopen => "reopen",
            Self::Upgrade => "upgrade",
            Self::Dismiss => "dismiss",
            Self::Retire(_) => "retire",
            Self::Refork(_) => "refork",
        }
    }

    /// Whether a server that is stopping, or about to, takes it.
    pub(super) fn is_taken_while_stopping(self) -> bool {
        match self {
            Self::Stop | Self::Quit | Self::Reopen => true,
            Self::Reload
            | Self::More
            | Self::Fewer
            | Self::Scale(_)
            | Self::Upgrade
            | Self::Dismiss
            | Self::Retire(_)
            | Self::Refork(_) => false,
        }
    }
}
