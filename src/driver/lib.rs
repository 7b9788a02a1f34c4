//! The arbiter's process: the hands of the pure `rcorn_arbiter`. One loop (`driver`) owns one
//! object for each external resource, and passes to each what it needs. Called by `main`; knows no
//! Python.
//!
//! * the loop and its start: `driver`, `hands`, `start`, `poller`, `signals`, `policy`,
//!   `background`, `pidfile`;
//! * processes: `children`, `process`, `reports`, `helper`, `interpreter`, `native`, `evaluate`,
//!   `check`;
//! * TLS: `front`;
//! * sockets: `sockets`, `listener`, `open`, `plan`, `bind`, `lookup`, `systemd`, `unix_socket`;
//! * a reload: `reload`, `logs`, `watch`;
//! * an upgrade: `upgrade`, `successor`, `handover`, `saved_children`;
//! * whom it talks to: `control`, `requests`, `status`, `service_manager`;
//! * what the workers do: `shared_memory`, `postmortem`, `slow`, `out_of_memory`;
//! * logs and metrics that are sent elsewhere: `telemetry`; what the app prints:
//!   `captured_output`.
#![forbid(unsafe_code)]

mod about;
mod background;
mod bind;
mod captured_output;
#[cfg(test)]
mod changes;
mod check;
mod children;
#[cfg(test)]
mod children_tests;
mod control;
mod driver;
mod error;
mod evaluate;
mod front;
mod handover;
mod hands;
mod helper;
mod in_hand;
mod interpreter;
mod listener;
mod logs;
mod lookup;
mod monitor;
mod native;
mod open;
mod origin;
mod out_of_memory;
mod owner;
mod packed;
mod pidfile;
mod plan;
mod policy;
mod poller;
mod postmortem;
mod process;
mod reload;
mod reports;
mod requests;
mod saved_children;
mod service_manager;
mod shared_memory;
mod signals;
mod slow;
mod sockets;
mod start;
mod status;
mod successor;
mod systemd;
mod tally;
mod telemetry;
mod unix_socket;
mod upgrade;
mod watch;

pub use about::about;
pub use background::Background;
pub use check::check;
pub use error::StartError;
pub use evaluate::resolve;
pub use handover::{Handover, HandoverError, PROTOCOL};
pub use interpreter::find_for as python;
pub use interpreter::{InterpreterError, LOAD_FLAG, load_again};
pub use native::NativeModules;
pub use origin::Origin;
pub use reload::ReadSources;
pub use signals::HANDLED;
pub use start::{Launch, run};
pub use successor::{CHECK_FLAG, PROTOCOL_FLAG, check_handover};
