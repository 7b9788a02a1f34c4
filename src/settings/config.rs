//! Two types of settings: the configuration file, and a mapping.

use std::path::{Path, PathBuf};

use super::refusal::Cause;
use super::table::{Completes, Shape};
use super::value::{Value, text_form};

/// The names that are looked for if no file is named, in this order.
pub(super) const USUAL: [&str; 3] = ["rcorn.yaml", "rcorn.yml", "gunicorn.conf.py"];

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// Data.
    Yaml(PathBuf),
    /// Python that is executed.
    Python(PathBuf),
    /// A Python module that is imported.
    Module(String),
}

impl ConfigFile {
    /// The kind follows from the ending of the path.
    pub(super) fn at(path: PathBuf) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending {
            Some("yaml" | "yml") => Self::Yaml(path),
            Some(_) | None => Self::Python(path),
        }
    }

    /// The same file with an absolute path.
    pub(super) fn seen_from(self, directory: &Path) -> Self {
        match self {
            Self::Yaml(path) => Self::Yaml(directory.join(path)),
            Self::Python(path) => Self::Python(directory.join(path)),
            Self::Module(name) => Self::Module(name),
        }
    }

    /// Whether Python must execute it.
    pub fn is_python(&self) -> bool {
        matches!(self, Self::Python(_) | Self::Module(_))
    }

    /// Its name in messages: relative to the directory in which rcorn was started.
    pub fn shown(&self, directory: &Path) -> String {
        match self {
            Self::Yaml(path) | Self::Python(path) => path
                .strip_prefix(directory)
                .unwrap_or(path)
                .display()
                .to_string(),
            Self::Module(name) => format!("python:{name}"),
        }
    }
}

impl Value for ConfigFile {
    const NOUN: &'static str = "a file, file:PATH or python:MODULE";
    const VALUE_NAME: &'static str = "FILE";
    const COMPLETES: Completes = Completes::Path;

    fn parse(text: &str) -> Result<Self, Cause> {
        match text.split_once(':') {
            Some(("python", module)) => {
                let word = |word: &str| {
                    !word.is_empty()
                        && word
                            .chars()
                            .all(|sign| sign == '_' || sign.is_alphanumeric())
                };
                if module.split('.').all(word) {
                    Ok(Self::Module(module.to_owned()))
                } else {
                    Err(Cause::because(
                        "names no module after python:",
                        "write it as one imports it, python:shop.gunicorn_conf",
                    ))
                }
            }
            Some(("file", path)) if !path.is_empty() => PathBuf::parse(path).map(Self::at),
            _ if text.is_empty() => Err(Cause::NotA),
            _ => PathBuf::parse(text).map(Self::at),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Yaml(path) | Self::Python(path) => path.show(),
            Self::Module(name) => format!("python:{name}"),
        }
    }
}

/// A mapping of names to values, as JSON. One that cannot be written as JSON, because it contains
/// functions or classes, stays in its `gunicorn.conf.py`; templates get it by executing that file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping(String);

/// Stands for a mapping that cannot be written as JSON.
const LIVE: &str = "(as in the Python file)";

impl Mapping {
    /// The text for such a mapping.
    pub(super) const fn live() -> &'static str {
        LIVE
    }

    /// The JSON, if it can be written as such.
    pub fn json(&self) -> Option<&str> {
        (self.0 != LIVE).then_some(&self.0)
    }
}

impl Value for Mapping {
    const NOUN: &'static str = "a mapping of names to values";
    const VALUE_NAME: &'static str = "MAPPING";
    const SHAPE: Shape = Shape::Mapping;

    fn parse(text: &str) -> Result<Self, Cause> {
        let is_mapping =
            || serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text).is_ok();
        if text == LIVE || is_mapping() {
            Ok(Self(text.to_owned()))
        } else {
            Err(Cause::NotA)
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

text_form!(ConfigFile, Mapping);
