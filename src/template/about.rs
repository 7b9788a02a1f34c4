//! What this interpreter is, in words.

use std::io::{self, Write};

use pyo3::prelude::*;

/// Implementation and version, such as `CPython 3.14.2`.
pub(super) fn python(py: Python<'_>) -> PyResult<String> {
    // Not `platform`, which would stay loaded.
    let sys = py.import("sys")?;
    let version: String = sys.getattr("version")?.extract()?;
    let number = version.split(' ').next().unwrap_or_default();
    let is_free_threaded = sys.getattr("abiflags")?.contains("t")?;
    let gil = if is_free_threaded {
        ", free-threaded"
    } else {
        ""
    };
    // The bootstrap has refused all others.
    Ok(format!("CPython {number}{gil}"))
}

/// Prints it for `rcorn --version --verbose`, in one line; returns the exit code.
pub(super) fn run(py: Python<'_>, abi: &str) -> io::Result<i32> {
    let told = python(py).and_then(|python| {
        let sys = py.import("sys")?;
        let text = |name: &str| sys.getattr(name)?.extract::<String>();
        let [prefix, base] = [text("prefix")?, text("base_prefix")?];
        let place = if prefix == base {
            format!("in {prefix}")
        } else {
            format!("in {prefix}, made from the one in {base}")
        };
        Ok(format!("{python} {place}; it loads {abi}\n"))
    });
    let told = told.map_err(io::Error::other)?;
    io::stdout().write_all(told.as_bytes())?;
    Ok(0)
}
