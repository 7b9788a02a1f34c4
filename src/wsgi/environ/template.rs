//! What the environs of all requests of a listener have in common.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

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
    /// Whether each request has an id, which the caller sets: `HTTP_X_REQUEST_ID`.
    pub request_ids: bool,
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
    set(&template, "wsgi.version", PyTuple::new(py, [1, 0])?)?;
    set(&template, "wsgi.errors", &objects.errors)?;
    set(&template, "wsgi.multithread", objects.multithread)?;
    set(&template, "wsgi.multiprocess", false)?;
    set(&template, "wsgi.run_once", false)?;
    set(&template, "wsgi.file_wrapper", &objects.file_wrapper)?;
    // A uwsgi peer reads one response: there is no place for an interim one.
    if listener.protocol == Protocol::Http {
        set(&template, "wsgi.early_hints", &objects.early_hints)?;
    }
    set(&template, "wsgi.input_terminated", true)?;
    set(&template, "wsgi.input", no_input)?;
    set(&template, "wsgi.url_scheme", "http")?;
    set(&template, "SERVER_SOFTWARE", objects.software)?;
    set(&template, "SERVER_NAME", &listener.host)?;
    set(&template, "SERVER_PORT", &listener.port)?;
    set(&template, "SERVER_PROTOCOL", "HTTP/1.1")?;
    set(&template, "REQUEST_METHOD", "GET")?;
    set(&template, "SCRIPT_NAME", text::latin1(py, script_name)?)?;
    set(&template, "PATH_INFO", "")?;
    set(&template, "QUERY_STRING", "")?;
    set(&template, "RAW_URI", "")?;
    set(&template, "REMOTE_ADDR", "")?;
    if objects.request_ids {
        set(&template, "HTTP_X_REQUEST_ID", "")?;
    }
    Ok(template)
}

/// Sets a key that is interned, as the names in the code of an app are: then a look-up compares
/// addresses.
fn set<'py>(
    template: &Bound<'py, PyDict>,
    name: &str,
    value: impl IntoPyObject<'py>,
) -> PyResult<()> {
    template.set_item(PyString::intern(template.py(), name), value)
}
