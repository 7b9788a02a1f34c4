//! Classes of bytes as tables, whitespace, and numbers.

use super::{Refusal, Span};

/// The length of a line end, CR LF.
pub(super) const CRLF: usize = 2;

/// The bytes that belong to a class.
pub(super) type Class = [bool; 256];

/// The bytes from `first` to `last`, and those of `extra`.
const fn class(extra: &[u8], first: u8, last: u8) -> Class {
    let mut table = [false; 256];
    let mut byte = first;
    loop {
        #[expect(
            clippy::indexing_slicing,
            clippy::as_conversions,
            reason = "a u8 is an index into 256 bytes; checked at compile time"
        )]
        {
            table[byte as usize] = true;
        }
        if byte == last {
            break;
        }
        byte = byte.wrapping_add(1);
    }
    let mut at = 0;
    while at < extra.len() {
        #[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "as above")]
        {
            table[extra[at] as usize] = true;
        }
        at = at.wrapping_add(1);
    }
    table
}

/// `tchar` (RFC 9110 section 5.6.2): the bytes of field names and methods.
pub(super) static TOKEN: Class = {
    let letters = class(b"!#$%&'*+-.^_`|~0123456789", b'a', b'z');
    let capitals = class(b"", b'A', b'Z');
    union(&letters, &capitals)
};

/// The bytes of a field value: visible ASCII, SP, HTAB and obs-text (RFC 9110 section 5.5).
pub(super) static VALUE: Class = union(&class(b"\t", b' ', b'~'), &class(b"", 0x80, 0xFF));

/// The bytes of a request target: visible ASCII without `#`, because a fragment is never sent (RFC
/// 9112 section 3.2).
pub(super) static TARGET: Class = {
    let mut table = class(b"", b'!', b'~');
    table[35] = false;
    table
};

/// The bytes of a host name or address with a port (RFC 3986 section 3.2.2).
pub(super) static HOST: Class = {
    let letters = class(b"-._~!$&'()*+,;=:[]%0123456789", b'a', b'z');
    union(&letters, &class(b"", b'A', b'Z'))
};

/// The bytes of a method, as in gunicorn.
pub(super) static METHOD: Class = class(b"$-_.0123456789", b'A', b'Z');

const fn union(one: &Class, other: &Class) -> Class {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::indexing_slicing, reason = "at < 256")]
        {
            table[at] = one[at] || other[at];
        }
        at = at.wrapping_add(1);
    }
    table
}

/// Whether all bytes belong to the class.
pub(super) fn all(bytes: &[u8], class: &Class) -> bool {
    bytes.iter().all(|byte| is_in(*byte, class))
}

/// Whether the byte belongs to the class.
pub(super) fn is_in(byte: u8, class: &Class) -> bool {
    // There are as many places as values of a byte, so the compiler removes the check.
    class.get(usize::from(byte)).copied().unwrap_or(false)
}

/// The reason to refuse a line that must be refused. A CR inside comes first, because it is also
/// the reason before the end of the line has arrived.
pub(super) fn unless_cr(line: &[u8], refusal: Refusal) -> Refusal {
    if line.contains(&b'\r') {
        Refusal::LineEnd
    } else {
        refusal
    }
}

/// The reason to refuse a line longer than `limit`: the first fault in it, so that the reason does
/// not depend on how the bytes were split.
pub(super) fn over_limit(line: &[u8], limit: usize, too_long: Refusal) -> Refusal {
    // A CR is a fault as soon as the byte after it has arrived.
    let seen = if line.get(limit) == Some(&b'\r') {
        limit
    } else {
        limit.saturating_sub(1)
    };
    let (seen, _behind) = line.split_at(seen);
    unless_cr(seen, too_long)
}

/// The bytes without optional whitespace, SP and HTAB, around them (RFC 9110 section 5.6.3).
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = bytes
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    Span::new(start, end).of(bytes)
}

/// The value of a hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The value of decimal digits; `None` if there is anything else, or if it does not fit.
#[must_use]
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Whether a field has this name in the environ: `Content_Length` and `content-length` are both
/// `CONTENT_LENGTH` (RFC 3875 section 4.1.18).
pub(super) fn same_cgi_name(name: &[u8], cgi_name: &[u8]) -> bool {
    let as_cgi = |byte: &u8| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_uppercase(),
    };
    name.len() == cgi_name.len() && name.iter().map(as_cgi).eq(cgi_name.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_environ_has_many_spellings() {
        for name in ["Content-Length", "content_length", "CONTENT-LENGTH"] {
            assert!(same_cgi_name(name.as_bytes(), b"CONTENT_LENGTH"), "{name}");
        }
        for name in ["Content-Lengt", "Content.Length", "Content-Length2", ""] {
            assert!(!same_cgi_name(name.as_bytes(), b"CONTENT_LENGTH"), "{name}");
        }
    }
}
