//! What is read from a certificate beyond what rustls reads: its names and its validity (RFC 5280
//! section 4.1), out of DER (ITU-T X.690).

use std::net::IpAddr;

use rcorn_front_link::der::{
    GENERALIZED_TIME, OBJECT_IDENTIFIER, SEQUENCE, SET, UTC_TIME, VERSION, element,
};

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The DNS names and addresses that it is for; the common name, if it has no others.
    pub(super) names: Vec<String>,
    /// When it becomes valid, in seconds since 1970.
    pub(super) not_before: i64,
    /// When it expires, in seconds since 1970.
    pub(super) not_after: i64,
}

/// Tags that nobody else looks for (X.690 section 8.1.2), and those of this structure.
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// 2.5.29.17, subjectAltName
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3, commonName
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Reads elements one after the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, contents, rest) = element(self.0)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The contents of the next element, which has this tag.
    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, contents) = self.next()?;
        (found == tag).then_some(Der(contents))
    }
}

impl Certificate {
    /// Reads it; `None` if it is malformed.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let mut signed = Der(der).take(SEQUENCE)?.take(SEQUENCE)?;
        let mut ahead = signed;
        if ahead.take(VERSION).is_some() {
            signed = ahead;
        }
        // Serial number, algorithm, issuer.
        for _field in 0..3 {
            signed.next()?;
        }
        let mut validity = signed.take(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = signed.take(SEQUENCE)?;
        signed.next()?;
        let mut names = Vec::new();
        while let Some((tag, contents)) = signed.next() {
            if tag == EXTENSIONS {
                names = alternative_names(Der(contents).take(SEQUENCE)?)?;
            }
        }
        if names.is_empty() {
            names.extend(common_name(subject));
        }
        Some(Self {
            names,
            not_before,
            not_after,
        })
    }
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while let Some((SEQUENCE, contents)) = extensions.next() {
        let mut extension = Der(contents);
        if extension.take(OBJECT_IDENTIFIER)?.0 != SUBJECT_ALT_NAME {
            continue;
        }
        // Whether it is critical may come first.
        let mut value = loop {
            let (tag, contents) = extension.next()?;
            if tag == OCTET_STRING {
                break Der(contents).take(SEQUENCE)?;
            }
        };
        while let Some((tag, contents)) = value.next() {
            names.extend(match tag {
                DNS_NAME => std::str::from_utf8(contents)
                    .ok()
                    .map(str::to_ascii_lowercase),
                IP_ADDRESS => address(contents).map(|address| address.to_string()),
                _ => None,
            });
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn common_name(mut subject: Der<'_>) -> Option<String> {
    while let Some(mut attributes) = subject.take(SET) {
        while let Some(mut attribute) = attributes.take(SEQUENCE) {
            if attribute.take(OBJECT_IDENTIFIER)?.0 == COMMON_NAME {
                let (_string, text) = attribute.next()?;
                return String::from_utf8(text.to_ascii_lowercase()).ok();
            }
        }
    }
    None
}

/// A point in time: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(from: &mut Der<'_>) -> Option<i64> {
    let (tag, text) = from.next()?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = digits.split_at_checked(match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    })?;
    let number = |digits: &[u8]| rcorn_http::decimal(digits).and_then(|n| i64::try_from(n).ok());
    let year = match (tag, number(year)?) {
        (UTC_TIME, year @ 0..50) => year.checked_add(2000)?,
        (UTC_TIME, year) => year.checked_add(1900)?,
        (_, year) => year,
    };
    let (pairs, []) = rest.as_chunks::<2>() else {
        return None;
    };
    let &[month, day, hour, minute, second] = pairs else {
        return None;
    };
    let [month, day] = [number(&month)?, number(&day)?];
    let [hour, minute, second] = [number(&hour)?, number(&minute)?, number(&second)?];
    let days = days_since_1970(year, month, day)?;
    let hours = days.checked_mul(24)?.checked_add(hour)?;
    let minutes = hours.checked_mul(60)?.checked_add(minute)?;
    minutes.checked_mul(60)?.checked_add(second)
}

/// The number of days from 1970-01-01 to a date of the Gregorian calendar.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a year of four digits is far from what overflows"
)]
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    // Years that begin in March have their leap day at the end. 306 days are from March to
    // December, and 719_468 from 0000-03-01 to 1970-01-01.
    let (year, month) = if month > 2 {
        (year, month.checked_sub(3)?)
    } else {
        (year.checked_sub(1)?, month.checked_add(9)?)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let in_year = (153 * month + 2) / 5 + day - 1;
    Some(365 * year + leap_days + in_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str], common: Option<&str>) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2096, 2, 29);
        if let Some(common) = common {
            let name = &mut params.distinguished_name;
            name.push(rcgen::DnType::OrganizationName, "Example");
            name.push(rcgen::DnType::CommonName, common);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_validity_are_read() {
        let names = ["shop.example", "*.Shop.example", "192.0.2.1", "2001:db8::1"];
        let parsed = Certificate::parse(&made(&names, Some("other"))).unwrap();
        assert_eq!(
            parsed.names,
            ["shop.example", "*.shop.example", "192.0.2.1", "2001:db8::1"]
        );
        // `date -ud 1999-12-31 +%s`, `date -ud 2096-02-29 +%s`
        assert_eq!(parsed.not_before, 946_598_400);
        assert_eq!(parsed.not_after, 3_981_312_000);
    }

    #[test]
    fn the_common_name_counts_if_there_are_no_others() {
        let parsed = Certificate::parse(&made(&[], Some("Old.example"))).unwrap();
        assert_eq!(parsed.names, ["old.example"]);
    }

    #[test]
    fn no_prefix_of_a_certificate_is_one_and_none_panics() {
        let der = made(&["shop.example"], None);
        for length in 0..der.len() {
            let (part, _rest) = der.split_at(length);
            assert_eq!(Certificate::parse(part), None, "{length}");
        }
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x55;
            // Whatever it is, it is not read out of bounds.
            Certificate::parse(&changed);
        }
    }
}
