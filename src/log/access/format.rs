//! Compiles the format of the access log: Python's `%(name)s` formatting with the atoms of `atom`.
//! That happens once, when settings are read, so a mistake is reported there and not for each
//! request.

use std::iter::Peekable;
use std::str::CharIndices;

use thiserror::Error;

use super::Record;
use super::atom::{Atom, Measure};
use super::piece::{Conversion, Piece, Shape};
use super::render::line;

/// Maximum width and precision, so that a typing error does not write megabytes for each line.
const MAX_WIDTH_CHARS: usize = 4096;

/// A compiled access-log format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFormat {
    pub(super) pieces: Vec<Piece>,
}

/// An error in the format of the access log. Positions are numbers of characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// A percent sign without a name, such as Apache's `%h`.
    #[error(
        "access log format, character {position}: '%' must be followed by '(' or '%', not {found}"
    )]
    NoName {
        /// The position of the percent sign.
        position: usize,
        /// The character after it.
        found: FoundChar,
    },
    /// A name without its closing parenthesis.
    #[error("access log format, character {position}: the name after '%(' has no ')'")]
    Unclosed {
        /// The position of the percent sign.
        position: usize,
    },
    /// A name that no conversion letter follows.
    #[error(
        "access log format, character {position}: '%({name})' is followed by {found}, which is not a conversion"
    )]
    NoConversion {
        /// The position of the wrong character.
        position: usize,
        /// The name before it.
        name: String,
        /// The wrong character.
        found: FoundChar,
    },
    /// A width or precision that is too large.
    #[error(
        "access log format, character {position}: '%({name})' is wider than {MAX_WIDTH_CHARS} characters"
    )]
    TooWide {
        /// The position of the number.
        position: usize,
        /// The name before it.
        name: String,
    },
}

/// A character of the format, or the end of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChar(pub Option<char>);

impl std::fmt::Display for FoundChar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(character) => write!(f, "{character:?}"),
            None => f.write_str("the end"),
        }
    }
}

impl FormatError {
    /// What the operator can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoName {
                found: FoundChar(Some(letter)),
                ..
            } if letter.is_ascii_alphabetic() => {
                format!("write '%({letter})s' for the value, or '%%' for a percent sign")
            }
            Self::NoName { .. } => "write '%%' for a percent sign".to_owned(),
            Self::Unclosed { .. } => "write it as '%(h)s' or '%({header-name}i)s'".to_owned(),
            Self::NoConversion { name, .. } => {
                format!(
                    "write '%({name})s' for text, '%({name})d' for a whole number, '%({name})f' for a fraction"
                )
            }
            Self::TooWide { name, .. } => format!("write '%({name})s'"),
        })
    }
}

impl AccessFormat {
    /// Compiles a format.
    ///
    /// # Errors
    ///
    /// The format is malformed.
    pub fn compile(text: &str) -> Result<Self, FormatError> {
        let mut reader = FormatParser {
            text,
            rest: text.char_indices().peekable(),
        };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some((index, character)) = reader.rest.next() {
            if character != '%' {
                literal.push(character);
                continue;
            }
            match reader.rest.next() {
                Some((_, '%')) => literal.push('%'),
                Some((_, '(')) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(
                            std::mem::take(&mut literal).into_bytes().into(),
                        ));
                    }
                    pieces.push(reader.value(index)?);
                }
                other => {
                    let found = FoundChar(other.map(|(_, character)| character));
                    return Err(FormatError::NoName {
                        position: reader.position(index),
                        found,
                    });
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into_bytes().into()));
        }
        Ok(Self { pieces })
    }

    /// Appends the line of this request, without a line end.
    pub fn render(&self, record: &impl Record, out: &mut Vec<u8>) {
        line(&self.pieces, record, out);
    }
}

/// The part of a format that is not compiled yet.
struct FormatParser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl FormatParser<'_> {
    /// The number of the character at this byte, from 1.
    fn position(&self, index: usize) -> usize {
        let (before, _rest) = self.text.split_at(index);
        before.chars().count().saturating_add(1)
    }

    /// Reads a conversion, after its `%(`. `percent` is the byte of the percent sign.
    fn value(&mut self, percent: usize) -> Result<Piece, FormatError> {
        let name = self.name().ok_or_else(|| FormatError::Unclosed {
            position: self.position(percent),
        })?;
        let atom = Atom::named(&name);
        let shape = self.shape(&name)?;
        let plain = Shape {
            kind: shape.kind,
            ..Shape::default()
        };
        let is_plain = match shape.kind {
            Conversion::Text => true,
            Conversion::Whole => atom != Atom::Measure(Measure::DecimalSeconds),
            Conversion::Fraction | Conversion::Hex | Conversion::UpperHex | Conversion::Octal => {
                false
            }
        };
        Ok(if shape == plain && is_plain {
            Piece::Plain(atom)
        } else {
            Piece::Shaped(atom, shape)
        })
    }

    /// Reads a name up to its closing parenthesis. As in Python, parentheses inside are counted.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut open: usize = 0;
        loop {
            let (_, character) = self.rest.next()?;
            match character {
                '(' => open = open.checked_add(1)?,
                ')' => match open.checked_sub(1) {
                    Some(left) => open = left,
                    None => return Some(name),
                },
                _ => {}
            }
            name.push(character);
        }
    }

    /// Reads the rest of a conversion, after the name.
    fn shape(&mut self, name: &str) -> Result<Shape, FormatError> {
        let mut shape = Shape::default();
        while let Some((_, flag)) = self
            .rest
            .next_if(|(_, c)| matches!(c, '-' | '0' | '+' | ' ' | '#'))
        {
            match flag {
                '-' => shape.left = true,
                '0' => shape.zeroes = true,
                '+' => shape.sign = Some(b'+'),
                ' ' => shape.sign = shape.sign.or(Some(b' ')),
                _ => {}
            }
        }
        shape.width = self.number(name)?.unwrap_or(0);
        if self.rest.next_if(|(_, c)| *c == '.').is_some() {
            // Without digits, the precision is 0, as in C.
            shape.precision = Some(self.number(name)?.unwrap_or(0));
        }
        // The length letters of C have no meaning, as in Python.
        while self
            .rest
            .next_if(|(_, c)| matches!(c, 'h' | 'l' | 'L'))
            .is_some()
        {}
        let end = self.text.len();
        let (index, letter) = self
            .rest
            .next()
            .map_or((end, None), |(index, c)| (index, Some(c)));
        shape.kind = match letter {
            Some('s') => Conversion::Text,
            Some('d' | 'i' | 'u') => Conversion::Whole,
            Some('f' | 'F') => Conversion::Fraction,
            Some('x') => Conversion::Hex,
            Some('X') => Conversion::UpperHex,
            Some('o') => Conversion::Octal,
            other => {
                return Err(FormatError::NoConversion {
                    position: self.position(index),
                    name: name.to_owned(),
                    found: FoundChar(other),
                });
            }
        };
        Ok(shape)
    }

    /// Reads a decimal number, if there is one.
    fn number(&mut self, name: &str) -> Result<Option<usize>, FormatError> {
        let mut number: Option<usize> = None;
        let start = self
            .rest
            .peek()
            .map_or(self.text.len(), |(index, _)| *index);
        while let Some((_, digit)) = self.rest.next_if(|(_, c)| c.is_ascii_digit()) {
            let digit = digit
                .to_digit(10)
                .and_then(|d| usize::try_from(d).ok())
                .unwrap_or(0);
            let grown = number.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            if grown > MAX_WIDTH_CHARS {
                let position = self.position(start);
                return Err(FormatError::TooWide {
                    position,
                    name: name.to_owned(),
                });
            }
            number = Some(grown);
        }
        Ok(number)
    }
}
