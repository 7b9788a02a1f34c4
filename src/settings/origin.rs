//! The origin of a value, and the values that it overrides.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// A configuration file, with the line if known.
    File(Arc<str>, Option<u32>),
    /// A variable of the environment.
    Environment(&'static str),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, Some(line)) => write!(f, "{file}:{line}"),
            Self::File(file, None) => f.write_str(file),
            Self::Environment(variable) => f.write_str(variable),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// For each setting, the values that sources give it, in rising precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Vec<(Origin, String)>>);

impl Origins {
    /// Records the value that a source gives a setting.
    pub(super) fn record(&mut self, setting: &'static str, origin: &Origin, value: String) {
        let history = self.0.entry(setting).or_default();
        history.push((origin.clone(), value));
    }

    /// The origin of the value in force.
    pub fn of(&self, setting: &str) -> &Origin {
        self.history(setting)
            .last()
            .map_or(&Origin::Default, |(origin, _)| origin)
    }

    /// All values of a setting; the last one counts.
    pub fn history(&self, setting: &str) -> &[(Origin, String)] {
        self.0.get(setting).map_or(&[], Vec::as_slice)
    }
}
