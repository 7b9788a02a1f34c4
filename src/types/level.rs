//! How severe a log record is.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The severity of a log record, from the least to the most severe: gunicorn's (and Python's) five
/// levels.
///
/// On the wire and in settings it is a lower-case word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Details that help to find a fault in rcorn.
    Debug,
    /// The normal course of things.
    Info,
    /// Something an operator should look at.
    Warning,
    /// Something failed.
    Error,
    /// The service is in danger.
    Critical,
}

/// The text names no log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl Level {
    /// All levels, from the least to the most severe.
    pub const ALL: [Self; 5] = [
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Critical,
    ];

    /// The words of [`Level::ALL`].
    pub const NAMES: [&'static str; 5] = ["debug", "info", "warning", "error", "critical"];

    /// The level as a setting: `debug`, `info`, `warning`, `error` or `critical`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The level in a log line: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// The number of this level in Python's `logging` module: 10, 20, 30, 40 or 50.
    #[must_use]
    pub const fn python_number(self) -> u8 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
            Self::Critical => 50,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a log level: choose one of {}",
            Level::NAMES.join(", ")
        )
    }
}

impl std::error::Error for UnknownLevel {}

/// Case and surrounding white space do not matter, as in gunicorn.
impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let word = text.trim();
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(word))
            .ok_or(UnknownLevel)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_numbers_agree() {
        for (level, name) in Level::ALL.into_iter().zip(Level::NAMES) {
            assert_eq!(level.name(), name);
            assert_eq!(level.label(), name.to_ascii_uppercase());
            assert_eq!(level.label().parse(), Ok(level));
            assert_eq!(
                serde_json::to_string(&level).unwrap(),
                format!("\"{name}\"")
            );
            assert_eq!(
                serde_json::from_str::<Level>(&format!("\"{name}\"")).unwrap(),
                level
            );
        }
        assert!(Level::ALL.is_sorted());
        assert!(
            Level::ALL
                .iter()
                .is_sorted_by_key(|level| level.python_number())
        );
        assert_eq!("warn".parse::<Level>(), Err(UnknownLevel));
    }
}
