//! Classes of bytes, as tables.

use super::Refusal;

/// Which bytes belong to a class.
pub(super) type Class = [bool; 256];

const fn class(extra: &[u8], first: u8, last: u8) -> Class {
    let mut table = [false; 256];
    let mut byte = first;
    loop {
        #[expect(
            clippy::indexing_slicing,
            clippy::as_conversions,
            reason = "a u8 is an index of 256 places; checked at compile time"
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

/// `tchar` (RFC 9110 section 5.6.2): names of fields, methods.
pub(super) static TOKEN: Class = {
    let letters = class(b"!#$%&'*+-.^_`|~0123456789", b'a', b'z');
    let capitals = class(b"", b'A', b'Z');
    union(&letters, &capitals)
};

/// Bytes of a field's value: visible ASCII, SP, HTAB and obs-text (RFC 9110 section 5.5).
pub(super) static VALUE: Class = union(&class(b"\t", b' ', b'~'), &class(b"", 0x80, 0xFF));

/// Bytes of a request target: visible ASCII without `#` (RFC 9112 section 3.2: a fragment is never
/// sent).
pub(super) static TARGET: Class = {
    let mut table = class(b"", b'!', b'~');
    table[35] = false;
    table
};

/// Bytes of a Host (RFC 3986 section 3.2.2): names, addresses, a port.
pub(super) static HOST: Class = {
    let letters = class(b"-._~!$&'()*+,;=:[]%0123456789", b'a', b'z');
    union(&letters, &class(b"", b'A', b'Z'))
};

/// What gunicorn takes for a method.
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

/// Whether all bytes are of the class.
pub(super) fn all(bytes: &[u8], class: &Class) -> bool {
    bytes
        .iter()
        .all(|byte| class.get(usize::from(*byte)).copied().unwrap_or(false))
}

/// The refusal of a line that is refused anyhow: a CR in it is what is wrong first, as it is while
/// its end has not come.
pub(super) fn unless_cr(line: &[u8], refusal: Refusal) -> Refusal {
    if line.contains(&b'\r') {
        Refusal::LineEnd
    } else {
        refusal
    }
}

/// The refusal of a line that is longer than its limit: for what is wrong first, so that it does
/// not matter how much of it came at once.
pub(super) fn over_limit(line: &[u8], limit: usize, too_long: Refusal) -> Refusal {
    // A CR is wrong when the byte after it has come.
    let seen = if line.get(limit) == Some(&b'\r') {
        limit
    } else {
        limit.saturating_sub(1)
    };
    unless_cr(line.get(..seen).unwrap_or(line), too_long)
}

/// Without optional whitespace at its ends: SP and HTAB, nothing else (RFC 9110 section 5.6.3).
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = bytes
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last.saturating_add(1));
    bytes.get(start..end).unwrap_or(&[])
}

/// A decimal number of plain digits; `None` for anything else, and for what does not fit.
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

/// Whether a field would get this name in the environ, whichever way its words are joined and
/// spelled: `Content_Length` and `content-length` are both `CONTENT_LENGTH` (RFC 3875, section
/// 4.1.18).
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
