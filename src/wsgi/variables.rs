//! The environ of a request that came as variables (uwsgi): what the proxy says of it is put in as it was said,
//! beside the header fields, which are treated as over HTTP.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::{Head, Variable, field_of, path_info};
use rcorn_link::ListenerKind;
use rcorn_python::text;

use super::endpoints::Endpoints;
use super::environ::{EnvironBuilder, EnvironError};
use super::input::Input;

/// A request's variables, with the bytes that they are parts of.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// What was received.
    pub bytes: &'a [u8],
    /// All of them, in order.
    pub list: &'a [Variable],
}

impl<'a> Variables<'a> {
    /// The value of the last variable of this name, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut last = self.list.iter().rev();
        let found = last.find(|variable| variable.name.of(self.bytes) == name)?;
        Some(found.value.of(self.bytes)).filter(|value| !value.is_empty())
    }

    /// Whether the client came by https, if the proxy says so or the contrary. Each name is somebody's custom: nginx
    /// sends `REQUEST_SCHEME`, and `HTTPS` when it is `on`; `UWSGI_SCHEME` is for uWSGI.
    fn is_https(&self) -> Option<bool> {
        if let Some(https) = self.get(b"HTTPS") {
            let yes = [&b"on"[..], b"1", b"true"];
            return Some(yes.iter().any(|yes| https.eq_ignore_ascii_case(yes)));
        }
        let scheme = self
            .get(b"UWSGI_SCHEME")
            .or_else(|| self.get(b"REQUEST_SCHEME"))?;
        Some(scheme.eq_ignore_ascii_case(b"https"))
    }
}

impl EnvironBuilder {
    /// The environ of a request whose head was made from variables.
    pub fn build_from<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        variables: Variables<'_>,
        ends: &Endpoints,
        input: Option<&Bound<'py, Input>>,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let environ = self.template(py, ends.listener)?;
        self.set_fields(py, &environ, bytes, head, ends.trusted)?;
        // The proxy's word on how the client came is no header field, which the client might have sent itself.
        if let Some(https) = variables.is_https() {
            let scheme = if https { "https" } else { "http" };
            environ.set_item(&self.keys.scheme, scheme)?;
        }
        // Of an address without a port, the port would be another's.
        if variables.get(b"REMOTE_ADDR").is_none() {
            self.set_endpoints(py, &environ, ends)?;
        }
        if self.kinds.get(ends.listener) == Some(&ListenerKind::Unix) {
            self.set_server_by_host(py, &environ, bytes, head)?;
        }
        environ.set_item(&self.keys.protocol, "HTTP/1.0")?;
        self.set_line(py, &environ, bytes, head)?;
        self.set_given(py, &environ, variables)?;
        self.set_place(py, &environ, bytes, head, variables)?;
        if let Some(input) = input {
            environ.set_item(&self.keys.input, input)?;
        }
        Ok(environ)
    }

    /// All variables that are no header fields.
    fn set_given(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        variables: Variables<'_>,
    ) -> PyResult<()> {
        for variable in variables.list {
            let name = variable.name.of(variables.bytes);
            let value = variable.value.of(variables.bytes);
            let elsewhere = match name {
                // Set from the head, which is what counts.
                b"REQUEST_METHOD" | b"CONTENT_TYPE" | b"CONTENT_LENGTH" | b"RAW_URI"
                | b"PATH_INFO" | b"SCRIPT_NAME" => true,
                // PEP 3333: these are never empty.
                b"SERVER_NAME" | b"SERVER_PORT" | b"SERVER_PROTOCOL" | b"REMOTE_ADDR" => {
                    value.is_empty()
                }
                _ => field_of(name).is_some(),
            };
            if !elsewhere {
                environ.set_item(text::latin1(py, name)?, self.values.get(py, value)?)?;
            }
        }
        Ok(())
    }

    /// `SCRIPT_NAME` and `PATH_INFO`: as they were given, if a script name was. Otherwise the path is looked at as
    /// over HTTP, where `SCRIPT_NAME` of the process says which part of it is ours.
    fn set_place(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
        variables: Variables<'_>,
    ) -> Result<(), EnvironError> {
        let script = variables.get(b"SCRIPT_NAME");
        let path = variables.get(b"PATH_INFO");
        if let Some(script) = script {
            environ.set_item(&self.keys.script, text::latin1(py, script)?)?;
            environ.set_item(&self.keys.path, text::latin1(py, path.unwrap_or(b""))?)?;
            return Ok(());
        }
        self.path.clear();
        match path {
            Some(path) => self.path.extend_from_slice(path),
            None => path_info(head.path.of(bytes), &mut self.path),
        }
        self.set_path(py, environ, None)
    }
}
