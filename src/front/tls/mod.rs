//! TLS: what is presented to clients, by which rules, and the tickets by which they come back.

mod build;
mod certificate;
mod resolver;
mod sites;
mod tickets;

pub(crate) use build::{Server, build, check};
