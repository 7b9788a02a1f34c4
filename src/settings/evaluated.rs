//! A `gunicorn.conf.py`: the names that `evaluate.py` reports in JSON become settings.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value as Data;

use super::config::ConfigFile;
use super::error::Error;
use super::file::{FileValue, Reading};
use super::origin::Origin;

/// A Python file or module for an interpreter to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonFile {
    /// The file or module.
    pub file: ConfigFile,
    /// The directory to evaluate it in: where rcorn was started.
    pub directory: PathBuf,
    /// `--python`, when it was given.
    pub python: Option<PathBuf>,
}

impl PythonFile {
    /// Its name in messages.
    pub fn shown(&self) -> String {
        self.file.shown(&self.directory)
    }
}

/// The program that evaluates it. Arguments: a descriptor to write the answer to; `file` or
/// `module`; its path or name.
pub const EVALUATOR: &str = include_str!("evaluate.py");

/// The beginning of names that the file has set in gunicorn's module, if that is installed:
/// `gunicorn.SERVER` and `gunicorn.SERVER_SOFTWARE`.
const GUNICORN: &str = "gunicorn.";

/// What `evaluate.py` prints.
#[derive(Deserialize)]
#[serde(untagged)]
enum Evaluation {
    Names {
        names: Vec<(String, NamedValue, Option<u32>)>,
        /// The file has no effect on the process that executes it.
        #[serde(default)]
        plain: bool,
        /// The classes that `worker_class` is based on.
        #[serde(default)]
        worker_bases: Vec<String>,
    },
    Raised {
        raised: Raised,
    },
}

#[derive(Deserialize)]
struct Raised {
    text: String,
    traceback: String,
    line: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NamedValue {
    Data(Data),
    Function(usize, usize),
    Live(String),
}

/// What a file says beside its settings.
#[derive(Debug)]
pub(super) struct Evaluated {
    /// It is nothing but data: it has no effect on its process, and defines no hook and no object
    /// that only Python can hold.
    pub(super) is_data: bool,
    /// The classes that its `worker_class` is based on, the nearest first.
    pub(super) worker_bases: Vec<String>,
}

/// Reads the JSON into the settings.
pub(super) fn read(answer: &str, reading: &mut Reading<'_>) -> Result<Evaluated, Error> {
    let broken = |_what| Error::NotEvaluated {
        file: reading.file.to_string(),
        why: "the interpreter exited without an answer".to_owned(),
    };
    let (names, plain, worker_bases) = match serde_json::from_str(answer).map_err(broken)? {
        Evaluation::Names {
            names,
            plain,
            worker_bases,
        } => (names, plain, worker_bases),
        Evaluation::Raised { raised } => {
            return Err(Error::ConfigRaised {
                place: Origin::File(reading.file.clone(), raised.line).to_string(),
                text: raised.text,
                traceback: raised.traceback,
            });
        }
    };
    for (name, found, line) in names {
        if name.starts_with(GUNICORN) {
            reading.warn(
                line,
                &format!("{name} has no effect; set server_header instead (a text, or \"off\")"),
            );
            continue;
        }
        let given = match found {
            NamedValue::Data(data) => FileValue::Data(data),
            NamedValue::Function(least, most) => FileValue::Function(least, most),
            NamedValue::Live(what) => FileValue::Live(what),
        };
        reading
            .take(&name, &given, line)
            .map_err(|error| Error::InFile {
                place: Origin::File(reading.file.clone(), line).to_string(),
                error: Box::new(error),
                python: true,
            })?;
    }
    Ok(Evaluated {
        is_data: plain && !reading.needs_python,
        worker_bases,
    })
}
