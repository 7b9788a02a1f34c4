//! The arbiter as it is saved. An upgrade in place hands this to another build, so names and shapes
//! stay those of the first build (cb54ddf; `tests/saved_states.rs`), whatever becomes of the owners
//! of what is in it. A new field needs `#[serde(default)]`.

use std::collections::{BTreeMap, BTreeSet};

use rcorn_types::Monotonic;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::arbiter::Arbiter;
use super::generations::Generations;
use super::heartbeats::Heartbeats;
use super::life::{Life, Phase};
use super::refork::Refork;
use super::resize::Resize;
use super::retirement::Retirement;
use super::rollout::Rollout;
use super::templates::{Replaced, TemplateStage, Templates};
use super::throttle::Throttle;
use super::upgrade::Upgrade;
use super::values::{Generation, Pid, Policy, WorkerId};
use super::worker::Worker;
use super::workers::Workers;

impl Serialize for Arbiter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Saved::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arbiter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Saved::deserialize(deserializer).map(Self::from)
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    phase: Phase,
    policy: Policy,
    wanted: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    resize: Resize,
    generation: Generation,
    newest: Generation,
    pool: Pool,
    #[serde(flatten)]
    rollout: Rollout,
    reload_again: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    import_verdicts: BTreeMap<Generation, bool>,
    throttle: Throttle,
    #[serde(default, skip_serializing_if = "is_default")]
    spare_throttle: Throttle,
    #[serde(flatten)]
    retirement: Retirement,
    #[serde(default, skip_serializing_if = "Refork::is_default")]
    refork: Refork,
    ever_ready: bool,
    #[serde(flatten)]
    heartbeats: Heartbeats,
    upgrade: Upgrade,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    upgrade_waits: bool,
    stop_at: Option<Monotonic>,
    #[serde(rename = "strangers")]
    unknown_workers: BTreeSet<Pid>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
struct Pool {
    workers: BTreeMap<WorkerId, Worker>,
    templates: BTreeMap<Generation, TemplateStage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    replaced: BTreeMap<Pid, Replaced>,
    #[serde(rename = "next")]
    last_id: u64,
}

impl From<Arbiter> for Saved {
    fn from(arbiter: Arbiter) -> Self {
        let Arbiter {
            life,
            wanted,
            resize,
            generations,
            workers,
            templates,
            throttle,
            spare_throttle,
            ever_ready,
            upgrade,
        } = arbiter;
        Self {
            phase: life.phase,
            policy: generations.policy,
            wanted,
            resize,
            generation: generations.current,
            newest: generations.newest,
            pool: Pool {
                workers: workers.by_id,
                templates: templates.by_generation,
                replaced: templates.replaced,
                last_id: workers.last_id,
            },
            rollout: generations.rollout,
            reload_again: generations.reload_again,
            import_verdicts: generations.verdicts,
            throttle,
            spare_throttle,
            retirement: workers.retirement,
            refork: workers.refork,
            ever_ready,
            heartbeats: workers.heartbeats,
            upgrade_waits: upgrade == Upgrade::Waiting,
            upgrade,
            stop_at: life.stop_at,
            unknown_workers: workers.unknown,
        }
    }
}

impl From<Saved> for Arbiter {
    fn from(saved: Saved) -> Self {
        Self {
            life: Life {
                phase: saved.phase,
                stop_at: saved.stop_at,
            },
            wanted: saved.wanted,
            resize: saved.resize,
            generations: Generations {
                current: saved.generation,
                policy: saved.policy,
                newest: saved.newest,
                rollout: saved.rollout,
                reload_again: saved.reload_again,
                verdicts: saved.import_verdicts,
            },
            workers: Workers {
                by_id: saved.pool.workers,
                last_id: saved.pool.last_id,
                heartbeats: saved.heartbeats,
                retirement: saved.retirement,
                refork: saved.refork,
                unknown: saved.unknown_workers,
            },
            templates: Templates {
                by_generation: saved.pool.templates,
                replaced: saved.pool.replaced,
            },
            throttle: saved.throttle,
            spare_throttle: saved.spare_throttle,
            ever_ready: saved.ever_ready,
            upgrade: if saved.upgrade_waits {
                Upgrade::Waiting
            } else {
                saved.upgrade
            },
        }
    }
}
