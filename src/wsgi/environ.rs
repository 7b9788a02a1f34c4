//! Head, peer and listener → the environ dict (PEP 3333 "environ Variables", RFC 3875 names). What is the
//! same for all requests of a listener is copied from a template; what was the same in the last request is
//! copied from that one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use rcorn_http::{Framing, Head, Version, path_info};
use rcorn_link::{Listener, ListenerKind};
use rcorn_python::text;
use rcorn_settings::Protocol;

use super::endpoints::Endpoints;
use super::fields::Overrides;
use super::input::Input;
use super::names::{NameRules, Names, Values};

/// Why there is no environ.
#[derive(Debug, thiserror::Error)]
pub enum EnvironError {
    /// Two fields disagree about the scheme: 400.
    #[error("the request's forwarding headers disagree about http or https")]
    Scheme,
    /// The path is not below `SCRIPT_NAME`: 500.
    #[error("the path {0:?} is not below SCRIPT_NAME {1:?}")]
    ScriptName(String, String),
    /// Python refused.
    #[error(transparent)]
    Python(#[from] PyErr),
}

macro_rules! keys {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Keys set for each request, interned once.
        #[derive(Debug)]
        pub(super) struct Keys { $(pub(super) $name: Py<PyString>),* }
        impl Keys {
            fn new(py: Python<'_>) -> Self {
                Self { $($name: PyString::intern(py, $text).unbind()),* }
            }
        }
    };
}

keys! {
    method = "REQUEST_METHOD", path = "PATH_INFO", query = "QUERY_STRING", raw_uri = "RAW_URI",
    script = "SCRIPT_NAME", host = "HTTP_HOST", protocol = "SERVER_PROTOCOL", remote_addr = "REMOTE_ADDR",
    remote_port = "REMOTE_PORT", input = "wsgi.input", scheme = "wsgi.url_scheme",
    multiprocess = "wsgi.multiprocess", server_name = "SERVER_NAME", server_port = "SERVER_PORT",
    proxy_protocol = "PROXY_PROTOCOL", proxy_addr = "PROXY_ADDR", proxy_port = "PROXY_PORT",
}

/// The previous request's dict, for the next one with the same fields.
#[derive(Debug, Default)]
struct Memo {
    /// Which fields it had ([`Head::serial`]); 0: none that may be used again.
    serial: u64,
    /// The request line.
    line: Vec<u8>,
    listener: usize,
    trusted: bool,
    proxied: bool,
    /// Made when the block came for the second time.
    environ: Option<Py<PyDict>>,
}

/// Builds environs.
#[derive(Debug)]
pub struct EnvironBuilder {
    pub(super) keys: Keys,
    pub(super) names: Names,
    pub(super) values: Values,
    pub(super) templates: Vec<Py<PyDict>>,
    pub(super) kinds: Vec<ListenerKind>,
    pub(super) no_input: Py<Input>,
    pub(super) secure: Vec<String>,
    pub(super) forwarder: Vec<String>,
    pub(super) script_name: Vec<u8>,
    memo: Memo,
    pub(super) multiprocess: bool,
    pub(super) seen: Vec<u32>,
    pub(super) turn: u32,
    pub(super) path: Vec<u8>,
    pub(super) joined: Vec<u8>,
}

/// The settings an environ depends on.
#[derive(Debug)]
pub struct EnvironRules<'a> {
    /// `secure_scheme_headers`: upper-case name, value that means https.
    pub secure_scheme_headers: &'a [(String, String)],
    /// `forwarder_headers`, upper-case.
    pub forwarder_headers: &'a [String],
    /// `header_map: dangerous`.
    pub underscores: bool,
    /// `SERVER_SOFTWARE`.
    pub software: &'a str,
}

impl EnvironBuilder {
    /// Prepares for these listeners. `errors`, `file_wrapper` and `early_hints` are the objects for their keys.
    pub fn new(
        py: Python<'_>,
        rules: &EnvironRules<'_>,
        listeners: &[Listener],
        errors: &Bound<'_, PyAny>,
        file_wrapper: &Bound<'_, PyAny>,
        early_hints: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let no_input = Py::new(py, Input::empty())?;
        let scheme = rules
            .secure_scheme_headers
            .iter()
            .map(|(name, _)| name.to_uppercase())
            .collect();
        let names = Names::new(NameRules {
            scheme,
            forwarder: rules.forwarder_headers.to_vec(),
            underscores: rules.underscores,
        });
        let script_name = script_name(py)?;
        let mut templates = Vec::new();
        for listener in listeners {
            let template = PyDict::new(py);
            template.set_item("wsgi.version", PyTuple::new(py, [1, 0])?)?;
            template.set_item("wsgi.errors", errors)?;
            template.set_item("wsgi.multithread", false)?;
            template.set_item("wsgi.multiprocess", false)?;
            template.set_item("wsgi.run_once", false)?;
            template.set_item("wsgi.file_wrapper", file_wrapper)?;
            // A uwsgi peer reads one reply: there is no place for an interim one.
            if listener.protocol == Protocol::Http {
                template.set_item("wsgi.early_hints", early_hints)?;
            }
            template.set_item("wsgi.input_terminated", true)?;
            template.set_item("wsgi.input", &no_input)?;
            template.set_item("wsgi.url_scheme", "http")?;
            template.set_item("SERVER_SOFTWARE", rules.software)?;
            template.set_item("SERVER_NAME", &listener.host)?;
            template.set_item("SERVER_PORT", &listener.port)?;
            template.set_item("SERVER_PROTOCOL", "HTTP/1.1")?;
            template.set_item("REQUEST_METHOD", "GET")?;
            template.set_item("SCRIPT_NAME", text::latin1(py, &script_name)?)?;
            template.set_item("PATH_INFO", "")?;
            template.set_item("QUERY_STRING", "")?;
            template.set_item("RAW_URI", "")?;
            template.set_item("REMOTE_ADDR", "")?;
            templates.push(template.unbind());
        }
        Ok(Self {
            keys: Keys::new(py),
            names,
            values: Values::default(),
            templates,
            kinds: listeners.iter().map(|listener| listener.kind).collect(),
            no_input,
            secure: rules
                .secure_scheme_headers
                .iter()
                .map(|(_, value)| value.clone())
                .collect(),
            forwarder: rules.forwarder_headers.to_vec(),
            script_name,
            memo: Memo::default(),
            multiprocess: false,
            seen: Vec::new(),
            turn: 0,
            path: Vec::new(),
            joined: Vec::new(),
        })
    }

    /// Tells whether there is more than one worker now (`wsgi.multiprocess`).
    pub fn set_multiprocess(&mut self, py: Python<'_>, multiprocess: bool) -> PyResult<()> {
        if self.multiprocess != multiprocess {
            self.multiprocess = multiprocess;
            for template in &self.templates {
                template
                    .bind(py)
                    .set_item(&self.keys.multiprocess, multiprocess)?;
            }
            self.memo = Memo::default();
        }
        Ok(())
    }

    /// The environ of a request.
    pub fn build<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        ends: &Endpoints,
        input: Option<&Bound<'py, Input>>,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let same = self.memo.serial == head.serial
            && self.memo.listener == ends.listener
            && self.memo.trusted == ends.trusted
            // The keys of a PROXY header must not come to a client without one.
            && self.memo.proxied == ends.proxy.is_some();
        let line = bytes.get(..head.block.start()).unwrap_or(&[]);
        if same && let Some(previous) = self.memo.environ.take() {
            let previous = previous.into_bound(py);
            if self.memo.line != line {
                // In the copy that is kept: the next request is likely to be like this one.
                self.set_target(py, &previous, bytes, head, None)?;
                self.memo.line.clear();
                self.memo.line.extend_from_slice(line);
            }
            let environ = previous.copy()?;
            self.memo.environ = Some(previous.unbind());
            self.set_endpoints(py, &environ, ends)?;
            return Ok(environ);
        }
        let environ = self.anew(py, bytes, head, ends)?;
        if let Some(input) = input {
            environ.set_item(&self.keys.input, input)?;
            return Ok(environ);
        }
        if matches!(head.framing, Framing::None) {
            self.remember(&environ, bytes, head, ends, line, same)?;
        }
        Ok(environ)
    }

    fn remember(
        &mut self,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
        ends: &Endpoints,
        line: &[u8],
        same: bool,
    ) -> PyResult<()> {
        self.memo.line.clear();
        self.memo.line.extend_from_slice(line);
        if same {
            // Twice the same: likely to come again, so a copy pays.
            self.memo.environ = Some(environ.copy()?.unbind());
        } else {
            self.memo.environ = None;
            // Fields that override PATH_INFO or SCRIPT_NAME would be lost on the short way.
            let short = !(ends.trusted && self.has_forwarder_field(bytes, head));
            self.memo.serial = if short { head.serial } else { 0 };
            self.memo.listener = ends.listener;
            self.memo.trusted = ends.trusted;
            self.memo.proxied = ends.proxy.is_some();
        }
        Ok(())
    }

    fn has_forwarder_field(&self, bytes: &[u8], head: &Head) -> bool {
        head.fields
            .iter()
            .filter(|field| field.has_underscore)
            .any(|field| {
                let name = field.name.of(bytes);
                self.forwarder
                    .iter()
                    .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
            })
    }

    fn anew<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        ends: &Endpoints,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let environ = self.template(py, ends.listener)?;
        let overrides = self.set_fields(py, &environ, bytes, head, ends.trusted)?;
        self.set_endpoints(py, &environ, ends)?;
        if head.version == Version::Http10 {
            environ.set_item(&self.keys.protocol, self.values.get(py, b"HTTP/1.0")?)?;
        }
        if self.kinds.get(ends.listener) == Some(&ListenerKind::Unix) {
            self.set_server_by_host(py, &environ, bytes, head)?;
        }
        self.set_target(py, &environ, bytes, head, Some(&overrides))?;
        Ok(environ)
    }

    /// What is the same for all requests of a listener.
    pub(super) fn template<'py>(
        &self,
        py: Python<'py>,
        listener: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let template = self.templates.get(listener).ok_or_else(|| {
            pyo3::exceptions::PyRuntimeError::new_err("a connection of an unknown listener")
        })?;
        template.bind(py).copy()
    }

    /// Method, path and query; `None` for overrides on the short way, where there are none.
    fn set_target(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
        overrides: Option<&Overrides>,
    ) -> Result<(), EnvironError> {
        self.set_line(py, environ, bytes, head)?;
        self.path.clear();
        match overrides.and_then(|o| o.path.as_deref()) {
            Some(path) => self.path.extend_from_slice(path),
            None => path_info(head.path.of(bytes), &mut self.path),
        }
        let script = overrides.and_then(|o| o.script.as_deref());
        self.set_path(py, environ, script)
    }

    /// Method, target and query.
    pub(super) fn set_line(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
    ) -> PyResult<()> {
        environ.set_item(&self.keys.method, self.values.get(py, head.method(bytes))?)?;
        environ.set_item(
            &self.keys.raw_uri,
            self.values.get(py, head.target.of(bytes))?,
        )?;
        environ.set_item(&self.keys.query, self.values.get(py, head.query.of(bytes))?)
    }

    /// `SCRIPT_NAME`, the process's own unless it is given, and what of the path is behind it.
    pub(super) fn set_path(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        script: Option<&[u8]>,
    ) -> Result<(), EnvironError> {
        let script = script.unwrap_or(&self.script_name);
        if !script.is_empty() {
            let Some(rest) = self.path.strip_prefix(script) else {
                let path = String::from_utf8_lossy(&self.path).into_owned();
                return Err(EnvironError::ScriptName(
                    path,
                    String::from_utf8_lossy(script).into_owned(),
                ));
            };
            environ.set_item(&self.keys.script, text::latin1(py, script)?)?;
            environ.set_item(&self.keys.path, text::latin1(py, rest)?)?;
            return Ok(());
        }
        environ.set_item(&self.keys.path, self.values.get(py, &self.path)?)?;
        Ok(())
    }

    /// The input object of requests without a body.
    #[must_use]
    pub fn no_input(&self) -> &Py<Input> {
        &self.no_input
    }
}

/// `SCRIPT_NAME` of the process environment, without a slash at its end.
fn script_name(py: Python<'_>) -> PyResult<Vec<u8>> {
    let variables = py.import("os")?.getattr("environ")?;
    let value: Option<String> = variables.call_method1("get", ("SCRIPT_NAME",))?.extract()?;
    let value = value.unwrap_or_default();
    Ok(OsStr::new(value.trim_end_matches('/')).as_bytes().to_vec())
}
