//! Text in JSON (RFC 8259 section 7). It is always valid UTF-8, on one line, and without control
//! characters, whatever bytes it is made of.

use std::io::Write as _;

use crate::escape::first_to_escape;

/// Appends bytes as a JSON string, with its quotes.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mark = out.len();
    out.extend_from_slice(bytes);
    escape_from(out, mark);
    out.push(b'"');
}

/// Escapes what stands in `out` from `mark` on, for a JSON string. Bytes that are not UTF-8 are
/// taken for Latin-1, in which old clients send fields. Does nothing, and allocates nothing, if
/// there is nothing to escape.
pub(crate) fn escape_from(out: &mut Vec<u8>, mark: usize) {
    let (_before, text) = out.split_at(mark);
    if let Some(first) = first_to_escape(text) {
        escape_all(out, mark.saturating_add(first));
    }
}

/// The same, from `first` on, where something must be escaped.
#[cold]
fn escape_all(out: &mut Vec<u8>, first: usize) {
    let rest = out.split_off(first);
    for chunk in rest.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(character, out);
        }
        for byte in chunk.invalid() {
            push(char::from(*byte), out);
        }
    }
}

fn push(character: char, out: &mut Vec<u8>) {
    match character {
        '"' | '\\' => {
            out.push(b'\\');
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        // Also what some readers take for a line end.
        '\0'..'\x20' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
            // Writing to a Vec cannot fail.
            write!(out, "\\u{:04x}", u32::from(character)).ok();
        }
        character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// A JSON object that is being written.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// What comes before the next name.
    separator: u8,
}

impl<'a> Object<'a> {
    /// Begins an object.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            separator: b'{',
        }
    }

    /// Adds a member, whose value `write` appends. The name is one of ours: it needs no escape.
    #[inline]
    pub(crate) fn member(
        &mut self,
        name: &'static str,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.separator = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(self.out);
        self
    }

    /// Adds a string.
    #[inline]
    pub(crate) fn text(&mut self, name: &'static str, text: &[u8]) -> &mut Self {
        self.member(name, |out| string(text, out))
    }

    /// Adds a whole number.
    #[inline]
    pub(crate) fn number(&mut self, name: &'static str, number: u64) -> &mut Self {
        self.member(name, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        })
    }

    /// Ends the object, and the line.
    pub(crate) fn end(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        string(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_stays_text_and_bytes_become_characters() {
        for (bytes, json) in [
            (&b"plain"[..], r#""plain""#),
            (b"", r#""""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (
                b"\r\n\t\0\x1b\x7f",
                r#""\u000d\u000a\u0009\u0000\u001b\u007f""#,
            ),
            (
                "M\u{fc}ller \u{4e2d}".as_bytes(),
                "\"M\u{fc}ller \u{4e2d}\"",
            ),
            (b"M\xfcller", "\"M\u{fc}ller\""),
            (b"\xe4\xb8", "\"\u{e4}\u{b8}\""),
            (b"\xe2\x80\xa8\xc2\x85\x85", r#""\u2028\u0085\u0085""#),
        ] {
            assert_eq!(escaped(bytes), json, "{}", bytes.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn every_byte_string_is_valid_json(bytes: Vec<u8>) {
            let json = escaped(&bytes);
            proptest::prop_assert!(!json.chars().any(char::is_control));
            let text: String = serde_json::from_str(&json).unwrap();
            if let Ok(same) = String::from_utf8(bytes) {
                proptest::prop_assert_eq!(text, same);
            }
        }
    }
}
