//! The access log by Python's logger `gunicorn.access`: each line's parts are its arguments, as with gunicorn, so that
//! formatters of users find them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_app::loggers::access_logger;
use rcorn_http::Head;
use rcorn_log as log;
use rcorn_log::{AccessFormat, Record};
use rcorn_python::traceback;

/// All atoms without a name in braces, and those of them that are numbers.
const ATOMS: &str = "hlutrsmUqHbBfaTMDLp";
const NUMBERS: &str = "BTMD";

/// The logger, and how each atom is made.
#[derive(Debug)]
pub(super) struct Logger {
    write: Py<PyAny>,
    atoms: Vec<(char, AccessFormat)>,
}

impl Logger {
    pub(super) fn new(py: Python<'_>, format: &str) -> PyResult<Self> {
        let compile =
            |atom: char| AccessFormat::compile(&format!("%({atom})s")).map(|made| (atom, made));
        let atoms = ATOMS.chars().map(compile).collect::<Result<_, _>>();
        Ok(Self {
            write: access_logger(py, format)?.unbind(),
            atoms: atoms
                .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?,
        })
    }

    /// The atoms of one request.
    pub(super) fn atoms<'py>(
        &self,
        py: Python<'py>,
        record: &impl Record,
        head: &Head,
        bytes: &[u8],
        reply_head: &[u8],
        environ: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        let mut value = Vec::new();
        for (atom, format) in &self.atoms {
            value.clear();
            format.render(record, &mut value);
            let text = String::from_utf8_lossy(&value);
            let text = text.trim_end_matches('\n');
            match text.parse::<u64>() {
                Ok(number) if NUMBERS.contains(*atom) => all.set_item(atom, number)?,
                Ok(_) | Err(_) => all.set_item(atom, text)?,
            }
        }
        let latin1 = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
        };
        for field in &head.fields {
            let name = latin1(field.name.of(bytes)).to_lowercase();
            all.set_item(format!("{{{name}}}i"), latin1(field.value.of(bytes)))?;
        }
        for line in reply_head.split(|byte| *byte == b'\n').skip(1) {
            let line = latin1(line);
            if let Some((name, value)) = line.split_once(':') {
                all.set_item(format!("{{{}}}o", name.to_lowercase()), value.trim())?;
            }
        }
        for (name, value) in environ.into_iter().flatten() {
            let name = name.str()?.to_string_lossy().to_lowercase();
            all.set_item(format!("{{{name}}}e"), value)?;
        }
        Ok(all)
    }

    pub(super) fn write(&self, py: Python<'_>, atoms: PyResult<Bound<'_, PyDict>>) {
        let written = atoms.and_then(|atoms| self.write.bind(py).call1((atoms,)));
        if let Err(error) = written {
            log::error(format_args!(
                "the access log cannot be written\n{}",
                traceback::format(py, &error)
            ));
        }
    }
}
