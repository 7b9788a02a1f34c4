//! What the environs of all requests of a listener have in common.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use rcorn_link::{Listener, ListenerKind};
use rcorn_python::text;
use rcorn_settings::Protocol;

use super::super::input::Input;
use super::keys::Keys;

/// The objects behind environ keys that every request of a slot has.
#[derive(Debug)]
pub struct EnvironObjects<'a, 'py> {
    /// `SERVER_SOFTWARE`.
    pub software: &'a str,
    /// `wsgi.errors`.
    pub errors: Bound<'py, PyAny>,
    /// `wsgi.file_wrapper`.
    pub file_wrapper: Bound<'py, PyAny>,
    /// `wsgi.early_hints`.
    pub early_hints: Bound<'py, PyAny>,
    /// `wsgi.multithread`.
    pub multithread: bool,
}

/// One dict a listener. A copy of it becomes the environ of a request.
#[derive(Debug)]
pub(super) struct Templates {
    by_listener: Vec<(Py<PyDict>, ListenerKind)>,
    multiprocess: bool,
}

impl Templates {
    pub(super) fn new(
        py: Python<'_>,
        listeners: &[Listener],
        objects: &EnvironObjects<'_, '_>,
        script_name: &[u8],
    ) -> PyResult<Self> {
        let no_input = Bound::new(py, Input::empty())?;
        let template = |listener: &Listener| {
            let template = template(py, listener, objects, script_name, &no_input)?;
            Ok((template.unbind(), listener.kind))
        };
        Ok(Self {
            by_listener: listeners.iter().map(template).collect::<PyResult<_>>()?,
            multiprocess: false,
        })
    }

    /// A dict for a request of this listener.
    pub(super) fn copy<'py>(
        &self,
        py: Python<'py>,
        listener: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (template, _) = self
            .by_listener
            .get(listener)
            .ok_or_else(|| PyRuntimeError::new_err("a connection of an unknown listener"))?;
        template.bind(py).copy()
    }

    /// Whether the listener is a unix socket, which has no name and port of its own.
    pub(super) fn is_unix(&self, listener: usize) -> bool {
        let found = self.by_listener.get(listener);
        found.is_some_and(|(_, kind)| *kind == ListenerKind::Unix)
    }

    /// Sets `wsgi.multiprocess`; whether it has changed.
    pub(super) fn set_multiprocess(
        &mut self,
        py: Python<'_>,
        keys: &Keys,
        multiprocess: bool,
    ) -> PyResult<bool> {
        if self.multiprocess == multiprocess {
            return Ok(false);
        }
        for (template, _) in &self.by_listener {
            template
                .bind(py)
                .set_item(&keys.multiprocess, multiprocess)?;
        }
        self.multiprocess = multiprocess;
        Ok(true)
    }
}

/// Has every key that each request sets, in the order in which apps see them, but no key of a field
/// that was not sent.
fn template<'py>(
    py: Python<'py>,
    listener: &Listener,
    objects: &EnvironObjects<'_, '_>,
    script_name: &[u8],
    no_input: &Bound<'_, Input>,
) -> PyResult<Bound<'py, PyDict>> {
    let template = PyDict::new(py);
    template.set_item("wsgi.version", PyTuple::new(py, [1, 0])?)?;
    template.set_item("wsgi.errors", &objects.errors)?;
    template.set_item("wsgi.multithread", objects.multithread)?;
    template.set_item("wsgi.multiprocess", false)?;
    template.set_item("wsgi.run_once", false)?;
    template.set_item("wsgi.file_wrapper", &objects.file_wrapper)?;
    // A uwsgi peer reads one response: there is no place for an interim one.
    if listener.protocol == Protocol::Http {
        template.set_item("wsgi.early_hints", &objects.early_hints)?;
    }
    template.set_item("wsgi.input_terminated", true)?;
    template.set_item("wsgi.input", no_input)?;
    template.set_item("wsgi.url_scheme", "http")?;
    template.set_item("SERVER_SOFTWARE", objects.software)?;
    template.set_item("SERVER_NAME", &listener.host)?;
    template.set_item("SERVER_PORT", &listener.port)?;
    template.set_item("SERVER_PROTOCOL", "HTTP/1.1")?;
    template.set_item("REQUEST_METHOD", "GET")?;
    template.set_item("SCRIPT_NAME", text::latin1(py, script_name)?)?;
    template.set_item("PATH_INFO", "")?;
    template.set_item("QUERY_STRING", "")?;
    template.set_item("RAW_URI", "")?;
    template.set_item("REMOTE_ADDR", "")?;
    Ok(template)
}
