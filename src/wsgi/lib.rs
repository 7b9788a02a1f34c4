//! PEP 3333: one exchange with the app, from the environ to the last byte of the reply. Knows the channel of
//! one connection, not the loop that waits for connections. Called by `worker`.
#![forbid(unsafe_code)]

mod fields;
mod turn;

pub mod attached;
pub mod body;
pub mod declare;
pub mod endpoints;
pub mod environ;
pub mod errors;
pub mod exchange;
pub mod file;
pub mod fragment;
pub mod hints;
pub mod input;
pub mod names;
pub mod reply;
pub mod slot;
pub mod start;
pub mod variables;
pub mod violation;
