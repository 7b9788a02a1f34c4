//! The arbiter's decisions: what happened goes in, what to do comes out. No I/O, no clock, no
//! system call, so that everything that can happen to a server is a test that takes microseconds.
//! Start, reload, scaling, crash recovery and stop are not procedures: each changes what is wanted,
//! and `Arbiter::reconcile` closes the gap to what is. Only the driver calls this.
//!
//! One step: [`Arbiter::step`] takes an [`Event`] and the time, and appends [`Action`]s. The driver
//! performs them, turns their results into events, and sends [`Event::Tick`] when
//! [`Arbiter::deadline`] has come.
//!
//! Each file has one owner: the workers, the templates, the generations, the throttle and so on.
//! They know nothing of each other, unless one is passed to the other; the arbiter tells each what
//! happened, and what that means for the others.
#![forbid(unsafe_code)]

mod arbiter;
mod event;
mod gap;
mod generations;
mod heartbeats;
mod life;
mod note;
mod order;
mod refork;
mod resize;
mod retirement;
mod rollout;
mod saved;
mod step;
mod templates;
mod throttle;
mod upgrade;
mod values;
mod worker;
mod workers;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod simulation;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests;

pub use arbiter::Arbiter;
pub use event::{Action, Ask, Event};
pub use life::Phase;
pub use note::{
    KillReason, Note, ReforkNote, ReloadNote, StopNote, TemplateNote, UpgradeNote, WorkerNote,
};
pub use order::Order;
pub use templates::{TemplateStage, Templates};
pub use values::{
    BootFailure, BootFailureKind, CellIndex, Exit, Generation, Import, OldFirst, Outcome, Pid,
    Policy, RetireReason, WorkerId,
};
pub use worker::{Hang, Worker, WorkerStage};
pub use workers::Workers;
