//! Base 64 (RFC 4648 section 4), with padding: certificates in a header field, and bytes in JSON.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The digit of the lowest six bits.
fn digit(bits: u32) -> char {
    let index = usize::try_from(bits & 63).unwrap_or(0);
    ALPHABET.get(index).copied().map_or('A', char::from)
}

/// The six bits of a digit.
fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit.wrapping_sub(b'A'),
        b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Appends the digits of these bytes.
pub(crate) fn encode_into(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|at| group.get(at).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, first, second, third]);
        out.push(digit(bits >> 18));
        out.push(digit(bits >> 12));
        out.push(if group.len() > 1 {
            digit(bits >> 6)
        } else {
            '='
        });
        out.push(if group.len() > 2 { digit(bits) } else { '=' });
    }
}

/// The bytes; `None` if this is not their only encoding.
pub(crate) fn decode(digits: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = digits.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len().saturating_mul(3));
    let last = groups.len().checked_sub(1);
    for (at, group) in groups.iter().enumerate() {
        let padding = match group {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0_usize,
        };
        if padding > 0 && Some(at) != last {
            return None;
        }
        let mut bits = 0_u32;
        for digit in group.iter().take(4_usize.saturating_sub(padding)) {
            bits = bits << 6 | value(*digit)?;
        }
        bits <<= u32::try_from(padding).ok()?.saturating_mul(6);
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (kept, dropped) = decoded.split_at_checked(3_usize.saturating_sub(padding))?;
        if dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

/// For `#[serde(with)]`: bytes as a string of base 64.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Serializer, decode, encode_into};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        encode_into(bytes, &mut text);
        to.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        decode(text.as_bytes()).ok_or_else(|| super::malformed::<D>())
    }
}

/// For `#[serde(with)]`: bytes that may be missing.
pub(crate) mod optional_bytes {
    use super::{Deserialize, Deserializer, Serializer, decode};

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::bytes::serialize(bytes, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| decode(text.as_bytes()).ok_or_else(|| super::malformed::<D>()))
            .transpose()
    }
}

fn malformed<'de, D: Deserializer<'de>>() -> D::Error {
    D::Error::custom("bytes are not in base 64")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode_into(bytes, &mut text);
        text
    }

    #[test]
    fn the_examples_of_rfc_4648_section_10() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), encoded);
            assert_eq!(decode(encoded.as_bytes()).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn what_is_no_encoding_or_a_second_one_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm9\n", "Zm9-",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
