//! The black-box tests: the real binary, real sockets. One program, so that it links once; a folder
//! a subject.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and that is what a test should do"
)]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod config;
mod control;
mod cost;
mod docs;
mod http;
mod lifecycle;
mod logging;
mod monitor;
mod oneshot;
mod packaging;
mod proxy;
mod python;
mod reload;
mod systemd;
mod tls;
mod upgrade;
mod wsgi;
