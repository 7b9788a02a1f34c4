//! Python literals, and their form in Python.

use std::fmt::{self, Write as _};

/// A Python literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// A whole number of any size, as Python's `int(text, 0)` reads it.
    Int(String),
    /// A number with a point or an exponent.
    Float(f64),
    /// A text.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// `[1, 2]`
    List(Vec<Literal>),
    /// `(1,)`
    Tuple(Vec<Literal>),
    /// `{'a': 1}`
    Dict(Vec<(Literal, Literal)>),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(digits) => f.write_str(digits),
            // Python has no literal for infinity, but reads a number that is too large as such.
            Self::Float(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "1e999" } else { "-1e999" })
            }
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Str(text) => {
                f.write_char('\'')?;
                text.chars().try_for_each(|sign| match sign {
                    '\'' | '\\' => write!(f, "\\{sign}"),
                    '\n' => f.write_str("\\n"),
                    sign if sign.is_control() => write!(f, "\\U{:08x}", u32::from(sign)),
                    sign => f.write_char(sign),
                })?;
                f.write_char('\'')
            }
            Self::Bytes(bytes) => write!(f, "b'{}'", bytes.escape_ascii()),
            Self::List(items) => listed(f, "[", items, "]"),
            Self::Tuple(items) => listed(f, "(", items, if items.len() == 1 { ",)" } else { ")" }),
            Self::Dict(items) => {
                f.write_char('{')?;
                for (number, (key, value)) in items.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, open: &str, items: &[Literal], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (number, item) in items.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    f.write_str(close)
}
