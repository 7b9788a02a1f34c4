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

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Evaluation {
    Names(Vec<(String, NamedValue, Option<u32>)>),
    Raised {
        text: String,
        traceback: String,
        line: Option<u32>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NamedValue {
    Data(Data),
    Function(usize, usize),
    Live(String),
}

/// Reads the JSON into the settings.
pub(super) fn read(answer: &str, reading: &mut Reading<'_>) -> Result<(), Error> {
    let broken = |_what| Error::NotEvaluated {
        file: reading.file.to_string(),
        why: "the interpreter exited without an answer".to_owned(),
    };
    let names = match serde_json::from_str(answer).map_err(broken)? {
        Evaluation::Names(names) => names,
        Evaluation::Raised {
            text,
            traceback,
            line,
        } => {
            return Err(Error::ConfigRaised {
                place: Origin::File(reading.file.clone(), line).to_string(),
                text,
                traceback,
            });
        }
    };
    for (name, found, line) in names {
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
    Ok(())
}
