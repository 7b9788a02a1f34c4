//! Method, target, script name and path of a request.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::{Head, path_info};
use rcorn_python::text;

use super::fields::Overrides;
use super::keys::Keys;
use super::values::ValueCache;
use super::{EnvironError, Variables};

/// Puts the target of a request into its environ.
#[derive(Debug)]
pub(super) struct TargetWriter {
    /// The process's own `SCRIPT_NAME`, without a slash at its end.
    script_name: Vec<u8>,
    /// Room for a decoded path.
    path: Vec<u8>,
}

impl TargetWriter {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let variables = py.import("os")?.getattr("environ")?;
        let value: Option<String> = variables.call_method1("get", ("SCRIPT_NAME",))?.extract()?;
        let value = value.unwrap_or_default();
        Ok(Self {
            script_name: OsStr::new(value.trim_end_matches('/')).as_bytes().to_vec(),
            path: Vec::new(),
        })
    }

    /// The process's own `SCRIPT_NAME`.
    pub(super) fn script_name(&self) -> &[u8] {
        &self.script_name
    }

    /// Sets method, path and query. `overrides`: what a trusted peer's fields say.
    pub(super) fn set(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        (keys, values): (&Keys, &mut ValueCache),
        (bytes, head): (&[u8], &Head),
        overrides: Option<&Overrides>,
    ) -> Result<(), EnvironError> {
        set_line(py, environ, (keys, values), (bytes, head))?;
        self.path.clear();
        match overrides.and_then(|overrides| overrides.path.as_deref()) {
            Some(path) => self.path.extend_from_slice(path),
            None => path_info(head.path.of(bytes), &mut self.path),
        }
        let script = overrides.and_then(|overrides| overrides.script.as_deref());
        self.set_path(py, environ, (keys, values), script)
    }

    /// Sets `SCRIPT_NAME` and `PATH_INFO` of a request that came as variables: as they were given,
    /// if a script name was. Otherwise the path is split as over HTTP: the process's own
    /// `SCRIPT_NAME` says which part of it is the app's.
    pub(super) fn set_given(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        (keys, values): (&Keys, &mut ValueCache),
        (bytes, head): (&[u8], &Head),
        variables: Variables<'_>,
    ) -> Result<(), EnvironError> {
        let path = variables.get(b"PATH_INFO");
        if let Some(script) = variables.get(b"SCRIPT_NAME") {
            environ.set_item(&keys.script, text::latin1(py, script)?)?;
            environ.set_item(&keys.path, text::latin1(py, path.unwrap_or(b""))?)?;
            return Ok(());
        }
        self.path.clear();
        match path {
            Some(path) => self.path.extend_from_slice(path),
            None => path_info(head.path.of(bytes), &mut self.path),
        }
        self.set_path(py, environ, (keys, values), None)
    }

    /// Sets `SCRIPT_NAME`, the process's own unless one is given, and the part of the path after
    /// it.
    fn set_path(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        (keys, values): (&Keys, &mut ValueCache),
        script: Option<&[u8]>,
    ) -> Result<(), EnvironError> {
        let script = script.unwrap_or(&self.script_name);
        if script.is_empty() {
            environ.set_item(&keys.path, values.get(py, &self.path)?)?;
            return Ok(());
        }
        let Some(rest) = self.path.strip_prefix(script) else {
            let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
            return Err(EnvironError::ScriptName(lossy(&self.path), lossy(script)));
        };
        environ.set_item(&keys.script, text::latin1(py, script)?)?;
        environ.set_item(&keys.path, text::latin1(py, rest)?)?;
        Ok(())
    }
}

/// Sets method, target and query.
pub(super) fn set_line(
    py: Python<'_>,
    environ: &Bound<'_, PyDict>,
    (keys, values): (&Keys, &mut ValueCache),
    (bytes, head): (&[u8], &Head),
) -> PyResult<()> {
    environ.set_item(&keys.method, values.get(py, head.method(bytes))?)?;
    environ.set_item(&keys.raw_uri, values.get(py, head.target.of(bytes))?)?;
    environ.set_item(&keys.query, values.get(py, head.query.of(bytes))?)
}
