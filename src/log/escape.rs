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
    let is_safe = |byte: &u8| is_plain(*byte) && *byte != b'"';
    let Some(first) = out
        .get(mark..)
        .and_then(|tail| tail.iter().position(|b| !is_safe(b)))
    else {
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

/// A hexadecimal digit.
fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.wrapping_add(value),
        value => b'a'.wrapping_add(value.wrapping_sub(10)),
    }
}
