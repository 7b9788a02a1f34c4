//! A uwsgi.ini in rcorn's settings. What depends on several lines is in `places` and `limits`, one function
//! for each matter; what depends on one line alone is in `rules`.

use std::path::Path;

use super::ini::{self, Known, Line};
use super::sheet::{Sheet, Source};
use super::yaml::Text;
use super::{Refused, limits, places, rules};

/// A line with its text complete.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) source: Source,
    pub(super) key: String,
    pub(super) value: Text,
}

impl Given {
    /// The value as far as it is known.
    pub(super) fn text(&self) -> &str {
        match &self.value {
            Text::Plain(text) | Text::Expanded(text) => text,
        }
    }

    /// As a switch: a key without a value is on.
    pub(super) fn is_on(&self) -> bool {
        !["false", "off", "no", "0"].contains(&self.text().to_ascii_lowercase().as_str())
    }

    /// The value when it is known now.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.value {
            Text::Plain(text) => Some(text),
            Text::Expanded(_) => None,
        }
    }

    /// The text before, the value after: a variable in it stays one.
    pub(super) fn with(&self, change: impl FnOnce(&str) -> String) -> Text {
        match &self.value {
            Text::Plain(text) => Text::Plain(change(text)),
            Text::Expanded(text) => Text::Expanded(change(text)),
        }
    }
}

/// The lines that were not dealt with yet.
pub(super) struct Rest(pub(super) Vec<Given>);

impl Rest {
    /// Takes out the lines with these keys.
    pub(super) fn take(&mut self, keys: &[&str]) -> Vec<Given> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|given| keys.contains(&given.key.as_str()));
        self.0 = rest;
        taken
    }

    /// Takes out the lines with these keys; the last one counts.
    pub(super) fn last(&mut self, keys: &[&str], sheet: &mut Sheet) -> Option<Given> {
        let mut taken = self.take(keys);
        let last = taken.pop()?;
        for before in taken {
            let why = format!(
                "line {} says it again, and the last one counts",
                last.source.number
            );
            sheet.leave(&before.source, why);
        }
        Some(last)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&mut self, key: &str, why: &str, sheet: &mut Sheet) -> bool {
        let given = self.last(&[key], sheet);
        if let Some(given) = &given {
            sheet.needless(&given.source, why);
        }
        given.is_some_and(|given| given.is_on())
    }
}

/// The file as a rcorn.yaml.
pub(super) fn translate(file: &Path, text: &str) -> Result<String, Refused> {
    let Some((lines, others)) = ini::read(text) else {
        return Err(Refused::new(
            "has no section [uwsgi]",
            "a uwsgi.ini has a line [uwsgi], and lines of key = value after it",
        ));
    };
    if lines.is_empty() {
        return Err(Refused::new(
            "has nothing in its section [uwsgi]",
            "there is nothing to migrate",
        ));
    }
    let mut sheet = Sheet::default();
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    sheet.say(format!(
        "Made by `rcorn migrate` from {}.",
        super::yaml::verbatim(&name)
    ));
    sheet.say("To check it: rcorn --check-config -c rcorn.yaml.");
    if !others.is_empty() {
        let others: Vec<String> = others
            .iter()
            .map(|other| super::yaml::verbatim(other))
            .collect();
        sheet.say(format!(
            "Of its sections only [uwsgi] was read, not [{}].",
            others.join("], [")
        ));
    }
    let mut rest = Rest(given(file, &lines, &mut sheet));
    places::app(&mut rest, &mut sheet);
    places::sockets(&mut rest, &mut sheet);
    limits::workers(&mut rest, &mut sheet);
    limits::limits(&mut rest, &mut sheet);
    limits::user(&mut rest, &mut sheet);
    limits::logs(&mut rest, &mut sheet);
    for given in rest.0 {
        rules::apply(&given, &mut sheet);
    }
    if !sheet.has("wsgi_app") {
        sheet.say("No app was found in it: add wsgi_app, or name it on the command line.");
    }
    if !sheet.has("bind") {
        sheet.say("No address was found in it: rcorn listens on 127.0.0.1:8000 unless bind says otherwise.");
    }
    Ok(sheet.render())
}

/// Completes the texts. Lines under a condition, and names of the file's own, are dealt with here.
fn given(file: &Path, lines: &[Line], sheet: &mut Sheet) -> Vec<Given> {
    let mut known = Known {
        file,
        values: Vec::new(),
    };
    for line in lines {
        let set = ["set-placeholder", "set-ph", "set"].contains(&line.key.as_str());
        match line.value.split_once('=').filter(|_| set) {
            Some((key, value)) => known
                .values
                .push((key.trim().to_owned(), value.trim().to_owned())),
            None => known.values.push((line.key.clone(), line.value.clone())),
        }
    }
    let used: Vec<&str> = lines
        .iter()
        .flat_map(|line| known.uses(&line.value))
        .collect();
    let (mut out, mut inside) = (Vec::new(), Vec::new());
    for line in lines {
        let key = line.key.as_str();
        if ["endif", "end-if", "endfor", "end-for"].contains(&key) {
            inside.pop();
            sheet.needless(&line.source, "the end of the condition above");
        } else if key.starts_with("if") || key == "for" || key.starts_with("for-") {
            inside.push(line.source.text.clone());
            sheet.leave(
                &line.source,
                "conditions are not translated: decide, and add what holds for this machine",
            );
        } else if let Some(condition) = inside.last() {
            sheet.leave(&line.source, format!("it depends on: {condition}"));
        } else if ["set-placeholder", "set-ph"].contains(&key)
            || (used.contains(&key) && !rules::is_known(key))
        {
            sheet.needless(
                &line.source,
                "a name of the file's own; its text stands where it is used",
            );
        } else if line.value == "%k" && ["processes", "workers"].contains(&key) {
            out.push(Given {
                source: line.source.clone(),
                key: line.key.clone(),
                value: Text::Plain("auto".to_owned()),
            });
        } else {
            match known.expand(&line.value) {
                Ok(value) => out.push(Given {
                    source: line.source.clone(),
                    key: line.key.clone(),
                    value,
                }),
                Err(why) => sheet.leave(&line.source, why),
            }
        }
    }
    out
}
