//! The new arbiter that USR2 starts.

use serde::{Deserialize, Serialize};

use super::event::Action;
use super::note::UpgradeNote;
use super::step::Step;
use super::values::{Exit, Pid};

/// The new arbiter that USR2 starts. While it is being started nothing is saved of it: the build
/// that an upgrade in place starts has no upgrade of its own yet. That one waits is saved apart,
/// because the first build has no name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Pid>", into = "Option<Pid>")]
pub(super) enum Upgrade {
    /// There is none.
    None,
    /// It begins when the reload under way is over.
    Waiting,
    /// The driver was told to start it.
    Starting,
    /// It runs beside this one.
    Beside(Pid),
}

impl From<Option<Pid>> for Upgrade {
    fn from(pid: Option<Pid>) -> Self {
        pid.map_or(Self::None, Self::Beside)
    }
}

impl From<Upgrade> for Option<Pid> {
    fn from(upgrade: Upgrade) -> Self {
        match upgrade {
            Upgrade::None | Upgrade::Waiting | Upgrade::Starting => None,
            Upgrade::Beside(pid) => Some(pid),
        }
    }
}

impl Upgrade {
    /// USR2. `is_reloading`: then it has to wait. Returns whether it may be started.
    pub(super) fn order(&mut self, is_reloading: bool, step: &mut Step<'_>) -> bool {
        match self {
            Self::Starting | Self::Beside(_) => {
                step.say(UpgradeNote::Exists);
                false
            }
            Self::None | Self::Waiting if is_reloading => {
                *self = Self::Waiting;
                step.say(UpgradeNote::Waits);
                false
            }
            Self::None | Self::Waiting => true,
        }
    }

    /// The server stops: one that waits is not needed.
    pub(super) fn stop(&mut self, step: &mut Step<'_>) {
        if *self == Self::Waiting {
            self.not_started("rcorn is stopping".to_owned(), step);
        }
    }

    /// Starts it.
    pub(super) fn start(&mut self, step: &mut Step<'_>) {
        *self = Self::Starting;
        step.act(Action::Upgrade);
    }

    /// It could not be started.
    pub(super) fn not_started(&mut self, reason: String, step: &mut Step<'_>) {
        *self = Self::None;
        step.say(UpgradeNote::NotStarted(reason));
    }

    /// A child was reaped that is neither a worker nor a template.
    pub(super) fn reaped(&mut self, pid: Pid, exit: Exit, step: &mut Step<'_>) {
        if *self == Self::Beside(pid) {
            *self = Self::None;
            step.say(UpgradeNote::Ended(exit));
        }
    }
}
