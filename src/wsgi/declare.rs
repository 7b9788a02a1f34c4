//! Checks the arguments of `start_response`, and converts them to wire form at once. So status and
//! fields that cannot be sent are refused while the app can still react, and nothing is converted
//! twice.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use rcorn_http::{decimal, response as rules};
use rcorn_python::text;

use super::violation::WsgiViolation;

/// How many fields of a response are remembered. Those after them share one more place.
const REMEMBERED_FIELDS: usize = 32;

/// The longest wire form of a field that is remembered.
const MAX_REMEMBERED_BYTES: usize = 1024;

/// What the app declared about one response, and the part of its head that follows from it. The
/// buffers are reused for the next response.
#[derive(Debug, Default)]
pub(super) struct Declaration {
    /// The status line and the app's fields, in wire form.
    pub(super) head: Vec<u8>,
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) has_date: bool,
    pub(super) has_server: bool,
    pub(super) has_request_id: bool,
    /// The connection is to be closed after this response.
    pub(super) close: bool,
    last: LastDeclared,
}

/// What the last response declared. Apps often declare the same objects (literals, constants of a
/// framework). The same object need not be checked again: it is immutable, and it is kept alive, so
/// no other object can have its address.
#[derive(Debug, Default)]
struct LastDeclared {
    status: Known,
    code: u16,
    fields: Vec<Known>,
}

/// A status, or one field, in wire form.
#[derive(Debug, Default)]
struct Known {
    /// The tuple of name and value, which cannot change.
    pair: Option<Py<PyTuple>>,
    /// The status, or the field's name.
    name: Option<Py<PyString>>,
    value: Option<Py<PyString>>,
    kind: Kind,
    wire: Vec<u8>,
    /// Where the value begins in it.
    value_at: usize,
}

/// The meaning of a field for the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// None: only the app and the client use it.
    #[default]
    Plain,
    Date,
    Server,
    RequestId,
    Length,
    /// A hop-by-hop field, which is the server's (PEP 3333: apps must not use these). It is
    /// dropped, as by gunicorn.
    Hop,
    /// Like `Hop`, but `close` is obeyed.
    Connection,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => Self::Date,
            6 if name.eq_ignore_ascii_case(b"server") => Self::Server,
            10 if name.eq_ignore_ascii_case(b"connection") => Self::Connection,
            12 if name.eq_ignore_ascii_case(b"x-request-id") => Self::RequestId,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::Length,
            _ if rules::hop_by_hop(name) => Self::Hop,
            _ => Self::Plain,
        }
    }
}

/// Why a declaration is refused. It has the app's own objects. Formatting them runs their code,
/// which may call `start_response` again, or wait for a thread that does. So
/// [`Refused::into_error`] does that after the response is unlocked.
#[derive(Debug)]
pub(super) enum Refused<'py> {
    StatusType(Bound<'py, PyAny>),
    Status(Bound<'py, PyString>, String),
    FieldsType(Bound<'py, PyAny>),
    Field(Bound<'py, PyAny>),
    FieldText(Bound<'py, PyString>, String),
    /// Python failed.
    Python(PyErr),
}

impl From<PyErr> for Refused<'_> {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl<'py> Refused<'py> {
    /// A field whose name or value cannot be sent.
    #[cold]
    fn field_text(field: &Bound<'py, PyAny>, reason: String) -> Self {
        let pair = field.cast::<PyTuple>().ok();
        let name = pair.and_then(|pair| pair.get_item(0).ok());
        match name.map(Bound::cast_into::<PyString>) {
            Some(Ok(name)) => Self::FieldText(name, reason),
            Some(Err(_)) | None => Self::Field(field.clone()),
        }
    }

    /// The exception for the app. Runs code of the app.
    pub(super) fn into_error(self) -> PyErr {
        let type_name = |object: Bound<'_, PyAny>| Ok(object.get_type().qualname()?.to_string());
        let violation = match self {
            Self::StatusType(status) => type_name(status).map(WsgiViolation::StatusType),
            Self::Status(status, reason) => {
                shown(&status).map(|text| WsgiViolation::Status(text, reason))
            }
            Self::FieldsType(fields) => type_name(fields).map(WsgiViolation::FieldsType),
            Self::Field(field) => field.repr().map(|text| WsgiViolation::Field(lossy(&text))),
            Self::FieldText(name, reason) => {
                shown(&name).map(|text| WsgiViolation::FieldText(text, reason))
            }
            Self::Python(error) => Err(error),
        };
        violation.map_or_else(|error: PyErr| error, PyErr::from)
    }
}

/// The text in quotes, without line ends or other control characters.
fn shown(text: &Bound<'_, PyString>) -> PyResult<String> {
    let plain = PyString::new(text.py(), &lossy(text));
    plain.repr().map(|text| lossy(&text))
}

/// The text itself, not what the `__str__` of a subclass of `str` returns.
fn lossy(text: &Bound<'_, PyString>) -> String {
    text.to_string_lossy().into_owned()
}

/// Whether it is the same object as the remembered one.
fn is_same(known: Option<&Py<PyString>>, text: &Bound<'_, PyString>) -> bool {
    known.is_some_and(|known| known.as_ptr() == text.as_ptr())
}

/// Whether it is the same tuple as the remembered one.
fn is_same_pair(known: Option<&Py<PyTuple>>, field: &Bound<'_, PyAny>) -> bool {
    known.is_some_and(|known| known.as_ptr() == field.as_ptr())
}

/// The text, if it may be remembered: a `str`, but not a subclass, whose `__del__` would run when
/// it is replaced.
fn remembered(text: &Bound<'_, PyString>) -> Option<Py<PyString>> {
    text.is_exact_instance_of::<PyString>()
        .then(|| text.clone().unbind())
}

impl Known {
    /// Takes the status line; returns the code.
    fn take_status<'py>(&mut self, text: &Bound<'py, PyString>) -> Result<u16, Refused<'py>> {
        self.name = None;
        self.wire.clear();
        self.wire.extend_from_slice(b"HTTP/1.1 ");
        let start = self.wire.len();
        let refused = |reason: String| Refused::Status(text.clone(), reason);
        if !text::append_latin1(text, &mut self.wire)? {
            return Err(refused("it has characters beyond latin-1".into()));
        }
        let code = rules::check_status(self.wire.get(start..).unwrap_or(&[]))
            .map_err(|error| refused(error.to_string()))?;
        if self.wire.len() == start.saturating_add(3) {
            // The space is required in any case (RFC 9112 section 4).
            self.wire.push(b' ');
        }
        self.wire.extend_from_slice(b"\r\n");
        self.name = remembered(text);
        Ok(code)
    }

    /// Takes a field in the form in which the list has it.
    fn take_pair<'py>(&mut self, field: &Bound<'py, PyAny>) -> Result<(), Refused<'py>> {
        self.pair = None;
        let pair = field.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let Some(pair) = pair else {
            return Err(Refused::Field(field.clone()));
        };
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
            return Err(Refused::Field(field.clone()));
        };
        self.take_field(&name, &value)?;
        let is_remembered = self.name.is_some() && self.value.is_some();
        if is_remembered && pair.is_exact_instance_of::<PyTuple>() {
            self.pair = Some(pair.clone().unbind());
        }
        Ok(())
    }

    /// Takes a field, unless it is the remembered one.
    fn take_field<'py>(
        &mut self,
        name: &Bound<'py, PyString>,
        value: &Bound<'py, PyString>,
    ) -> Result<(), Refused<'py>> {
        let same_name = is_same(self.name.as_ref(), name);
        if same_name && is_same(self.value.as_ref(), value) {
            return Ok(());
        }
        let refused = |reason: String| Refused::FieldText(name.clone(), reason);
        if !same_name {
            self.name = None;
            self.wire.clear();
            if !text::append_latin1(name, &mut self.wire)? {
                return Err(refused("the name has characters beyond latin-1".into()));
            }
            rules::check_name(&self.wire).map_err(|error| refused(error.to_string()))?;
            self.kind = Kind::of(&self.wire);
            self.wire.extend_from_slice(b": ");
            self.value_at = self.wire.len();
            self.name = remembered(name);
        }
        self.value = None;
        self.wire.truncate(self.value_at);
        if !text::append_latin1(value, &mut self.wire)? {
            let reason =
                "the value has characters beyond latin-1; encode it (RFC 8187) or drop them";
            return Err(refused(reason.into()));
        }
        let (_name, bytes) = self.wire.split_at(self.value_at);
        rules::check_value(bytes).map_err(|error| refused(error.to_string()))?;
        self.wire.extend_from_slice(b"\r\n");
        self.value = remembered(value);
        Ok(())
    }

    /// The value's bytes, once a field was taken.
    fn value(&self) -> &[u8] {
        let (_name, value) = self.wire.split_at(self.value_at);
        value.strip_suffix(b"\r\n").unwrap_or(value)
    }
}

impl Declaration {
    /// Takes status and fields from the app, in place of the previous ones.
    pub(super) fn take<'py>(
        &mut self,
        status: &Bound<'py, PyAny>,
        fields: &Bound<'py, PyAny>,
    ) -> Result<(), Refused<'py>> {
        self.head.clear();
        (self.length, self.has_date, self.has_server, self.close) = (None, false, false, false);
        self.has_request_id = false;
        let Ok(text) = status.cast::<PyString>() else {
            return Err(Refused::StatusType(status.clone()));
        };
        if !is_same(self.last.status.name.as_ref(), text) {
            self.last.code = self.last.status.take_status(text)?;
        }
        self.status = self.last.code;
        self.head.extend_from_slice(&self.last.status.wire);
        self.take_fields(fields)
    }

    /// Makes the head of an interim response with the fields that the app hints at.
    pub(super) fn take_hints<'py>(
        &mut self,
        fields: &Bound<'py, PyAny>,
    ) -> Result<(), Refused<'py>> {
        // An interim response has no Content-Length.
        self.status = 103;
        self.head.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        self.take_fields(fields)?;
        self.head.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn take_fields<'py>(&mut self, fields: &Bound<'py, PyAny>) -> Result<(), Refused<'py>> {
        let Ok(fields) = fields.cast::<PyList>() else {
            return Err(Refused::FieldsType(fields.clone()));
        };
        let mut declared = std::mem::take(&mut self.last.fields);
        let taken = fields
            .iter()
            .enumerate()
            .try_for_each(|(position, field)| self.take_field(position, &field, &mut declared));
        self.last.fields = declared;
        taken
    }

    fn take_field<'py>(
        &mut self,
        position: usize,
        field: &Bound<'py, PyAny>,
        declared: &mut Vec<Known>,
    ) -> Result<(), Refused<'py>> {
        let place = position.min(REMEMBERED_FIELDS);
        if declared.len() <= place {
            declared.push(Known::default());
        }
        let Some(known) = declared.get_mut(place) else {
            return Ok(());
        };
        if !is_same_pair(known.pair.as_ref(), field) {
            known.take_pair(field)?;
        }
        let is_sent = self
            .note(known)
            .map_err(|reason| Refused::field_text(field, reason))?;
        if is_sent {
            self.head.extend_from_slice(&known.wire);
        }
        if known.wire.len() > MAX_REMEMBERED_BYTES {
            *known = Known::default();
        }
        Ok(())
    }

    /// Notes what the server must know about a field; `false` for fields that are not sent.
    fn note(&mut self, known: &Known) -> Result<bool, String> {
        match known.kind {
            Kind::Plain => {}
            Kind::Date => self.has_date = true,
            Kind::Server => self.has_server = true,
            Kind::RequestId => self.has_request_id = true,
            Kind::Hop => return Ok(false),
            Kind::Connection => {
                self.close |= known
                    .value()
                    .to_ascii_lowercase()
                    .windows(5)
                    .any(|part| part == b"close");
                return Ok(false);
            }
            Kind::Length => {
                let Some(number) = decimal(known.value()) else {
                    return Err("its value is not a number of bytes".into());
                };
                if self.length.is_some_and(|length| length != number) {
                    return Err("it is given twice with different values".into());
                }
                // These have no Content-Length (RFC 9110 section 8.6); a 205 has length 0 whatever
                // the app says (section 15.3.6).
                if self.status < 200 || matches!(self.status, 204 | 205) {
                    return Ok(false);
                }
                let again = self.length.replace(number).is_some();
                return Ok(!again);
            }
        }
        Ok(true)
    }
}
