//! Turns the names and values of a configuration file, YAML or Python, into settings.

use std::sync::Arc;

use serde_json::Value as Data;

use super::error::Error;
use super::gunicorn_compat::{UNSUPPORTED, Unsupported, UnsupportedValue, UnsupportedValues};
use super::hooks::{HOOKS, Hook, hook_named};
use super::origin::{Origin, Origins};
use super::refusal::Refused;
use super::rows::{Layer, Setting, Settings, TABLE};
use super::table::{InPython, Shape};

/// The value that a file gives to a name.
#[derive(Debug)]
pub(super) enum FileValue {
    /// A value that can be written as JSON.
    Data(Data),
    /// A function, with the least and the greatest number of positional arguments that it takes.
    Function(usize, usize),
    /// An object that cannot be written as JSON; its kind in words.
    Live(String),
}

/// Reads one file into the settings.
pub(super) struct Reading<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) origins: &'a mut Origins,
    pub(super) warnings: &'a mut Vec<String>,
    pub(super) unsupported: &'a mut UnsupportedValues,
    /// The name of the file in messages.
    pub(super) file: Arc<str>,
    /// The file has given a hook, or a value that only Python can hold.
    pub(super) needs_python: bool,
    /// It is Python: names that are not settings are its own variables.
    pub(super) python: bool,
}

impl Reading<'_> {
    /// Takes the value of a name.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: &FileValue,
        line: Option<u32>,
    ) -> Result<(), Error> {
        if name == "config" {
            if matches!(value, FileValue::Data(Data::String(_))) {
                self.warn(line, "config has no effect in a file");
            }
            return Ok(());
        }
        if let Some(row) = TABLE.iter().find(|row| row.name == name) {
            return self.take_setting(row, value, line);
        }
        if let Some(hook) = hook_named(name) {
            self.needs_python |= matches!(value, FileValue::Function(..));
            return self.take_hook(hook, value);
        }
        if let Some(setting) = UNSUPPORTED.iter().find(|one| one.name == name) {
            self.take_unsupported(setting, value, line);
            return Ok(());
        }
        if let (FileValue::Data(_), Some(meant)) = (value, meant_by(name)) {
            self.warn(
                line,
                &format!("{name} is not a setting; did you mean {meant}?"),
            );
        }
        Ok(())
    }

    fn take_unsupported(
        &mut self,
        setting: &'static Unsupported,
        value: &FileValue,
        line: Option<u32>,
    ) {
        let unknown = || "…".to_owned();
        let value = match value {
            FileValue::Data(data) => texts(data).map_or_else(unknown, |texts| texts.join(",")),
            FileValue::Function(..) | FileValue::Live(_) => unknown(),
        };
        let name = setting.name.to_owned();
        let origin = Origin::File(Arc::clone(&self.file), line);
        let value = UnsupportedValue {
            setting,
            name,
            value,
        };
        self.unsupported.add(value, origin);
    }

    /// Checks that what a file gives as a hook can be called as one.
    fn take_hook(&self, hook: &Hook, value: &FileValue) -> Result<(), Error> {
        let name = hook.name;
        let most = hook.parameters.len();
        let parameters = hook.parameters.join(", ");
        match value {
            FileValue::Data(Data::Null) => Ok(()),
            FileValue::Function(least, takes) if (*least..=*takes).contains(&most) => Ok(()),
            FileValue::Function(least, takes)
                if hook.fewest < most && *takes >= hook.fewest && *least <= *takes =>
            {
                Ok(())
            }
            FileValue::Function(..) => Err(wrong(
                name,
                "takes other parameters",
                format!("it is called as {name}({parameters})"),
            )),
            FileValue::Data(_) | FileValue::Live(_) if self.python => Err(wrong(
                name,
                "is not a function",
                format!("write def {name}({parameters}):"),
            )),
            FileValue::Data(_) | FileValue::Live(_) => Err(wrong(
                name,
                "is a hook, and hooks are Python functions",
                "define it in a gunicorn.conf.py".to_owned(),
            )),
        }
    }

    fn take_setting(
        &mut self,
        row: &'static Setting,
        value: &FileValue,
        line: Option<u32>,
    ) -> Result<(), Error> {
        let is_own = self.python && row.in_python == InPython::CommonName;
        let data = match value {
            FileValue::Data(data) => data,
            FileValue::Live(_) if row.shape == Shape::Mapping => {
                self.needs_python = true;
                &Data::from(super::config::Mapping::live())
            }
            FileValue::Function(..) | FileValue::Live(_) if is_own => return Ok(()),
            FileValue::Function(..) => {
                return Err(wrong(row.name, "is a function", row.explained()));
            }
            FileValue::Live(what) => {
                return Err(wrong(row.name, &format!("is {what}"), row.explained()));
            }
        };
        if data.is_null() && !(row.default)().is_empty() {
            return Ok(());
        }
        let texts = self.texts_for(row, data)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut layer = Layer::default();
        let remark = row
            .read(&mut layer, &texts)
            .map_err(|refused| Error::Value {
                at: row.name.to_owned(),
                refused,
            })?;
        if let Some(remark) = remark {
            self.warn(line, &format!("{}: {remark}", row.name));
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
        match (data, row.shape) {
            (Data::Null, _) => Ok(vec![String::new()]),
            // gunicorn drops the fraction of a computed number.
            (Data::Number(number), Shape::Count) if self.python && number.is_f64() => {
                let whole = number.as_f64().unwrap_or_default().trunc();
                Ok(vec![format!("{whole:.0}")])
            }
            // gunicorn's default, which configures nothing.
            (Data::Object(pairs), Shape::Mapping) if pairs.is_empty() => Ok(vec![String::new()]),
            (Data::Object(_), Shape::Mapping) => Ok(vec![data.to_string()]),
            (Data::Object(_) | Data::Array(_), Shape::Pairs) | (Data::Array(_), Shape::List) => {
                texts(data).map_or_else(|| refused("has lists or mappings inside"), Ok)
            }
            (Data::Array(_), Shape::Joined) => texts(data).map_or_else(
                || refused("has lists or mappings inside"),
                |texts| Ok(vec![texts.join(",")]),
            ),
            (Data::Object(_), _) => refused("is a mapping, where one value is expected"),
            (Data::Array(_), _) => refused("is a list, where one value is expected"),
            (Data::Bool(_) | Data::Number(_) | Data::String(_), _) => {
                Ok(texts(data).unwrap_or_default())
            }
        }
    }

    pub(super) fn warn(&mut self, line: Option<u32>, text: &str) {
        let place = Origin::File(Arc::clone(&self.file), line);
        self.warnings.push(format!("{place}: {text}"));
    }
}

/// An error about the name itself.
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

/// Scalars, lists of scalars and mappings of scalars in the form of the command line.
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

/// Whether a file may set this name.
pub(super) fn is_known(name: &str) -> bool {
    name == "config"
        || TABLE.iter().any(|row| row.name == name)
        || UNSUPPORTED.iter().any(|one| one.name == name)
        || hook_named(name).is_some()
}

/// The setting that an unknown name in a Python file most probably stands for: the name of a flag,
/// or a name with one letter wrong. Other names are variables of the file's own, and so are the
/// names of flags that are common words.
fn meant_by(name: &str) -> Option<&'static str> {
    let common = ["env", "name", "pid"];
    let of_flag = setting_of_flag(name).filter(|_| !common.contains(&name));
    let similar =
        || nearest(name).filter(|nearest| strsim::damerau_levenshtein(name, nearest) == 1);
    of_flag.or_else(similar)
}

/// The setting with a flag of this name, which need not be its own: `preload` is `preload_app`.
fn setting_of_flag(name: &str) -> Option<&'static str> {
    let is_flag = |long: &&str| long.replace('-', "_") == name;
    let ours = TABLE.iter().find(|row| {
        let mut flags = row.flags.iter().map(|flag| flag.long);
        flags.any(|long| is_flag(&long))
    });
    let theirs = UNSUPPORTED.iter().find(|one| one.flags.iter().any(is_flag));
    ours.map(|row| row.name)
        .or_else(|| theirs.map(|one| one.name))
}

/// A setting or hook with a similar name, or with a flag of this name.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    if let Some(setting) = setting_of_flag(name) {
        return Some(setting);
    }
    let names = TABLE.iter().map(|row| row.name);
    let all = names
        .chain(UNSUPPORTED.iter().map(|one| one.name))
        .chain(HOOKS.iter().map(|hook| hook.name));
    all.map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
