//! Escapes bytes from outside for a line of a log. A client that could write CR, LF or ESC into a
//! log could forge records, or control the terminal of its reader.

use std::fmt;

/// Bytes as they appear in the error log; made by [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

/// Escapes bytes from outside: printable ASCII stays as it is, a backslash is doubled (so that the
/// escaping can be reversed), and everything else becomes `\xNN`.
pub fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunk_by(|a, b| is_plain(*a) && is_plain(*b)) {
            match std::str::from_utf8(chunk) {
                Ok(text) if chunk.iter().all(|byte| is_plain(*byte)) => f.write_str(text)?,
                Ok(_) | Err(_) => {
                    for byte in chunk {
                        match byte {
                            b'\\' => f.write_str("\\\\")?,
                            byte => write!(f, "\\x{byte:02x}")?,
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

/// The escaping of [`quote_from`], as a type.
#[derive(Debug)]
pub(super) struct Quote;

/// Escapes what stands in `out` from `mark` on, for a value between double quotes in the access
/// log: as [`escaped`], and the double quote with a backslash. Does nothing, and allocates nothing,
/// when there is nothing to escape.
pub(super) fn quote_from(out: &mut Vec<u8>, mark: usize) {
    let (_before, text) = out.split_at(mark);
    let Some(first) = first_to_escape(text) else {
        return;
    };
    let tail = out.split_off(mark.saturating_add(first));
    for byte in tail {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            byte if is_plain(byte) => out.push(byte),
            byte => out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

/// The place of the first byte that a quoted value cannot have as it is: one that is not printable
/// ASCII, the double quote, or the backslash. Almost all text has none, so it is looked at in
/// pieces, without a branch for each byte.
pub(super) fn first_to_escape(text: &[u8]) -> Option<usize> {
    if are_all_plain(text) {
        return None;
    }
    text.iter()
        .position(|byte| !is_plain(*byte) || *byte == b'"')
}

/// Whether no byte must be escaped. The last piece overlaps the one before.
#[inline]
fn are_all_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk::<8>() {
        let (pieces, _rest) = text.as_chunks::<8>();
        let all = pieces.iter().fold(0, |found, piece| {
            found | to_escape(u64::from_le_bytes(*piece))
        });
        return all | to_escape(u64::from_le_bytes(*last)) == 0;
    }
    let piece = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            first << 32 | last
        }
        _ => text
            .iter()
            .fold(eight(b' '), |piece, byte| piece << 8 | u64::from(*byte)),
    };
    to_escape(piece) == 0
}

/// A word of eight times the same byte.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bits of the bytes that must be escaped, and perhaps of some after the first of them;
/// 0 if there are none.
#[inline]
const fn to_escape(word: u64) -> u64 {
    // Sets the highest bit of a byte that is less, if it was not set before.
    let control = word.wrapping_sub(eight(b' '));
    let quote = (word ^ eight(b'"')).wrapping_sub(eight(1));
    let backslash = (word ^ eight(b'\\')).wrapping_sub(eight(1));
    let delete = (word ^ eight(b'\x7f')).wrapping_sub(eight(1));
    (control | quote | backslash | delete | word) & eight(1 << 7)
}

/// A hexadecimal digit.
fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.wrapping_add(value),
        value => b'a'.wrapping_add(value.wrapping_sub(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_to_escape_is_found_wherever_it_is() {
        for byte in 0..=u8::MAX {
            let is_safe = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
            for length in 0..40 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    let found = first_to_escape(&text);
                    assert_eq!(found, (!is_safe).then_some(at), "{byte:#x} in {length}");
                    text[at..].fill(byte);
                    assert_eq!(first_to_escape(&text), found);
                }
            }
        }
        assert_eq!(first_to_escape(b""), None);
    }
}
