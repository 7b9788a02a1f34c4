#![doc = include_str!("ARCHITECTURE.md")]

pub mod arbiter;
pub mod control;
pub mod driver;
pub mod http;
pub mod link;
pub mod log;
pub mod manual;
pub mod migrate;
#[cfg(not(feature = "worker"))]
pub mod oneshot;
pub mod settings;
pub mod sys;

#[cfg(feature = "worker")]
pub mod python;
#[cfg(feature = "worker")]
pub mod template;
#[cfg(feature = "worker")]
pub mod worker;
#[cfg(feature = "worker")]
pub mod wsgi;

/// `SERVER_SOFTWARE` in the environ.
pub const SERVER_SOFTWARE: &str = concat!("rcorn/", env!("CARGO_PKG_VERSION"));
