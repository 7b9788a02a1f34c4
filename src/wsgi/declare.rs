//! What `start_response` is given, checked and put into wire form at once: status and fields that cannot be
//! sent are refused while the app can still react, and nothing is converted twice.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::http::reply as wire;
use crate::python::text;

use super::mistake::Mistake;
use super::reply::{Reply, Stage};

impl Reply {
    /// Takes status and fields from the app. A second call (with `exc_info`) replaces the first.
    pub fn declare(
        &mut self,
        status: &Bound<'_, PyAny>,
        fields: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.head.clear();
        (self.length, self.has_date, self.has_server, self.close) = (None, false, false, false);
        self.head.extend_from_slice(b"HTTP/1.1 ");
        let start = self.head.len();
        let Ok(text) = status.cast::<PyString>() else {
            return Err(Mistake::StatusType(status.get_type().qualname()?.to_string()).into());
        };
        if !text::append_latin1(text, &mut self.head)? {
            return Err(Mistake::Status(
                text.to_string(),
                "it has characters beyond latin-1".into(),
            )
            .into());
        }
        let checked = wire::check_status(self.head.get(start..).unwrap_or(&[]));
        self.status =
            checked.map_err(|error| Mistake::Status(text.to_string(), error.to_string()))?;
        self.head.extend_from_slice(b"\r\n");
        let Ok(fields) = fields.cast::<PyList>() else {
            return Err(Mistake::FieldsType(fields.get_type().qualname()?.to_string()).into());
        };
        for field in fields.iter() {
            self.declare_field(&field)?;
        }
        self.stage = Stage::Headed;
        Ok(())
    }

    fn declare_field(&mut self, field: &Bound<'_, PyAny>) -> PyResult<()> {
        let pair = field.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let Some(pair) = pair else {
            return Err(Mistake::Field(field.repr()?.to_string()).into());
        };
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let (Ok(name_text), Ok(value_text)) = (name.cast::<PyString>(), value.cast::<PyString>())
        else {
            return Err(Mistake::Field(field.repr()?.to_string()).into());
        };
        let begin = self.head.len();
        let bad = |why: String| Mistake::FieldText(name_text.to_string(), why);
        if !text::append_latin1(&name_text, &mut self.head)? {
            return Err(bad("the name has characters beyond latin-1".into()).into());
        }
        let name_end = self.head.len();
        wire::check_name(self.head.get(begin..).unwrap_or(&[]))
            .map_err(|why| bad(why.to_string()))?;
        self.head.extend_from_slice(b": ");
        let value_begin = self.head.len();
        if !text::append_latin1(&value_text, &mut self.head)? {
            let why = "the value has characters beyond latin-1; encode it (RFC 8187) or drop them";
            return Err(bad(why.into()).into());
        }
        let value = self.head.get(value_begin..).unwrap_or(&[]);
        wire::check_value(value).map_err(|why| bad(why.to_string()))?;
        if self.keep_field(begin, name_end, value_begin).map_err(bad)? {
            self.head.extend_from_slice(b"\r\n");
        } else {
            self.head.truncate(begin);
        }
        Ok(())
    }

    /// Notes what the server must know of a field; `false` for fields that are the server's own.
    fn keep_field(
        &mut self,
        begin: usize,
        name_end: usize,
        value_begin: usize,
    ) -> Result<bool, String> {
        let name = self.head.get(begin..name_end).unwrap_or(&[]);
        let value = self.head.get(value_begin..).unwrap_or(&[]);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            6 if name.eq_ignore_ascii_case(b"server") => self.has_server = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                let Some(number) = number.filter(|_| digits) else {
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
            _ if wire::hop_by_hop(name) => {
                // PEP 3333: the app must not use these. As gunicorn, drop them; honour the wish to close.
                let closes = name.eq_ignore_ascii_case(b"connection")
                    && value
                        .to_ascii_lowercase()
                        .windows(5)
                        .any(|part| part == b"close");
                self.close |= closes;
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }
}
