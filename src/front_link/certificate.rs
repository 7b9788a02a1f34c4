//! What `mod_ssl` tells of a client's certificate, read from its DER (X.690; RFC 5280 section 4.1).
//! The front has verified it, so nothing here decides anything.

use std::fmt::Write as _;

use crate::der::{GENERALIZED_TIME, OBJECT_IDENTIFIER, SEQUENCE, SET, UTC_TIME, VERSION, element};

/// The parts of a certificate that have variables.
#[derive(Debug)]
pub struct ClientCertificate<'a> {
    serial: &'a [u8],
    issuer: Vec<(&'static str, String)>,
    subject: Vec<(&'static str, String)>,
    valid_from: String,
    valid_to: String,
}

/// Tags that nobody else looks for (X.690 section 8.1.2).
const INTEGER: u8 = 0x02;
const BMP_STRING: u8 = 0x1e;

/// Kinds of names: their object identifiers, and what OpenSSL calls them.
const KINDS: [(&[u8], &str); 10] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 5], "serialNumber"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        "emailAddress",
    ),
];

/// The variables of single names.
const VARIABLES: [(&str, &str, &str); 7] = [
    ("CN", "SSL_CLIENT_S_DN_CN", "SSL_CLIENT_I_DN_CN"),
    ("C", "SSL_CLIENT_S_DN_C", "SSL_CLIENT_I_DN_C"),
    ("L", "SSL_CLIENT_S_DN_L", "SSL_CLIENT_I_DN_L"),
    ("ST", "SSL_CLIENT_S_DN_ST", "SSL_CLIENT_I_DN_ST"),
    ("O", "SSL_CLIENT_S_DN_O", "SSL_CLIENT_I_DN_O"),
    ("OU", "SSL_CLIENT_S_DN_OU", "SSL_CLIENT_I_DN_OU"),
    (
        "emailAddress",
        "SSL_CLIENT_S_DN_Email",
        "SSL_CLIENT_I_DN_Email",
    ),
];

impl<'a> ClientCertificate<'a> {
    /// Reads it; `None` if it is malformed.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (outer, _) = expect(der, SEQUENCE)?;
        let (mut rest, _) = expect(outer, SEQUENCE)?;
        if let Some((VERSION, _, after)) = element(rest) {
            rest = after;
        }
        let (serial, rest) = expect(rest, INTEGER)?;
        let (_algorithm, rest) = expect(rest, SEQUENCE)?;
        let (issuer, rest) = expect(rest, SEQUENCE)?;
        let (validity, rest) = expect(rest, SEQUENCE)?;
        let (subject, _) = expect(rest, SEQUENCE)?;
        let (from, after) = time(validity)?;
        let (to, _) = time(after)?;
        Some(Self {
            serial,
            issuer: names(issuer)?,
            subject: names(subject)?,
            valid_from: from,
            valid_to: to,
        })
    }

    /// The variables, with their names in `mod_ssl`.
    #[must_use]
    pub fn variables(self) -> Vec<(&'static str, String)> {
        let mut list = vec![
            ("SSL_CLIENT_M_SERIAL", hexadecimal(self.serial)),
            ("SSL_CLIENT_S_DN", whole(&self.subject)),
            ("SSL_CLIENT_I_DN", whole(&self.issuer)),
            ("SSL_CLIENT_V_START", self.valid_from),
            ("SSL_CLIENT_V_END", self.valid_to),
        ];
        for (kind, of_subject, of_issuer) in VARIABLES {
            for (names, variable) in [(&self.subject, of_subject), (&self.issuer, of_issuer)] {
                let found = names.iter().find(|(its, _)| *its == kind);
                list.extend(found.map(|(_, value)| (variable, value.clone())));
            }
        }
        list
    }
}

/// The contents of the first element, which has this tag, and what follows.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element(der)?;
    (found == tag).then_some((contents, rest))
}

/// The names in a distinguished name whose kinds are known, in order.
fn names(mut der: &[u8]) -> Option<Vec<(&'static str, String)>> {
    let mut names = Vec::new();
    while !der.is_empty() {
        let (mut set, rest) = expect(der, SET)?;
        der = rest;
        while !set.is_empty() {
            let (pair, others) = expect(set, SEQUENCE)?;
            set = others;
            let (kind, value) = expect(pair, OBJECT_IDENTIFIER)?;
            let (tag, value, _) = element(value)?;
            let kind = KINDS.iter().find(|(identifier, _)| *identifier == kind);
            names.extend(kind.map(|(_, kind)| (*kind, text(tag, value))));
        }
    }
    Some(names)
}

/// A string as text. A control character would end a line of a log.
fn text(tag: u8, value: &[u8]) -> String {
    let text = if tag == BMP_STRING {
        let (units, _odd) = value.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    text.chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}

/// A distinguished name as RFC 4514 writes it: the last name first.
fn whole(names: &[(&'static str, String)]) -> String {
    let names = names.iter().rev();
    let names: Vec<String> = names
        .map(|(kind, value)| format!("{kind}={}", escaped(value)))
        .collect();
    names.join(",")
}

/// A name as it stands in a distinguished name (RFC 4514 section 2.4).
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::new();
    for (at, sign) in value.chars().enumerate() {
        let is_special = matches!(sign, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || at == 0 && matches!(sign, ' ' | '#')
            || at == last && sign == ' ';
        if is_special {
            out.push('\\');
        }
        out.push(sign);
    }
    out
}

/// A serial number, as `mod_ssl` writes it.
fn hexadecimal(number: &[u8]) -> String {
    let digits = number.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a text never fails.
        write!(digits, "{byte:02X}").ok();
        digits
    });
    let short = digits.trim_start_matches("00");
    if short.is_empty() { "00" } else { short }.to_owned()
}

/// A point in time, as OpenSSL writes it: `Nov 29 12:00:00 2026 GMT`. And what follows.
fn time(der: &[u8]) -> Option<(String, &[u8])> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (tag, digits, rest) = element(der)?;
    let digits = str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (year, digits) = match tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            // RFC 5280 section 4.1.2.5.1
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), digits)
        }
        GENERALIZED_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (year.to_owned(), digits)
        }
        _ => return None,
    };
    let part = |at: usize| digits.get(at..at.checked_add(2)?);
    let month = part(0)?.parse::<usize>().ok()?.checked_sub(1)?;
    let month = MONTHS.get(month)?;
    let day = part(2)?.parse::<u8>().ok()?;
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    let shown = format!("{month} {day:2} {hour}:{minute}:{second} {year} GMT");
    Some((shown, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by OpenSSL, and signed by itself.
    const SAMPLE: &[u8] = include_bytes!("samples/client.der");

    #[test]
    fn the_variables_are_what_openssl_shows() {
        let variables = ClientCertificate::read(SAMPLE).unwrap().variables();
        let name = "emailAddress=j@shop.example,CN=J\u{fc}rgen,OU=Web,O=Shop\\, Inc.,C=DE";
        for (variable, value) in [
            ("SSL_CLIENT_M_SERIAL", "A1B2"),
            ("SSL_CLIENT_S_DN", name),
            ("SSL_CLIENT_I_DN", name),
            ("SSL_CLIENT_V_START", "Jan  2 03:04:05 2026 GMT"),
            ("SSL_CLIENT_V_END", "Jan  2 03:04:05 2060 GMT"),
            ("SSL_CLIENT_S_DN_CN", "J\u{fc}rgen"),
            ("SSL_CLIENT_S_DN_O", "Shop, Inc."),
            ("SSL_CLIENT_I_DN_Email", "j@shop.example"),
        ] {
            let found = variables.iter().find(|(its, _)| *its == variable);
            let found = found.map(|(_, value)| value.as_str());
            assert_eq!(found, Some(value), "{variable}");
        }
        assert!(
            variables
                .iter()
                .all(|(name, _)| *name != "SSL_CLIENT_S_DN_L")
        );
    }

    #[test]
    fn a_cut_certificate_is_none() {
        for end in 0..200 {
            assert!(ClientCertificate::read(&SAMPLE[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn years_of_two_digits_have_a_century() {
        for (digits, year) in [("490102030405Z", 2049), ("500102030405Z", 1950)] {
            let der = [&[UTC_TIME, 13], digits.as_bytes()].concat();
            let (shown, _) = time(&der).unwrap();
            assert_eq!(shown, format!("Jan  2 03:04:05 {year} GMT"));
        }
    }

    #[test]
    fn a_name_cannot_end_itself() {
        assert_eq!(escaped("a, CN=b"), "a\\, CN=b");
        assert_eq!(escaped(" #x "), "\\ #x\\ ");
        assert_eq!(text(0x0c, b"a\nb"), "a b");
        assert_eq!(text(BMP_STRING, &[0, 0x4a, 0, 0xfc]), "J\u{fc}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(at: proptest::sample::Index, byte: u8, bytes: Vec<u8>) {
            ClientCertificate::read(&bytes).map(ClientCertificate::variables);
            let mut changed = SAMPLE.to_vec();
            let at = at.index(changed.len());
            changed[at] = byte;
            ClientCertificate::read(&changed).map(ClientCertificate::variables);
        }
    }
}
