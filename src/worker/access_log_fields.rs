//! The access log through Python's logger `gunicorn.access`. The fields of a record are its
//! arguments, as in gunicorn, so that formatters find them.

use std::cell::OnceCell;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_app::loggers::access_logger;
use rcorn_log as log;
use rcorn_log::{AccessForm, AccessFormat, AccessFormatter as _, Record};
use rcorn_python::traceback;

use super::access_line::AccessLine;

/// The fields of the format that have no name in braces.
const FIELDS: &str = "hlutrsmUqHbBfaTMDLp";
/// Those of [`FIELDS`] that are numbers.
const NUMBERS: &str = "BTMD";

/// Makes the records of the logger.
#[derive(Debug)]
pub(super) struct PythonLogger {
    /// The format of a line.
    format: String,
    /// The form of the line.
    form: AccessForm,
    /// Made when the first record is written.
    parts: OnceCell<Parts>,
}

#[derive(Debug)]
struct Parts {
    /// Makes a record from its fields.
    write: Py<PyAny>,
    fields: Vec<(char, AccessFormat)>,
    /// The form of the whole message, if it is JSON: Python's own formatting would not escape the
    /// fields.
    json: Option<AccessForm>,
}

/// The field that is the whole message, if that is JSON.
const JSON: &str = "json";

impl PythonLogger {
    /// Makes records with this `access_log_format`, whose form is `form`.
    pub(super) fn new(format: &str, form: AccessForm) -> Self {
        Self {
            format: format.to_owned(),
            form,
            parts: OnceCell::new(),
        }
    }

    fn parts(&self, py: Python<'_>) -> PyResult<&Parts> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let parts = Parts::new(py, &self.format, self.form.clone())?;
        Ok(self.parts.get_or_init(|| parts))
    }

    /// Makes the record of one request. The handlers of the logger may run any code.
    pub(super) fn write(&self, py: Python<'_>, record: &impl Record, about: &AccessLine<'_, '_>) {
        let written = self.parts(py).and_then(|parts| {
            let fields = parts.fields(py, record, about)?;
            parts.write.bind(py).call1((fields,))
        });
        if let Err(error) = written {
            log::error(format_args!(
                "the access log cannot be written\n{}",
                traceback::format(py, &error)
            ));
        }
    }
}

impl Parts {
    fn new(py: Python<'_>, format: &str, form: AccessForm) -> PyResult<Self> {
        let json = match form {
            AccessForm::Line(_) => None,
            AccessForm::Json(_) | AccessForm::JsonLine(_) => Some(form),
        };
        let format = match &json {
            None => format.to_owned(),
            Some(_) => format!("%({JSON})s"),
        };
        let compile =
            |name: char| AccessFormat::compile(&format!("%({name})s")).map(|made| (name, made));
        let fields = FIELDS.chars().map(compile).collect::<Result<_, _>>();
        Ok(Self {
            write: access_logger(py, &format)?.unbind(),
            fields: fields
                .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?,
            json,
        })
    }

    /// The fields of one request.
    fn fields<'py>(
        &self,
        py: Python<'py>,
        record: &impl Record,
        about: &AccessLine<'_, 'py>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let bytes = about.request.text;
        let all = PyDict::new(py);
        let mut value = Vec::new();
        for (name, format) in &self.fields {
            value.clear();
            format.render(record, &mut value);
            let text = String::from_utf8_lossy(&value);
            let text = text.trim_end_matches('\n');
            match text.parse::<u64>() {
                Ok(number) if NUMBERS.contains(*name) => all.set_item(name, number)?,
                Ok(_) | Err(_) => all.set_item(name, text)?,
            }
        }
        if let Some(form) = &self.json {
            value.clear();
            form.format(record, &mut value);
            all.set_item(JSON, String::from_utf8_lossy(&value).trim_end())?;
        }
        let latin1 = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
        };
        match about.seen.changed_fields {
            None => {
                for field in &about.request.head.fields {
                    let name = latin1(field.name.of(bytes)).to_lowercase();
                    all.set_item(format!("{{{name}}}i"), latin1(field.value.of(bytes)))?;
                }
            }
            Some(fields) => {
                for field in fields.iter() {
                    let (name, value): (String, Bound<'_, PyAny>) = field.extract()?;
                    all.set_item(format!("{{{}}}i", name.to_lowercase()), value)?;
                }
            }
        }
        for line in about.response_head.split(|byte| *byte == b'\n').skip(1) {
            let line = latin1(line);
            if let Some((name, value)) = line.split_once(':') {
                all.set_item(format!("{{{}}}o", name.to_lowercase()), value.trim())?;
            }
        }
        for (name, value) in about.seen.environ.into_iter().flatten() {
            let name = name.str()?.to_string_lossy().to_lowercase();
            all.set_item(format!("{{{name}}}e"), value)?;
        }
        Ok(all)
    }
}
