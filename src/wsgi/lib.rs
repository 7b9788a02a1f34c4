//! PEP 3333: one exchange with the app, from the environ to the last byte of the reply. Knows the channel of
//! one connection, not the loop that waits for connections. Called by `worker`.
#![forbid(unsafe_code)]

mod turn;

pub mod attached;
pub mod body;
pub mod declare;
pub mod environ;
pub mod errors;
pub mod exchange;
pub mod file;
pub mod fragment;
pub mod hints;
pub mod input;
pub mod reply;
pub mod slot;
pub mod start;
pub mod violation;

pub mod endpoints {
    //! The endpoints of a connection.
    pub use super::environ::{Endpoints, ProxyEndpoints};
}
pub mod variables {
    //! Requests that came as variables.
    pub use super::environ::Variables;
}
