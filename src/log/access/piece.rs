//! A compiled format of the access log: literal bytes, and values with how to print them.

use super::atom::Atom;

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal bytes.
    Literal(Box<[u8]>),
    /// A value, printed with `%s`.
    Plain(Atom),
    /// A value with another conversion, a width, a precision or flags.
    Shaped(Atom, Shape),
}

/// How to print a value: the part of a conversion after `)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// `-`: padding is added after the value, not before it.
    pub(super) left: bool,
    /// `0`: a number is padded with zeroes.
    pub(super) zeroes: bool,
    /// `+` or a space: printed before a number.
    pub(super) sign: Option<u8>,
    /// The minimum number of characters.
    pub(super) width: usize,
    /// Text: the maximum number of characters. Whole numbers: the minimum number of digits.
    /// Fractions: the number of digits after the point.
    pub(super) precision: Option<usize>,
    /// The letter at the end.
    pub(super) kind: Conversion,
}

/// The letter of a conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Conversion {
    /// `s`
    #[default]
    Text,
    /// `d`, `i`, `u`
    Whole,
    /// `f`, `F`
    Fraction,
    /// `x`
    Hex,
    /// `X`
    UpperHex,
    /// `o`
    Octal,
}
