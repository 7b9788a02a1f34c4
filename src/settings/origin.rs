//! The origin of a setting's value, and the values that it overrides.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No source gives one.
    Default,
    /// A configuration file, and the line where that is known.
    File(Arc<str>, Option<u32>),
    /// This variable of the environment.
    Environment(&'static str),
    /// The arguments that rcorn was started with.
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

/// The origin of every value, with the values that were overridden, in rising order of precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Vec<(Origin, String)>>);

impl Origins {
    /// Records what a source says of a setting.
    pub(super) fn record(&mut self, setting: &'static str, origin: &Origin, value: String) {
        let history = self.0.entry(setting).or_default();
        history.push((origin.clone(), value));
    }

    /// Where the value of the setting of this name is from.
    pub fn of(&self, setting: &str) -> &Origin {
        self.history(setting)
            .last()
            .map_or(&Origin::Default, |(origin, _)| origin)
    }

    /// What each source says of it; the last one counts.
    pub fn history(&self, setting: &str) -> &[(Origin, String)] {
        self.0.get(setting).map_or(&[], Vec::as_slice)
    }
}
