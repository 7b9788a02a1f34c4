//! What the operator said: defaults, then the configuration file, then the environment with the command lines in
//! `GUNICORN_CMD_ARGS` and `RCORN_CMD_ARGS`, then the arguments; each counts more than the one before.
//!
//! All settings stand in one table, in `rows`. Nothing here prints, forks or opens a socket, and nothing else
//! of the crate is used: `main` and the driver call [`gather`], everyone else gets [`Settings`].

#![forbid(unsafe_code)]

mod address;
mod allow;
mod amount;
mod app;
mod argv;
mod check;
mod choice;
mod config;
mod environment;
mod error;
mod evaluated;
mod explain;
mod file;
mod help;
mod hooks;
mod known;
mod literal;
mod origin;
mod rows;
mod shell;
mod sources;
mod table;
mod text;
mod value;
mod workers;
mod yaml;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use allow::AllowList;
pub use amount::{Mode, Seconds, Size};
pub use app::{AppRef, Expression};
pub use check::launch_directory;
pub use choice::{
    DrainMode, HeaderMap, Level, LogTarget, Preload, Protocol, ProxyProtocol, ReloadEngine,
    UpgradeMode,
};
pub use config::{ConfigFile, Mapping};
pub use environment::Environment;
pub use error::Error;
pub use evaluated::{EVALUATOR, PythonFile};
pub use explain::{explain, print_config, values};
pub use help::described;
pub use hooks::{HOOKS, Hook};
pub use known::{Answer, KNOWN, Known, Takes};
pub use literal::Literal;
pub use origin::{Origin, Origins};
pub use rows::{Layer, Settings, TABLE};
pub use sources::{Asked, Sources, gather};
pub use table::{Effect, Flag, Section, Setting};
pub use value::{Bounds, Cause, Refused, Value};
pub use workers::Workers;

/// The settings that hold, and how they came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Where each value is from.
    pub origins: Origins,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
}
