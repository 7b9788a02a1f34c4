//! The template: the user's own Python with the app imported. It serves nothing and forks workers
//! on order. The bootstrap enters here, and never gets back to Python.
#![forbid(unsafe_code)]

mod app_state;
mod boot;
mod check;
mod close_fds_in_children;
mod identity;
mod leftover_children;
mod preload;
mod reexec;
mod serve;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::RawFd;

use pyo3::prelude::*;

use rcorn_link::Start;
use rcorn_log as log;
use rcorn_sys::descriptor::adopt;

use reexec::Invocation;

/// Runs the template to its end; gives its exit code.
///
/// - `native`: the memfd that this module was loaded from; kept for a second exec, then closed.
/// - `start`: the memfd of the start message.
/// - `mode`: `first`; `no-preload` after the app proved unsafe to preload; `check` only imports the
///   app.
pub fn run(py: Python<'_>, native: RawFd, start: RawFd, mode: &str) -> i32 {
    match begin(py, native, start, mode) {
        Ok(code) => code,
        Err(error) => {
            log::critical(format_args!("the template cannot start: {error}"));
            1
        }
    }
}

fn begin(py: Python<'_>, native: RawFd, start: RawFd, mode: &str) -> io::Result<i32> {
    let mut message = File::from(adopt(start)?);
    let mut text = String::new();
    message.rewind()?;
    message.read_to_string(&mut text)?;
    let start: Start = serde_json::from_str(&text)?;
    if mode == "check" {
        return check::run(py, &start);
    }
    boot::run(py, &start, Invocation::new(native, message, mode)?)
}
