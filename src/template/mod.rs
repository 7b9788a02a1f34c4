//! The template: the user's own Python with the app imported, which serves nothing and forks workers on
//! order. Enters here from the bootstrap and never returns to Python.

mod again;
pub(crate) mod boot;
mod develop;
pub(crate) mod hooks;
mod litter;
pub(crate) mod loggers;
mod offspring;
mod safety;
pub(crate) mod serve;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::RawFd;

use pyo3::prelude::*;

use crate::link::Start;
use crate::sys;
use crate::{log, sys::process::adopt};

/// The native module that the bootstrap imports.
#[pymodule]
#[pyo3(name = "_rcorn")]
fn native(native: &Bound<'_, PyModule>) -> PyResult<()> {
    native.add_function(wrap_pyfunction!(template, native)?)
}

/// Runs the template. `native`: the memfd this module came from (kept for a second exec, then closed);
/// `start`: the memfd with the orders; `mode`: `first`, or `bare` after it found the app unsafe to preload; `check`
/// only imports the app.
#[pyfunction]
fn template(py: Python<'_>, native: RawFd, start: RawFd, mode: &str) -> PyResult<()> {
    let code = match begin(py, native, start, mode) {
        Ok(code) => code,
        Err(error) => {
            log::critical(format_args!("the template cannot start: {error}"));
            1
        }
    };
    sys::exit_now(code)
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
