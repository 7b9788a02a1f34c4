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
    let is_safe = |byte: u8| is_plain(byte) && byte != b'"';
    let (_before, text) = out.split_at(mark);
    let Some(first) = first_not(text, is_safe) else {
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

/// The place of the first byte that is not plain. Almost all text is plain, so it is looked at in
/// pieces, without a branch for each byte.
pub(super) fn first_not(text: &[u8], is_plain: impl Fn(u8) -> bool) -> Option<usize> {
    if are_all(text, &is_plain) {
        return None;
    }
    text.iter().position(|byte| !is_plain(*byte))
}

/// Whether all bytes are plain. The last piece overlaps the one before.
fn are_all(text: &[u8], is_plain: impl Fn(u8) -> bool) -> bool {
    let of = |piece: &[u8]| piece.iter().fold(true, |all, byte| all & is_plain(*byte));
    if let Some(last) = text.last_chunk::<16>() {
        let (pieces, _rest) = text.as_chunks::<16>();
        return pieces.iter().all(|piece| of(piece)) && of(last);
    }
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) => of(first) & of(last),
        _ => of(text),
    }
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
    fn the_first_byte_that_is_not_plain_is_found_wherever_it_is() {
        for length in 0..40 {
            let text = vec![b'a'; length];
            assert_eq!(first_not(&text, is_plain), None, "{length}");
            for at in 0..length {
                let mut text = text.clone();
                text[at..].fill(b'\n');
                assert_eq!(first_not(&text, is_plain), Some(at), "{length}");
            }
        }
    }
}
