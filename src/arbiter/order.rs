//! What an operator may order, by signal or by the control socket, and what follows at once.

use rcorn_types::Monotonic;

use super::event::{Action, Ask, Outcome, RetireReason, WorkerId};
use super::note::{Note, StopNote, UpgradeNote};
use super::{Arbiter, Phase, Upgrade};

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
        }
    }

    /// Whether a server that is stopping, or about to, takes it.
    fn is_taken_while_stopping(self) -> bool {
        match self {
            Self::Stop | Self::Quit | Self::Reopen => true,
            Self::Reload
            | Self::More
            | Self::Fewer
            | Self::Scale(_)
            | Self::Upgrade
            | Self::Dismiss
            | Self::Retire(_) => false,
        }
    }
}

impl Arbiter {
    pub(super) fn order(&mut self, now: Monotonic, order: Order, actions: &mut Vec<Action>) {
        let is_running = self.phase == Phase::Running && self.stop_at.is_none();
        if !is_running && !order.is_taken_while_stopping() {
            actions.push(StopNote::Ignored(order.name()).say());
            return;
        }
        match order {
            Order::Stop => self.order_stop(now, actions),
            Order::Quit => self.stop(now, Outcome::Stopped, true, actions),
            Order::Reopen => self.reopen_logs(actions),
            Order::Reload => self.order_reload(now, actions),
            Order::More => self.set_wanted(self.wanted.saturating_add(1), actions),
            Order::Fewer => {
                // A server whose workers were all dismissed stays without.
                let fewer = self.wanted.saturating_sub(1).max(1).min(self.wanted);
                self.set_wanted(fewer, actions);
            }
            Order::Scale(count) => self.set_wanted(count.max(1), actions),
            Order::Dismiss => {
                actions.push(Action::Say(Note::Dismissed));
                self.set_wanted(0, actions);
            }
            Order::Retire(id) => self.retire(id, RetireReason::Ordered, actions),
            Order::Upgrade => self.order_upgrade(now, actions),
        }
    }

    /// Changes how many workers there are to be; `reconcile` forks or drains.
    pub(super) fn set_wanted(&mut self, count: u32, actions: &mut Vec<Action>) {
        if self.wanted != count {
            self.wanted = count;
            actions.push(Action::Wanted(count));
            actions.push(Action::Say(Note::Workers(count)));
        }
    }

    /// Lets a serving worker be replaced when its turn comes.
    pub(super) fn retire(&mut self, id: WorkerId, why: RetireReason, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.get(&id) else {
            return;
        };
        if worker.stage.is_serving()
            && let Some(pid) = worker.stage.pid()
            && self.retirement.request(id)
        {
            actions.push(Action::Say(Note::Retiring(pid, why)));
        }
    }

    fn reopen_logs(&self, actions: &mut Vec<Action>) {
        actions.push(Action::ReopenLogs);
        let serving = self
            .pool
            .workers
            .values()
            .filter(|worker| worker.stage.is_serving())
            .filter_map(|worker| worker.stage.pid());
        actions.extend(serving.map(|pid| Action::Ask(pid, Ask::Reopen)));
    }

    /// An upgrade in place ends this process while it performs the action. So nothing may be under
    /// way that only the driver knows of: a reload on probation is committed first.
    fn order_upgrade(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        match self.upgrade {
            Upgrade::Starting | Upgrade::Beside(_) => {
                actions.push(UpgradeNote::Exists.say());
            }
            Upgrade::None if self.is_reloading() => {
                let reason = "a reload is under way".to_owned();
                actions.push(UpgradeNote::NotStarted(reason).say());
            }
            Upgrade::None => {
                self.commit_reload(now, actions);
                self.upgrade = Upgrade::Starting;
                actions.push(Action::Upgrade);
            }
        }
    }
}
