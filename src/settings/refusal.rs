//! Why a text is not accepted as a value, and the limits of numbers.

/// Why a text is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It does not have the form of the type, which `Value::NOUN` describes.
    NotA,
    /// It has the form, but is wrong for another reason.
    Because {
        /// Continues the sentence that begins with the value: `has no port after the colon`.
        what: String,
        /// The remedy.
        hint: Option<String>,
    },
}

impl Cause {
    /// A reason and its remedy.
    pub fn because(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Because {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

/// A text that was not accepted, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' {what}")]
pub struct Refused {
    /// The text.
    pub value: String,
    /// What is wrong with it.
    pub what: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// The limits of a number, in the unit of its type (seconds, bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The minimum.
    pub least: u64,
    /// The maximum.
    pub most: u64,
    /// A larger number is lowered to the maximum, with a warning, instead of refused.
    pub lowers: bool,
}

impl Bounds {
    /// No limits.
    pub const NONE: Self = Self::between(0, u64::MAX);

    /// From `least` to `most`, inclusive.
    pub const fn between(least: u64, most: u64) -> Self {
        Self {
            least,
            most,
            lowers: false,
        }
    }

    /// Up to `most`; a larger number is lowered, as gunicorn does.
    pub const fn lowered_to(most: u64) -> Self {
        Self {
            least: 0,
            most,
            lowers: true,
        }
    }

    /// In words, to follow the noun of a value: ` from 1 to 4096`.
    pub fn words(self) -> String {
        match (self.least, self.most) {
            (0, u64::MAX) => String::new(),
            (least, u64::MAX) => format!(" of at least {least}"),
            (least, most) => format!(" from {least} to {most}"),
        }
    }
}
