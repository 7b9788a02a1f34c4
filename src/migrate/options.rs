//! The options of a uwsgi.ini with their values expanded, and the list of those that are still to
//! be translated.

use super::output::{Output, SourceLine};
use super::yaml::Text;

/// A line of the file, its value expanded.
#[derive(Clone, Debug)]
pub(super) struct IniOption {
    pub(super) source: SourceLine,
    pub(super) key: String,
    pub(super) value: Text,
}

impl IniOption {
    /// The value; variables of the environment stay `${NAME}`.
    pub(super) fn text(&self) -> &str {
        match &self.value {
            Text::Plain(text) | Text::Expanded(text) => text,
        }
    }

    /// As a switch: a key without a value is on.
    pub(super) fn is_on(&self) -> bool {
        !["false", "off", "no", "0"].contains(&self.text().to_ascii_lowercase().as_str())
    }

    /// The value, unless it contains a variable of the environment.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.value {
            Text::Plain(text) => Some(text),
            Text::Expanded(_) => None,
        }
    }

    /// The value changed by `change`; a variable in it stays one.
    pub(super) fn with(&self, change: impl FnOnce(&str) -> String) -> Text {
        match &self.value {
            Text::Plain(text) => Text::Plain(change(text)),
            Text::Expanded(text) => Text::Expanded(change(text)),
        }
    }
}

/// The lines that are still to be translated.
pub(super) struct Remaining(pub(super) Vec<IniOption>);

impl Remaining {
    /// Takes out the lines with these keys.
    pub(super) fn take(&mut self, keys: &[&str]) -> Vec<IniOption> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|option| keys.contains(&option.key.as_str()));
        self.0 = rest;
        taken
    }

    /// Takes out the lines with these keys; the last one counts.
    pub(super) fn last(&mut self, keys: &[&str], output: &mut Output) -> Option<IniOption> {
        let mut taken = self.take(keys);
        let last = taken.pop()?;
        for before in taken {
            let why = format!(
                "line {} sets it again, and the last one counts",
                last.source.number
            );
            output.omit(&before.source, why);
        }
        Some(last)
    }

    /// Takes out the lines with this key and lists them as not needed; whether the last one is on.
    pub(super) fn is_on(&mut self, key: &str, why: &str, output: &mut Output) -> bool {
        let option = self.last(&[key], output);
        if let Some(option) = &option {
            output.not_needed(&option.source, why);
        }
        option.is_some_and(|option| option.is_on())
    }
}
