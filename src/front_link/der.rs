//! Certificates as bytes: elements of tag, length and contents (X.690, DER), one after the other.

/// Tags (X.690 section 8.1.2).
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// A time whose year has two digits.
pub const UTC_TIME: u8 = 0x17;
/// A time whose year has four digits.
pub const GENERALIZED_TIME: u8 = 0x18;
/// Elements in order.
pub const SEQUENCE: u8 = 0x30;
/// Elements in any order.
pub const SET: u8 = 0x31;
/// The version, which certificates of version 1 lack (RFC 5280 section 4.1).
pub const VERSION: u8 = 0xa0;

/// The first element: its tag, its contents, and what follows.
#[must_use]
pub fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits.iter().try_fold(0_usize, |length, digit| {
            length.checked_mul(256)?.checked_add(usize::from(*digit))
        })?;
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}
