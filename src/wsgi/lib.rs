//! PEP 3333: one exchange with the app, from the environ to the last byte of the response. It knows
//! the channel of one connection, not the event loop. Called by `worker`.
//!
//! All that a request needs is owned by its request slot: an [`EnvironBuilder`] and an
//! [`ExchangeSlot`]. The [`WsgiApp`] is shared. One exception: [`close_flag`] is for the whole
//! process, because a signal handler sets it.
#![forbid(unsafe_code)]

mod attached;
mod body;
mod client_socket;
mod declare;
mod environ;
mod errors;
mod exchange;
mod file;
mod forked_child;
mod fragment;
mod hints;
mod input;
mod response;
mod slot;
mod start;
mod turn;
mod violation;

pub use attached::Attached;
pub use body::Body;
pub use environ::{
    Endpoints, EnvironBuilder, EnvironError, EnvironObjects, GivenVariables, ProxyEndpoints,
    Variables,
};
pub use errors::Errors;
pub use exchange::{Completed, Ending, ExchangeError, Served, WsgiApp};
pub use file::FileWrapper;
pub use input::{CONTINUE, Input};
pub use response::{CommonHeaders, ResponseConstraints, close_flag};
pub use slot::{ExchangeSlot, Prepared};

use pyo3::prelude::*;

/// Makes the types of the objects that requests have. Otherwise each process makes them for itself
/// when it needs them; after this all that are forked from this one have them in common.
pub fn make_types(py: Python<'_>) {
    drop((
        py.get_type::<Input>(),
        py.get_type::<Errors>(),
        py.get_type::<FileWrapper>(),
        py.get_type::<hints::Hints>(),
        py.get_type::<start::Exchange>(),
    ));
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test that fails panics")]
mod tests;
