//! What a configuration file says, name by name, turned into settings: for YAML and Python alike.

use std::sync::Arc;

use serde_json::Value as Data;

use super::error::Error;
use super::hooks::{HOOKS, hook_named};
use super::known::KNOWN;
use super::origin::{Origin, Origins};
use super::rows::{Layer, Settings, TABLE};
use super::table::Setting;
use super::value::Refused;

/// What is given for a name.
#[derive(Debug)]
pub(super) enum Given {
    /// Something that can be written down.
    Data(Data),
    /// A function, with the numbers of positional arguments it can be called with.
    Function(usize, usize),
    /// Something else that only Python can hold, in words.
    Live(String),
}

/// Reads one file into the settings.
pub(super) struct Reading<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) origins: &'a mut Origins,
    pub(super) warnings: &'a mut Vec<String>,
    /// How the operator knows the file.
    pub(super) file: Arc<str>,
    /// It is Python: names that are no settings are its own business.
    pub(super) python: bool,
}

impl Reading<'_> {
    /// Takes what is given for a name.
    pub(super) fn take(
        &mut self,
        name: &str,
        given: &Given,
        line: Option<u32>,
    ) -> Result<(), Error> {
        if name == "config" {
            if matches!(given, Given::Data(Data::String(_))) {
                self.warn(line, "config has no effect in a file");
            }
            return Ok(());
        }
        if let Some(row) = TABLE.iter().find(|row| row.name == name) {
            return self.take_setting(row, given, line);
        }
        if let Some(hook) = hook_named(name) {
            return match given {
                Given::Data(Data::Null) => Ok(()),
                Given::Function(least, most)
                    if (*least..=*most).contains(&hook.parameters.len()) =>
                {
                    Ok(())
                }
                Given::Function(least, most)
                    if hook.fewest < hook.parameters.len()
                        && *most >= hook.fewest
                        && *least <= *most =>
                {
                    Ok(())
                }
                Given::Function(..) => Err(wrong(
                    name,
                    "takes other parameters",
                    format!("it is called as {name}({})", hook.parameters.join(", ")),
                )),
                Given::Data(_) | Given::Live(_) if self.python => Err(wrong(
                    name,
                    "is not a function",
                    format!("write def {name}({}):", hook.parameters.join(", ")),
                )),
                Given::Data(_) | Given::Live(_) => Err(wrong(
                    name,
                    "is a hook, and hooks are Python functions",
                    "keep them in a gunicorn.conf.py".to_owned(),
                )),
            };
        }
        if let Some(known) = KNOWN.iter().find(|known| known.name == name) {
            let value = match given {
                Given::Data(data) => {
                    texts(data).map_or_else(|| "…".to_owned(), |texts| texts.join(","))
                }
                Given::Function(..) | Given::Live(_) => "…".to_owned(),
            };
            if value.trim().is_empty() || !known.asks(&value) {
                return Ok(());
            }
            if let Some(warning) = known.answered(name, &value)? {
                self.warn(line, &warning);
            }
            return Ok(());
        }
        let nearest = nearest(name);
        // A slip of the pen, most probably; else a variable of the file's own.
        if let (Given::Data(_), Some(nearest)) = (
            given,
            nearest.filter(|nearest| strsim::damerau_levenshtein(name, nearest) == 1),
        ) {
            self.warn(
                line,
                &format!("{name} is no setting; did you mean {nearest}?"),
            );
        }
        Ok(())
    }

    fn take_setting(
        &mut self,
        row: &'static Setting,
        given: &Given,
        line: Option<u32>,
    ) -> Result<(), Error> {
        let data = match given {
            Given::Data(data) => data,
            Given::Live(_) if row.value_name == "MAPPING" => {
                &Data::from(super::config::Mapping::live())
            }
            // Good names for the file's own functions and modules; gunicorn has no such settings.
            Given::Function(..) | Given::Live(_)
                if self.python && matches!(row.name, "python" | "upgrade") =>
            {
                return Ok(());
            }
            Given::Function(..) => {
                return Err(wrong(row.name, "is a function", row.explained()));
            }
            Given::Live(what) => {
                return Err(wrong(row.name, &format!("is {what}"), row.explained()));
            }
        };
        if data.is_null() && !(row.default)().is_empty() {
            return Ok(());
        }
        let texts = self.texts_for(row, data)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut layer = Layer::default();
        let note = row
            .read(&mut layer, &texts)
            .map_err(|refused| Error::Value {
                at: row.name.to_owned(),
                refused,
            })?;
        if let Some(note) = note {
            self.warn(line, &format!("{}: {note}", row.name));
        }
        let origin = Origin::File(Arc::clone(&self.file), line);
        layer.lay_over(self.settings, self.origins, &origin);
        Ok(())
    }

    /// The data in the form of the command line.
    fn texts_for(&self, row: &Setting, data: &Data) -> Result<Vec<String>, Error> {
        let refused = |what: &str| {
            Err(Error::Value {
                at: row.name.to_owned(),
                refused: Refused {
                    value: data.to_string(),
                    what: what.to_owned(),
                    hint: Some(row.explained()),
                },
            })
        };
        match data {
            Data::Null => Ok(vec![String::new()]),
            // gunicorn drops the fraction of a computed number.
            Data::Number(number) if self.python && row.value_name == "COUNT" && number.is_f64() => {
                let whole = number.as_f64().unwrap_or_default().trunc();
                Ok(vec![format!("{whole:.0}")])
            }
            Data::Object(_) if row.value_name == "MAPPING" => Ok(vec![data.to_string()]),
            Data::Object(_) if row.value_name != "NAME=VALUE" => {
                refused("is a mapping, where one value is expected")
            }
            Data::Array(_) if !row.list && row.value_name != "LIST" => {
                refused("is a list, where one value is expected")
            }
            Data::Array(_) | Data::Object(_) => match texts(data) {
                Some(texts) if row.list => Ok(texts),
                Some(texts) => Ok(vec![texts.join(",")]),
                None => refused("has lists or mappings inside"),
            },
            Data::Bool(_) | Data::Number(_) | Data::String(_) => {
                Ok(texts(data).unwrap_or_default())
            }
        }
    }

    fn warn(&mut self, line: Option<u32>, text: &str) {
        let place = Origin::File(Arc::clone(&self.file), line);
        self.warnings.push(format!("{place}: {text}"));
    }
}

/// The name is what is wrong about it.
fn wrong(name: &str, what: &str, hint: String) -> Error {
    Error::Value {
        at: name.to_owned(),
        refused: Refused {
            value: name.to_owned(),
            what: what.to_owned(),
            hint: Some(hint),
        },
    }
}

/// Scalars, lists of scalars and mappings of scalars as the command line would have them.
fn texts(data: &Data) -> Option<Vec<String>> {
    match data {
        Data::Array(items) => items.iter().map(scalar).collect(),
        Data::Object(pairs) => {
            let pair = |(name, value): (&String, &Data)| Some(format!("{name}={}", scalar(value)?));
            pairs.iter().map(pair).collect()
        }
        Data::Null | Data::Bool(_) | Data::Number(_) | Data::String(_) => {
            scalar(data).map(|text| vec![text])
        }
    }
}

fn scalar(data: &Data) -> Option<String> {
    match data {
        Data::Null => Some(String::new()),
        Data::Bool(value) => Some(value.to_string()),
        Data::Number(number) => Some(number.to_string()),
        Data::String(text) => Some(text.clone()),
        Data::Array(_) | Data::Object(_) => None,
    }
}

/// Whether a file may say something of this name.
pub(super) fn is_known(name: &str) -> bool {
    name == "config"
        || TABLE.iter().any(|row| row.name == name)
        || KNOWN.iter().any(|known| known.name == name)
        || hook_named(name).is_some()
}

/// The name that was meant, where one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names = TABLE.iter().map(|row| row.name);
    let all = names
        .chain(KNOWN.iter().map(|known| known.name))
        .chain(HOOKS.iter().map(|hook| hook.name));
    all.map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
