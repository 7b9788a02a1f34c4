//! The template: the user's own Python with the app imported, which serves nothing and forks workers on
//! order. Enters here from the bootstrap and never returns to Python.
#![forbid(unsafe_code)]

mod again;
mod app_state;
mod boot;
mod litter;
mod offspring;
mod safety;
mod serve;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::RawFd;

use pyo3::prelude::*;

use rcorn_link::Start;
use rcorn_log as log;
use rcorn_sys::descriptor::adopt;

/// Runs the template. `native`: the memfd this module came from (kept for a second exec, then closed);
/// `start`: the memfd with the orders; `mode`: `first`, or `bare` after it found the app unsafe to preload; `check`
/// only imports the app.
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
    let mut orders = File::from(adopt(start)?);
    let mut text = String::new();
    orders.rewind()?;
    orders.read_to_string(&mut text)?;
    let orders_of: Start = serde_json::from_str(&text).map_err(io::Error::other)?;
    if mode == "check" {
        return serve::check(py, &orders_of);
    }
    serve::run(
        py,
        &orders_of,
        again::Origin {
            native,
            start: orders,
            bare: mode == "bare",
        },
    )
}
