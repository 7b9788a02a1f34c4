//! Makes bytes from outside safe to print on one line of a log. A peer that can put CR, LF or ESC
//! in a log forges records or drives the terminal of whoever reads it.

use std::fmt;

/// Bytes as they may appear in the error log; made by [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

/// Shows bytes from outside: printable ASCII as it is, a backslash doubled (so that the original
/// can be told again), everything else as `\xNN`.
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
        0..=9 => b'0'.saturating_add(value),
        value => b'a'.saturating_add(value.saturating_sub(10)),
    }
}
