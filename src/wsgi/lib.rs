//! The guest: one exchange with the app (PEP 3333), from environ to the last byte of the reply. Knows one
//! connection's channel, never the loop that waits for connections. Called by `worker`.
#![forbid(unsafe_code)]

mod fields;

pub mod attached;
pub mod body;
pub mod declare;
pub mod ends;
pub mod environ;
pub mod errors;
pub mod exchange;
pub mod file;
pub mod hints;
pub mod input;
pub mod mistake;
pub mod names;
pub mod reply;
pub mod start;
pub mod step;
pub mod variables;
