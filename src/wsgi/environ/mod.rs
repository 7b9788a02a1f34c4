//! Head, peer and listener → the environ dict (PEP 3333 "environ Variables", RFC 3875 names). What
//! all requests of a listener have in common is copied from a template; what the last request had
//! in common is copied from its environ.

mod endpoints;
mod error;
mod fields;
mod given;
mod keys;
mod memo;
mod names;
mod target;
mod template;
mod values;
mod variables;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::environ::{FieldRules, server_of_host};
use rcorn_http::{Framing, Head, Version};
use rcorn_link::Listener;

use super::input::Input;

use fields::{FieldWriter, Overrides};
use keys::Keys;
use memo::{Likeness, Memo};
use target::TargetWriter;
use template::Templates;
use values::ValueCache;

pub use endpoints::{Endpoints, ProxyEndpoints};
pub use error::EnvironError;
pub use given::GivenVariables;
pub use template::EnvironObjects;
pub use variables::Variables;

/// Builds the environs of a request slot. It shares nothing that it remembers: each slot has its
/// own.
#[derive(Debug)]
pub struct EnvironBuilder {
    keys: Keys,
    values: ValueCache,
    templates: Templates,
    fields: FieldWriter,
    target: TargetWriter,
    memo: Memo,
}

impl EnvironBuilder {
    /// A builder for the requests of these listeners.
    ///
    /// # Errors
    ///
    /// Those of Python: no memory, or `os.environ` cannot be read.
    pub fn new(
        py: Python<'_>,
        rules: FieldRules,
        listeners: &[Listener],
        objects: &EnvironObjects<'_, '_>,
    ) -> PyResult<Self> {
        let target = TargetWriter::new(py)?;
        Ok(Self {
            keys: Keys::new(py),
            values: ValueCache::default(),
            templates: Templates::new(py, listeners, objects, target.script_name())?,
            fields: FieldWriter::new(rules),
            target,
            memo: Memo::default(),
        })
    }

    /// Sets `wsgi.multiprocess` of the requests to come: whether there is more than one worker now.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn set_multiprocess(&mut self, py: Python<'_>, multiprocess: bool) -> PyResult<()> {
        if self
            .templates
            .set_multiprocess(py, &self.keys, multiprocess)?
        {
            self.memo = Memo::default();
        }
        Ok(())
    }

    /// The names and values of the header fields that an environ is made of, without those that it
    /// ignores: hooks must not see those either. `bytes`: what the places of `head` are in;
    /// `trusted`: [`Endpoints::trusted`].
    pub fn visible_fields<'a>(
        &'a self,
        bytes: &'a [u8],
        head: &'a Head,
        trusted: bool,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.visible(bytes, head, trusted)
    }

    /// The environ of a request. `bytes`: what the places of `head` are in.
    ///
    /// # Errors
    ///
    /// See [`EnvironError`].
    pub fn build<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        endpoints: &Endpoints,
        input: Option<&Bound<'py, Input>>,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let likeness = Likeness::of(head, endpoints);
        let is_like = self.memo.is_like(likeness);
        let line = bytes.get(..head.block.start()).unwrap_or(&[]);
        if is_like && let Some(kept) = self.memo.take_environ(py) {
            if self.memo.set_line(line) {
                // Changes the copy that is kept, because the next request is likely to be like this
                // one.
                let (keys, values) = (&self.keys, &mut self.values);
                self.target
                    .set(py, &kept, (keys, values), (bytes, head), None)?;
            }
            let environ = kept.copy()?;
            self.memo.keep_environ(kept);
            endpoints.set(py, &environ, &self.keys)?;
            return Ok(environ);
        }
        let environ = self.build_anew(py, bytes, head, endpoints)?;
        if let Some(input) = input {
            environ.set_item(&self.keys.input, input)?;
        } else if matches!(head.framing, Framing::None) {
            self.memo.set_line(line);
            if is_like {
                self.memo.keep_environ(environ.copy()?);
            } else {
                // Fields that override PATH_INFO or SCRIPT_NAME would be lost.
                let overrides = endpoints.trusted && self.fields.has_forwarder_field(bytes, head);
                self.memo.replace((!overrides).then_some(likeness));
            }
        }
        Ok(environ)
    }

    fn build_anew<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        endpoints: &Endpoints,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let (environ, overrides) = self.begin(py, bytes, head, endpoints)?;
        endpoints.set(py, &environ, &self.keys)?;
        if head.version == Version::Http10 {
            let version = self.values.get(py, b"HTTP/1.0")?;
            environ.set_item(&self.keys.protocol, version)?;
        }
        self.set_unix_server(py, &environ, bytes, head, endpoints)?;
        let (keys, values) = (&self.keys, &mut self.values);
        self.target.set(
            py,
            &environ,
            (keys, values),
            (bytes, head),
            Some(&overrides),
        )?;
        Ok(environ)
    }

    /// An environ with the listener's keys and the header fields.
    fn begin<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        endpoints: &Endpoints,
    ) -> Result<(Bound<'py, PyDict>, Overrides), EnvironError> {
        let environ = self.templates.copy(py, endpoints.listener)?;
        let (keys, values) = (&self.keys, &mut self.values);
        let overrides = self.fields.set(
            py,
            &environ,
            (keys, values),
            (bytes, head),
            endpoints.trusted,
        )?;
        Ok((environ, overrides))
    }

    /// Sets the name and port that the client asked for, since a unix socket has none.
    fn set_unix_server(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
        endpoints: &Endpoints,
    ) -> PyResult<()> {
        if !self.templates.is_unix(endpoints.listener) {
            return Ok(());
        }
        let https = environ
            .get_item(&self.keys.scheme)?
            .is_some_and(|scheme| scheme.eq("https").unwrap_or(false));
        let (name, port) = server_of_host(head.host.map(|host| host.of(bytes)), https);
        environ.set_item(&self.keys.server_name, self.values.get(py, name)?)?;
        environ.set_item(&self.keys.server_port, self.values.get(py, port)?)
    }

    /// The environ of a request whose head was made from variables (uwsgi). What the proxy says
    /// about the request is set unchanged, beside the header fields, which are treated as over
    /// HTTP.
    ///
    /// # Errors
    ///
    /// See [`EnvironError`].
    pub fn build_from<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        variables: Variables<'_>,
        endpoints: &Endpoints,
        input: Option<&Bound<'py, Input>>,
    ) -> Result<Bound<'py, PyDict>, EnvironError> {
        let (environ, _none) = self.begin(py, bytes, head, endpoints)?;
        // The proxy says which scheme the client used, not a header field, which the client may
        // have sent.
        if let Some(https) = variables.is_https() {
            let scheme = if https { "https" } else { "http" };
            environ.set_item(&self.keys.scheme, scheme)?;
        }
        // Without a port in the address, the port would be that of another address.
        if variables.get(b"REMOTE_ADDR").is_none() {
            endpoints.set(py, &environ, &self.keys)?;
        }
        self.set_unix_server(py, &environ, bytes, head, endpoints)?;
        environ.set_item(&self.keys.protocol, "HTTP/1.0")?;
        let (keys, values) = (&self.keys, &mut self.values);
        target::set_line(py, &environ, (keys, values), (bytes, head))?;
        variables.set_given(py, &environ, values)?;
        self.target
            .set_given(py, &environ, (keys, values), (bytes, head), variables)?;
        if let Some(input) = input {
            environ.set_item(&self.keys.input, input)?;
        }
        Ok(environ)
    }
}
