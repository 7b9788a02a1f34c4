//! How far a reload has come, and how that is saved.

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::values::{Generation, Policy};

/// How far the reload under way has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SavedRollout", into = "SavedRollout")]
pub(super) enum Rollout {
    /// There is none.
    None,
    /// The driver reads the settings.
    Loading,
    /// A new template starts, or its first worker boots.
    Candidate(Candidate),
    /// The new generation is in force. It may be taken back.
    Probation(Probation),
}

/// A generation that has not served yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) generation: Generation,
    /// In force once it serves.
    pub(super) policy: Policy,
}

/// What is needed to take a reload back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probation {
    /// The generation to go back to.
    pub(super) previous: Generation,
    /// Its policy.
    pub(super) policy: Policy,
    /// When the probation ends, if all old workers have left by then.
    pub(super) until: Monotonic,
    /// How many new workers have died.
    pub(super) deaths: u32,
}

/// [`Rollout`] as it is saved: in two fields, of which at most one is set.
#[derive(Serialize, Deserialize)]
struct SavedRollout {
    reload: Option<SavedReload>,
    watch: Option<Probation>,
}

/// [`Candidate`] as it is saved; both fields are missing while the settings are loaded.
#[derive(Serialize, Deserialize)]
struct SavedReload {
    generation: Option<Generation>,
    policy: Option<Policy>,
}

impl From<Rollout> for SavedRollout {
    fn from(rollout: Rollout) -> Self {
        let (reload, watch) = match rollout {
            Rollout::None => (None, None),
            Rollout::Loading => (Some((None, None)), None),
            Rollout::Candidate(Candidate { generation, policy }) => {
                (Some((Some(generation), Some(policy))), None)
            }
            Rollout::Probation(probation) => (None, Some(probation)),
        };
        let reload = reload.map(|(generation, policy)| SavedReload { generation, policy });
        Self { reload, watch }
    }
}

impl From<SavedRollout> for Rollout {
    fn from(saved: SavedRollout) -> Self {
        match (saved.reload, saved.watch) {
            (None, None) => Self::None,
            (None, Some(probation)) => Self::Probation(probation),
            (
                Some(SavedReload {
                    generation: Some(generation),
                    policy: Some(policy),
                }),
                _,
            ) => Self::Candidate(Candidate { generation, policy }),
            (Some(_), _) => Self::Loading,
        }
    }
}

impl Rollout {
    /// The generation that has not served yet.
    pub(super) fn candidate(&self) -> Option<Generation> {
        match self {
            Self::Candidate(candidate) => Some(candidate.generation),
            Self::None | Self::Loading | Self::Probation(_) => None,
        }
    }

    /// The reload that may still be taken back.
    pub(super) fn probation(&self) -> Option<&Probation> {
        match self {
            Self::Probation(probation) => Some(probation),
            Self::None | Self::Loading | Self::Candidate(_) => None,
        }
    }

    /// Whether nothing of the reload serves yet.
    pub(super) fn is_in_preparation(&self) -> bool {
        match self {
            Self::Loading | Self::Candidate(_) => true,
            Self::None | Self::Probation(_) => false,
        }
    }
}
