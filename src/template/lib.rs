//! The template: the user's own Python. It serves nothing, and forks workers on order. The
//! bootstrap enters here, and never returns to Python.
//!
//! A template that was started has the config file's hooks, but not the app (unless `preload_app`
//! is on). The first worker that is forked from it imports the app, watches what the import does,
//! and becomes the template if that may be shared ([`promotion`]): then all workers share its
//! memory. No import is thrown away.
#![forbid(unsafe_code)]

mod about;
mod app_state;
mod boot;
mod captured_output;
mod check;
mod close_fds_in_children;
mod identity;
mod import;
mod leftover_children;
mod promotion;
mod refork;
mod serve;
mod template;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::RawFd;

use pyo3::prelude::*;

use rcorn_link::Start;
use rcorn_log as log;
use rcorn_sys::descriptor::adopt;
use rcorn_types::with_remedy;

/// Runs the template to its end; returns its exit code.
///
/// - `loader`: descriptors that were needed to load this module, and are not any more: the memfd
///   with it, and rcorn's executable.
/// - `start`: the memfd of the start message.
/// - `mode`: `first`; `check` only imports the app, `about` only prints what this interpreter is;
///   and the ABI of this module.
pub fn run(py: Python<'_>, loader: [RawFd; 2], start: RawFd, mode: (&str, &str)) -> i32 {
    match begin(py, loader, start, mode) {
        Ok(code) => code,
        Err(error) => {
            log::critical(format_args!(
                "the template cannot start: {}",
                with_remedy(&error)
            ));
            1
        }
    }
}

fn begin(
    py: Python<'_>,
    loader: [RawFd; 2],
    start: RawFd,
    (mode, abi): (&str, &str),
) -> io::Result<i32> {
    let mut message = File::from(adopt(start)?);
    let mut text = String::new();
    message.rewind()?;
    message.read_to_string(&mut text)?;
    let start: Start = serde_json::from_str(&text)?;
    drop(message);
    for descriptor in loader {
        drop(adopt(descriptor)?);
    }
    match mode {
        "about" => about::run(py, abi),
        "check" => check::run(py, &start),
        // The worker that this process becomes has threads that know it.
        _ => boot::run(py, Box::leak(Box::new(start))),
    }
}
