//! The front as a process, between clients and workers of these tests.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and that is what a test should do"
)]

mod support;

mod attacks;
mod compression;
mod confinement;
mod conformance;
mod drain;
mod http1;
mod http2;
mod limits;
mod redirect;
mod retries;
mod shared_bodies;
mod tls;
