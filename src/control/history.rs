//! What has happened since the server was started, as the arbiter counts it. It outlives reloads
//! and upgrades in place.

use std::collections::VecDeque;

use rcorn_scoreboard::Histogram;
use serde::{Deserialize, Serialize};

/// Counts of what the arbiter has done and seen, and the last of it in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When the server was started: seconds since 1970.
    pub started: i64,
    /// Workers that were forked.
    pub worker_starts: u64,
    /// Workers that have ended, by the reason.
    pub worker_ends: Vec<Count>,
    /// Reloads that are over, by their outcome.
    pub reloads: Vec<Count>,
    /// Upgrades, by their kind.
    pub upgrades: Vec<Count>,
    /// From the order to fork a worker until it served.
    pub boot: Histogram,
    /// What happened last, the oldest first.
    pub recent: VecDeque<Recent>,
}

/// How often something has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub what: String,
    /// The signal that ended the worker, if it crashed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<String>,
    /// How often.
    pub count: u64,
}

impl Count {
    /// Counts one more of `what` among these.
    pub fn add(counts: &mut Vec<Self>, what: &str, signal: Option<&str>) {
        let known = counts
            .iter_mut()
            .find(|one| one.what == what && one.signal.as_deref() == signal);
        match known {
            Some(one) => one.count = one.count.saturating_add(1),
            None => counts.push(Self {
                what: what.to_owned(),
                signal: signal.map(str::to_owned),
                count: 1,
            }),
        }
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// When: seconds since 1970.
    pub at: i64,
    /// In words.
    pub text: String,
}
