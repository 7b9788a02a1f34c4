//! The settings table, and all sources of settings. In rising precedence: defaults, the
//! configuration file, variables of the environment, the flags in `GUNICORN_CMD_ARGS` and
//! `RCORN_CMD_ARGS`, the command line.
//!
//! All settings are rows of one table, in `rows`. Nothing here prints, forks or opens a socket.
//! `main` and the driver call [`collect`]; all other code gets [`Settings`].

#![forbid(unsafe_code)]

mod address;
mod allow;
mod amount;
mod app;
mod argv;
mod check;
mod choice;
mod clap_error;
mod compression;
mod config;
mod environment;
mod error;
mod evaluated;
mod explain;
mod file;
mod gunicorn_compat;
mod help;
mod hooks;
mod literal;
mod origin;
mod python_literal;
mod refusal;
mod rows;
mod shell;
mod sources;
mod static_files;
mod table;
mod telemetry;
mod tls;
mod tls_check;
mod value;
mod worker_class;
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
    DrainMode, HeaderMap, Level, LogFormat, LogTarget, Preload, Protocol, ProxyProtocol,
    ReloadEngine, RequestId, RetireOldFirst, ServerHeader, SyslogFacility, UpgradeMode,
};
pub use clap_error::help_or_error;
pub use compression::{Coding, Compression};
pub use config::{ConfigFile, Mapping};
pub use environment::{Environment, non_empty_variable, process_environment};
pub use error::Error;
pub use evaluated::{EVALUATOR, PythonFile};
pub use explain::{explain, is_app, print_config, values};
pub use gunicorn_compat::{Takes, Treatment, UNSUPPORTED, Unsupported};
pub use help::described;
pub use hooks::{HOOKS, Hook, HookProcess};
pub use literal::Literal;
pub use origin::{Origin, Origins};
pub use python_literal::literal_prefix;
pub use refusal::{Bounds, Cause, Refused};
pub use rows::{Layer, Setting, Settings, TABLE};
pub use sources::{Invocation, Resolved, Sources, collect};
pub use table::{Completes, Effect, Flag, InPython, Row, Section, Shape, Variable, VariableForm};
pub use telemetry::{MetricText, StatsdAddress, SyslogAddress, UnixKind};
pub use tls::{Ciphers, ClientCertificates, TlsVersions};
pub use value::Value;
pub use worker_class::ServedClass;
pub use workers::Workers;

impl Settings {
    /// The name in process titles: `proc_name`, or else the app as it was given.
    #[must_use]
    pub fn process_name(&self) -> String {
        let app = || self.wsgi_app.as_ref().map(ToString::to_string);
        let name = self.proc_name.clone().or_else(app);
        name.unwrap_or_else(|| "rcorn".to_owned())
    }
}
