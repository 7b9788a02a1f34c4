//! What `start_response` is given, checked and put into wire form at once: status and fields that cannot be
//! sent are refused while the app can still react, and nothing is converted twice.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use rcorn_http::{decimal, reply as rules};
use rcorn_python::text;

use super::reply::{Reply, Stage};
use super::violation::WsgiViolation;

/// Fields that are remembered at most: what comes behind them shares one place.
const REMEMBERED: usize = 32;

/// Longest wire form that is remembered.
const SHORT: usize = 1024;

/// What the last reply declared. Apps declare the same objects again and again (literals, constants of a
/// framework), and what is the same object needs no second look: it cannot have changed, as it is kept alive.
#[derive(Debug, Default)]
pub(super) struct Declared {
    status: Known,
    code: u16,
    fields: Vec<Known>,
}

/// A status, or one field, in wire form.
#[derive(Debug, Default)]
struct Known {
    /// The status, or the field's name.
    name: Option<Py<PyString>>,
    value: Option<Py<PyString>>,
    kind: Kind,
    wire: Vec<u8>,
    /// Where the value begins in it.
    value_at: usize,
}

/// What a field is to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// The app's own affair.
    #[default]
    Plain,
    Date,
    Server,
    Length,
    /// Of the connection, and so the server's (PEP 3333: apps must not use these). As gunicorn, drop them.
    Hop,
    /// As `Hop`, but the wish to close is honoured.
    Connection,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => Self::Date,
            6 if name.eq_ignore_ascii_case(b"server") => Self::Server,
            10 if name.eq_ignore_ascii_case(b"connection") => Self::Connection,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::Length,
            _ if rules::hop_by_hop(name) => Self::Hop,
            _ => Self::Plain,
        }
    }
}

fn same(known: Option<&Py<PyString>>, text: &Bound<'_, PyString>) -> bool {
    known.is_some_and(|known| known.as_ptr() == text.as_ptr())
}

impl Known {
    /// Takes the status line. Gives the code, or what is wrong with it.
    fn take_status(&mut self, text: &Bound<'_, PyString>) -> PyResult<u16> {
        self.name = None;
        self.wire.clear();
        self.wire.extend_from_slice(b"HTTP/1.1 ");
        let start = self.wire.len();
        let wrong = |why: String| PyErr::from(WsgiViolation::Status(text.to_string(), why));
        if !text::append_latin1(text, &mut self.wire)? {
            return Err(wrong("it has characters beyond latin-1".into()));
        }
        let code = rules::check_status(self.wire.get(start..).unwrap_or(&[]))
            .map_err(|error| wrong(error.to_string()))?;
        if self.wire.len() == start.saturating_add(3) {
            // The space must be there in any case (RFC 9112 section 4).
            self.wire.push(b' ');
        }
        self.wire.extend_from_slice(b"\r\n");
        self.name = Some(text.clone().unbind());
        Ok(code)
    }

    /// Takes a field, as far as it is not the one that was here.
    fn take_field(
        &mut self,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyString>,
    ) -> PyResult<()> {
        let same_name = same(self.name.as_ref(), name);
        if same_name && same(self.value.as_ref(), value) {
            return Ok(());
        }
        let bad = |why: String| PyErr::from(WsgiViolation::FieldText(name.to_string(), why));
        if !same_name {
            self.name = None;
            self.wire.clear();
            if !text::append_latin1(name, &mut self.wire)? {
                return Err(bad("the name has characters beyond latin-1".into()));
            }
            rules::check_name(&self.wire).map_err(|why| bad(why.to_string()))?;
            self.kind = Kind::of(&self.wire);
            self.wire.extend_from_slice(b": ");
            self.value_at = self.wire.len();
            self.name = Some(name.clone().unbind());
        }
        self.value = None;
        self.wire.truncate(self.value_at);
        if !text::append_latin1(value, &mut self.wire)? {
            let why = "the value has characters beyond latin-1; encode it (RFC 8187) or drop them";
            return Err(bad(why.into()));
        }
        rules::check_value(self.value()).map_err(|why| bad(why.to_string()))?;
        self.wire.extend_from_slice(b"\r\n");
        self.value = Some(value.clone().unbind());
        Ok(())
    }

    /// The value's bytes; with the line's end when that is there.
    fn value(&self) -> &[u8] {
        self.wire.get(self.value_at..).unwrap_or(&[])
    }
}

impl Reply {
    /// Takes status and fields from the app. A second call (with `exc_info`) replaces the first.
    pub fn declare(
        &mut self,
        status: &Bound<'_, PyAny>,
        fields: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.head.clear();
        (self.length, self.has_date, self.has_server, self.close) = (None, false, false, false);
        let Ok(text) = status.cast::<PyString>() else {
            return Err(
                WsgiViolation::StatusType(status.get_type().qualname()?.to_string()).into(),
            );
        };
        if !same(self.declared.status.name.as_ref(), text) {
            self.declared.code = self.declared.status.take_status(text)?;
        }
        self.status = self.declared.code;
        self.head.extend_from_slice(&self.declared.status.wire);
        self.declare_fields(fields)?;
        self.stage = Stage::Headed;
        Ok(())
    }

    /// Makes this an interim reply, complete, with the fields that the app hints at.
    pub fn declare_hints(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        // Below 200: a Content-Length has no place in it.
        self.status = 103;
        self.head.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        self.declare_fields(fields)?;
        self.head.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn declare_fields(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(fields) = fields.cast::<PyList>() else {
            return Err(
                WsgiViolation::FieldsType(fields.get_type().qualname()?.to_string()).into(),
            );
        };
        let mut declared = std::mem::take(&mut self.declared.fields);
        let taken = fields
            .iter()
            .enumerate()
            .try_for_each(|(position, field)| self.declare_field(position, &field, &mut declared));
        self.declared.fields = declared;
        taken
    }

    fn declare_field(
        &mut self,
        position: usize,
        field: &Bound<'_, PyAny>,
        declared: &mut Vec<Known>,
    ) -> PyResult<()> {
        let pair = field.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let Some(pair) = pair else {
            return Err(WsgiViolation::Field(field.repr()?.to_string()).into());
        };
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
            return Err(WsgiViolation::Field(field.repr()?.to_string()).into());
        };
        let place = position.min(REMEMBERED);
        if declared.len() <= place {
            declared.push(Known::default());
        }
        let Some(known) = declared.get_mut(place) else {
            return Ok(());
        };
        known.take_field(&name, &value)?;
        if self
            .heed(known)
            .map_err(|why| WsgiViolation::FieldText(name.to_string(), why))?
        {
            self.head.extend_from_slice(&known.wire);
        }
        if known.wire.len() > SHORT {
            *known = Known::default();
        }
        Ok(())
    }

    /// Notes what the server must know of a field; `false` for fields that are not sent.
    fn heed(&mut self, known: &Known) -> Result<bool, String> {
        let value = known.value();
        let value = value.strip_suffix(b"\r\n").unwrap_or(value);
        match known.kind {
            Kind::Plain => {}
            Kind::Date => self.has_date = true,
            Kind::Server => self.has_server = true,
            Kind::Hop => return Ok(false),
            Kind::Connection => {
                self.close |= value
                    .to_ascii_lowercase()
                    .windows(5)
                    .any(|part| part == b"close");
                return Ok(false);
            }
            Kind::Length => {
                let Some(number) = decimal(value) else {
                    return Err("its value is not a number of bytes".into());
                };
                if self.length.is_some_and(|length| length != number) {
                    return Err("it is given twice with different values".into());
                }
                // Not with these (RFC 9110 section 8.6); a 205 has length 0 whatever the app says (15.3.6).
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
