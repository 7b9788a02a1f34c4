//! Where the value of a setting is from.

use std::collections::BTreeMap;
use std::fmt;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This variable of the environment.
    Environment(&'static str),
    /// The arguments that rcorn was started with.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(variable) => f.write_str(variable),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// The origin of every value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Notes where a setting's value is from now.
    pub(super) fn note(&mut self, setting: &'static str, origin: &Origin) {
        self.0.insert(setting, origin.clone());
    }

    /// Where the value of the setting of this name is from.
    pub fn of(&self, setting: &str) -> &Origin {
        self.0.get(setting).unwrap_or(&Origin::Default)
    }
}
