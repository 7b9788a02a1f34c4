//! The trait of the types of settings: reading a value from text and showing it as text. Types of
//! the standard library implement it here. For the types of this crate, the text is also their form
//! in JSON.
//!
//! Parsing depends on the text alone: no file, no user database, no clock.

use std::path::PathBuf;

use super::literal::Literal;
use super::refusal::{Bounds, Cause, Refused};
use super::table::{Completes, Shape};

/// A type whose values can be settings.
pub trait Value: Sized {
    /// A description of valid texts: `a whole number`.
    const NOUN: &'static str;
    /// The placeholder in usage texts.
    const VALUE_NAME: &'static str;
    /// All valid words, if they can be listed.
    const CHOICES: &'static [&'static str] = &[];
    /// The form of a value in a data file.
    const SHAPE: Shape = Shape::Text;
    /// How a shell completes a value.
    const COMPLETES: Completes = Completes::Nothing;

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// The text is not valid.
    fn parse(text: &str) -> Result<Self, Cause>;

    /// A text from which [`parse`](Self::parse) makes this value.
    fn show(&self) -> String;

    /// The value as Python has it.
    fn literal(&self) -> Literal {
        Literal::Str(self.show())
    }

    /// The number to compare with the bounds, rounded up; `None` if there is none.
    fn amount(&self) -> Option<u64> {
        None
    }

    /// Checks the items of one text together, for what a single item does not show.
    ///
    /// # Errors
    ///
    /// Why they do not fit together.
    fn check_together(_items: &[&str]) -> Result<(), Cause> {
        Ok(())
    }

    /// Reads all texts given for one setting, in order. Each must be valid; the last one counts.
    ///
    /// # Errors
    ///
    /// A text is not valid, or outside of the bounds.
    fn parse_all(
        texts: &[&str],
        bounds: Bounds,
        _separator: Option<char>,
    ) -> Result<(Self, Option<String>), Refused> {
        let mut last = None;
        for text in texts {
            last = Some(within(text, bounds)?);
        }
        last.map_or_else(|| within("", bounds), Ok)
    }
}

/// Reads one value and compares it with the bounds.
pub(super) fn within<T: Value>(text: &str, bounds: Bounds) -> Result<(T, Option<String>), Refused> {
    let value = T::parse(text).map_err(|cause| refused::<T>(text, cause, bounds))?;
    match value.amount() {
        Some(amount) if amount > bounds.most && bounds.lowers => {
            let most = bounds.most.to_string();
            let lowered = T::parse(&most).map_err(|cause| refused::<T>(&most, cause, bounds))?;
            Ok((
                lowered,
                Some(format!(
                    "'{text}' is more than the largest that is possible; {most} is used"
                )),
            ))
        }
        Some(amount) if amount < bounds.least || amount > bounds.most => {
            Err(refused::<T>(text, Cause::NotA, bounds))
        }
        Some(_) | None => Ok((value, None)),
    }
}

fn refused<T: Value>(text: &str, cause: Cause, bounds: Bounds) -> Refused {
    let (what, hint) = match cause {
        Cause::NotA => {
            let hint = (!T::CHOICES.is_empty())
                .then(|| format!("choose one of: {}", T::CHOICES.join(", ")));
            (format!("is not {}{}", T::NOUN, bounds.words()), hint)
        }
        Cause::Because { what, hint } => (what, hint),
    };
    Refused {
        value: text.to_owned(),
        what,
        hint,
    }
}

/// Whole numbers. Like Python's `int()`, they may have blanks around them and a plus sign.
macro_rules! whole_numbers {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const NOUN: &'static str = "a whole number";
            const VALUE_NAME: &'static str = "COUNT";
            const SHAPE: Shape = Shape::Count;

            fn parse(text: &str) -> Result<Self, Cause> {
                match text.trim().parse() {
                    Ok(number) => Ok(number),
                    Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Err(Cause::because(
                        "is too large",
                        format!("the largest that is possible is {}", Self::MAX),
                    )),
                    Err(_no_number) => Err(Cause::NotA),
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn literal(&self) -> Literal {
                Literal::Int(self.to_string())
            }

            fn amount(&self) -> Option<u64> {
                Some(u64::from(*self))
            }
        }
    )+};
}

whole_numbers!(u32, u64);

impl Value for bool {
    const NOUN: &'static str = "true or false";
    const VALUE_NAME: &'static str = "BOOLEAN";
    const SHAPE: Shape = Shape::Switch;
    const CHOICES: &'static [&'static str] = &["true", "false"];

    fn parse(text: &str) -> Result<Self, Cause> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Cause::NotA),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn literal(&self) -> Literal {
        Literal::Bool(*self)
    }
}

impl Value for String {
    const NOUN: &'static str = "a text";
    const VALUE_NAME: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Self, Cause> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const NOUN: &'static str = "a path";
    const VALUE_NAME: &'static str = "PATH";
    const COMPLETES: Completes = Completes::Path;

    fn parse(text: &str) -> Result<Self, Cause> {
        if text.contains('\0') {
            return Err(Cause::because(
                "has a zero byte in it",
                "no path of this system can have one",
            ));
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

/// `NAME=VALUE`; the value may contain equals signs.
impl Value for (String, String) {
    const NOUN: &'static str = "of the form NAME=VALUE";
    const VALUE_NAME: &'static str = "NAME=VALUE";
    const SHAPE: Shape = Shape::Pair;

    fn parse(text: &str) -> Result<Self, Cause> {
        let (name, value) = text.split_once('=').ok_or(Cause::NotA)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(Cause::because(
                "has no name before the equals sign",
                "write it as NAME=VALUE",
            ));
        }
        if text.contains('\0') {
            return Err(Cause::because("has a zero byte in it", "take it out"));
        }
        Ok((name.to_owned(), value.to_owned()))
    }

    fn show(&self) -> String {
        format!("{}={}", self.0, self.1)
    }
}

/// `None` is the empty text.
impl<T: Value> Value for Option<T> {
    const NOUN: &'static str = T::NOUN;
    const VALUE_NAME: &'static str = T::VALUE_NAME;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    const SHAPE: Shape = T::SHAPE;
    const COMPLETES: Completes = T::COMPLETES;

    fn parse(text: &str) -> Result<Self, Cause> {
        if text.trim().is_empty() {
            Ok(None)
        } else {
            T::parse(text).map(Some)
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, Value::show)
    }

    fn literal(&self) -> Literal {
        self.as_ref().map_or(Literal::None, Value::literal)
    }

    fn amount(&self) -> Option<u64> {
        self.as_ref().and_then(Value::amount)
    }
}

/// A list: the items of all texts, each text split at the separator.
impl<T: Value> Value for Vec<T> {
    const NOUN: &'static str = T::NOUN;
    const VALUE_NAME: &'static str = T::VALUE_NAME;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    const SHAPE: Shape = if matches!(T::SHAPE, Shape::Pair) {
        Shape::Pairs
    } else {
        Shape::List
    };
    const COMPLETES: Completes = T::COMPLETES;

    fn parse(text: &str) -> Result<Self, Cause> {
        if text.is_empty() {
            Ok(Self::new())
        } else {
            Ok(vec![T::parse(text)?])
        }
    }

    fn show(&self) -> String {
        self.iter().map(Value::show).collect::<Vec<_>>().join(",")
    }

    fn literal(&self) -> Literal {
        Literal::List(self.iter().map(Value::literal).collect())
    }

    fn parse_all(
        texts: &[&str],
        bounds: Bounds,
        separator: Option<char>,
    ) -> Result<(Self, Option<String>), Refused> {
        let mut list = Self::new();
        for text in texts {
            let parts: Vec<&str> = text.split(|sign| Some(sign) == separator).collect();
            T::check_together(&parts).map_err(|cause| refused::<T>(text, cause, bounds))?;
            for part in parts {
                // `a, b,` has two items; without a separator, an empty text is an error of the
                // item.
                let part = if separator.is_some() {
                    part.trim()
                } else {
                    part
                };
                if separator.is_none() || !part.is_empty() {
                    list.push(within(part, bounds)?.0);
                }
            }
        }
        Ok((list, None))
    }
}

/// Implements `Display` and the form in JSON by [`Value`].
macro_rules! text_form {
    ($($type:ty),+ $(,)?) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::value::Value::show(self))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$crate::value::Value::show(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
                $crate::value::within(&text, $crate::refusal::Bounds::NONE)
                    .map(|(value, _note)| value)
                    .map_err(serde::de::Error::custom)
            }
        }
    )+};
}

pub(super) use text_form;
