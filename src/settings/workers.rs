//! The number of workers: given, or by the number of CPUs.

use super::literal::Literal;
use super::refusal::Cause;
use super::table::Shape;
use super::value::{Value, text_form};

/// The number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// This number.
    Count(u32),
    /// One for each CPU that rcorn may use.
    Auto,
}

impl Workers {
    /// The number; `cpus` is called only for `auto`.
    pub fn resolve(self, cpus: impl FnOnce() -> u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Auto => cpus().max(1),
        }
    }
}

impl Value for Workers {
    const NOUN: &'static str = "auto or a whole number";
    const VALUE_NAME: &'static str = "COUNT";
    const SHAPE: Shape = Shape::Count;

    fn parse(text: &str) -> Result<Self, Cause> {
        if text.trim().eq_ignore_ascii_case("auto") {
            Ok(Self::Auto)
        } else {
            u32::parse(text).map(Self::Count)
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Auto => "auto".to_owned(),
        }
    }

    fn literal(&self) -> Literal {
        match self {
            Self::Count(count) => Literal::Int(count.to_string()),
            Self::Auto => Literal::Str(self.show()),
        }
    }

    fn amount(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(u64::from(*count)),
            Self::Auto => None,
        }
    }
}

text_form!(Workers);
