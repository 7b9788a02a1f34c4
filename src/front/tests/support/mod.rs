//! What the tests share: a front, workers, certificates and clients. Every wait has a deadline.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod front;
pub(crate) mod keys;
pub(crate) mod worker;

use std::time::Duration;

/// For how long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
