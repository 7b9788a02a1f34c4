//! Why a text is refused as a value, and the limits that it is checked against.

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It does not have the form at all; the type's noun says what was expected.
    NotA,
    /// It has the form, but something about it is wrong.
    Because {
        /// Goes on after the value: `has no port after the colon`.
        what: String,
        /// The way out.
        hint: Option<String>,
    },
}

impl Cause {
    /// Something is wrong, and this is the way out.
    pub fn because(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Because {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

/// A text that was refused, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' {what}")]
pub struct Refused {
    /// The text.
    pub value: String,
    /// What is wrong with it.
    pub what: String,
    /// The way out.
    pub hint: Option<String>,
}

/// The limits of a number, in its type's own unit (seconds, bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest that is allowed.
    pub least: u64,
    /// The largest.
    pub most: u64,
    /// A larger one is lowered to the largest, and told about, instead of refused.
    pub lowers: bool,
}

impl Bounds {
    /// No limits.
    pub const NONE: Self = Self::between(0, u64::MAX);

    /// From one to the other, both included.
    pub const fn between(least: u64, most: u64) -> Self {
        Self {
            least,
            most,
            lowers: false,
        }
    }

    /// A larger one is lowered. For limits that gunicorn lowers too: its command lines must go on
    /// working.
    pub const fn lowered_to(most: u64) -> Self {
        Self {
            least: 0,
            most,
            lowers: true,
        }
    }

    /// As they follow the noun of a value: ` from 1 to 4096`.
    pub fn words(self) -> String {
        match (self.least, self.most) {
            (0, u64::MAX) => String::new(),
            (least, u64::MAX) => format!(" of at least {least}"),
            (least, most) => format!(" from {least} to {most}"),
        }
    }
}
