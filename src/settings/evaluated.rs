//! What an interpreter found in a `gunicorn.conf.py`: `evaluate.py` says it in JSON, here it becomes settings.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value as Data;

use super::config::ConfigFile;
use super::error::Error;
use super::file::{Given, Reading};
use super::origin::Origin;

/// A Python file or module that an interpreter shall evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonFile {
    /// Which.
    pub file: ConfigFile,
    /// The directory to work in meanwhile: where rcorn was started.
    pub directory: PathBuf,
    /// `--python`, when it was given.
    pub python: Option<PathBuf>,
}

impl PythonFile {
    /// How the operator knows it.
    pub fn shown(&self) -> String {
        self.file.shown(&self.directory)
    }
}

/// The program that evaluates it. Arguments: a descriptor to write the answer to; `file` or `module`; its path or name.
pub const EVALUATOR: &str = include_str!("evaluate.py");

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Names(Vec<(String, Found, Option<u32>)>),
    Raised {
        text: String,
        traceback: String,
        line: Option<u32>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    Data(Data),
    Function(usize, usize),
    Live(String),
}

/// Reads the answer into the settings.
pub(super) fn read(answer: &str, reading: &mut Reading<'_>) -> Result<(), Error> {
    let broken = |_what| Error::NotEvaluated {
        file: reading.file.to_string(),
        why: "the interpreter ended before it answered".to_owned(),
    };
    let names = match serde_json::from_str(answer).map_err(broken)? {
        Answer::Names(names) => names,
        Answer::Raised {
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
            Found::Data(data) => Given::Data(data),
            Found::Function(least, most) => Given::Function(least, most),
            Found::Live(what) => Given::Live(what),
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
