//! What fronts depend on, of what the arbiter has.

use std::os::fd::RawFd;

use mio::{Registry, Token};

use rcorn_settings::Settings;
use rcorn_types::Monotonic;

use crate::listener::Listener;
use crate::owner::Owner;

/// What fronts depend on.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The settings in force.
    pub(crate) settings: &'a Settings,
    pub(crate) listeners: &'a [&'a Listener],
    /// The user of the workers, who is that of fronts, too.
    pub(crate) owner: Owner,
    pub(crate) generation: u32,
    /// The descriptor of the error log.
    pub(crate) error_log: RawFd,
    pub(crate) registry: &'a Registry,
    pub(crate) token: Token,
    pub(crate) now: Monotonic,
}
