//! The options of a uwsgi.ini with their values expanded, and those that no rule has taken yet.

use super::sheet::{Sheet, Source};
use super::yaml::Text;

/// A line with its text complete.
#[derive(Clone, Debug)]
pub(super) struct IniOption {
    pub(super) source: Source,
    pub(super) key: String,
    pub(super) value: Text,
}

impl IniOption {
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
    pub(super) fn last(&mut self, keys: &[&str], sheet: &mut Sheet) -> Option<IniOption> {
        let mut taken = self.take(keys);
        let last = taken.pop()?;
        for before in taken {
            let why = format!(
                "line {} sets it again, and the last one holds",
                last.source.number
            );
            sheet.leave(&before.source, why);
        }
        Some(last)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&mut self, key: &str, why: &str, sheet: &mut Sheet) -> bool {
        let option = self.last(&[key], sheet);
        if let Some(option) = &option {
            sheet.needless(&option.source, why);
        }
        option.is_some_and(|option| option.is_on())
    }
}
