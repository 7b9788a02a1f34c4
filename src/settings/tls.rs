//! The types of the settings of TLS.

use super::literal::Literal;
use super::refusal::Cause;
use super::value::{Value, text_form};

/// Whether clients show certificates. The numbers are those of Python's `ssl.VerifyMode`, as in
/// gunicorn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientCertificates {
    /// They are not asked for one.
    None,
    /// They may have one, and the app sees whether.
    Optional,
    /// No handshake succeeds without one.
    Required,
}

impl ClientCertificates {
    const NAMES: [(&'static str, &'static str, Self); 3] = [
        ("none", "0", Self::None),
        ("optional", "1", Self::Optional),
        ("required", "2", Self::Required),
    ];
}

impl Value for ClientCertificates {
    const NOUN: &'static str = "none, optional or required";
    const VALUE_NAME: &'static str = "WHEN";
    const CHOICES: &'static [&'static str] = &["none", "optional", "required"];

    fn parse(text: &str) -> Result<Self, Cause> {
        let word = text.trim().to_ascii_lowercase();
        let word = word.strip_prefix("cert_").unwrap_or(&word);
        let mut all = Self::NAMES.into_iter();
        let found = all.find(|(name, number, _)| word == *name || word == *number);
        found.map(|(_, _, one)| one).ok_or(Cause::NotA)
    }

    fn show(&self) -> String {
        let mut all = Self::NAMES.into_iter();
        let found = all.find(|(_, _, one)| one == self);
        found.map_or_else(String::new, |(name, _, _)| name.to_owned())
    }

    fn literal(&self) -> Literal {
        let mut all = Self::NAMES.into_iter();
        let found = all.find(|(_, _, one)| one == self);
        Literal::Int(found.map_or_else(String::new, |(_, number, _)| number.to_owned()))
    }
}

/// The versions of TLS. Words and numbers are those of Python's `ssl.PROTOCOL_…`, as in gunicorn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    All,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl Value for TlsVersions {
    const NOUN: &'static str = "TLS (1.2 and 1.3), TLSv1_2 or TLSv1_3";
    const VALUE_NAME: &'static str = "VERSION";
    const CHOICES: &'static [&'static str] = &["TLS", "TLSv1_2", "TLSv1_3"];

    fn parse(text: &str) -> Result<Self, Cause> {
        let word = text.trim().to_ascii_lowercase().replace('.', "_");
        match word.strip_prefix("protocol_").unwrap_or(&word) {
            "tls" | "tls_server" | "sslv23" | "2" | "17" => Ok(Self::All),
            "tlsv1_2" | "5" => Ok(Self::Tls12),
            "tlsv1_3" => Ok(Self::Tls13),
            "sslv2" | "sslv3" | "tlsv1" | "tlsv1_1" | "0" | "1" | "3" | "4" => Err(Cause::because(
                "is a version that is not safe any more (RFC 8996)",
                "rcorn speaks TLS 1.2 and 1.3: leave it out",
            )),
            _ => Err(Cause::NotA),
        }
    }

    fn show(&self) -> String {
        let word = match self {
            Self::All => "TLS",
            Self::Tls12 => "TLSv1_2",
            Self::Tls13 => "TLSv1_3",
        };
        word.to_owned()
    }

    fn literal(&self) -> Literal {
        match self {
            // `ssl.PROTOCOL_TLS` and `ssl.PROTOCOL_TLSv1_2`; Python has no number for the last.
            Self::All => Literal::Int("2".to_owned()),
            Self::Tls12 => Literal::Int("5".to_owned()),
            Self::Tls13 => Literal::Str(self.show()),
        }
    }
}

/// Cipher suites, by the names of rustls, in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphers(Vec<&'static str>);

/// Those of TLS 1.3: the name of rustls, and that of the standard (RFC 8446 appendix B.4), which
/// OpenSSL has, too.
const TLS13_SUITES: [(&str, &str); 3] = [
    ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    (
        "TLS13_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
];

/// Those of TLS 1.2: the name of rustls, which is that of the standard, and OpenSSL's.
const TLS12_SUITES: [(&str, &str); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

impl Ciphers {
    /// Their names. As with OpenSSL, a list without a suite of TLS 1.3 leaves those as they are.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let is_of_tls13 = |name: &&str| TLS13_SUITES.iter().any(|(rustls, _)| rustls == name);
        let mut names = self.0.clone();
        if !names.iter().any(is_of_tls13) {
            names.extend(TLS13_SUITES.iter().map(|(rustls, _)| *rustls));
        }
        names
    }
}

/// The name of rustls for one of rustls, the standard or OpenSSL.
fn suite(name: &str) -> Option<&'static str> {
    let all = TLS13_SUITES.iter().chain(&TLS12_SUITES);
    let is_it = |(rustls, other): &&(&str, &str)| {
        rustls.eq_ignore_ascii_case(name) || other.eq_ignore_ascii_case(name)
    };
    all.into_iter().find(is_it).map(|(rustls, _)| *rustls)
}

impl Value for Ciphers {
    const NOUN: &'static str = "a list of cipher suites";
    const VALUE_NAME: &'static str = "SUITES";

    fn parse(text: &str) -> Result<Self, Cause> {
        let names = text.split([':', ',', ' ']).filter(|name| !name.is_empty());
        let mut suites = Vec::new();
        for name in names {
            let Some(suite) = suite(name) else {
                let all = TLS13_SUITES.iter().chain(&TLS12_SUITES);
                let all: Vec<&str> = all.map(|(_, other)| *other).collect();
                return Err(Cause::because(
                    format!("has a cipher suite that rcorn does not have: {name}"),
                    format!(
                        "there are these, in the names of OpenSSL or the standard: {}",
                        all.join(":")
                    ),
                ));
            };
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        if suites.is_empty() {
            return Err(Cause::NotA);
        }
        Ok(Self(suites))
    }

    fn show(&self) -> String {
        self.0.join(":")
    }
}

text_form!(ClientCertificates, TlsVersions, Ciphers);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_of_openssl_and_of_the_standard() {
        let ciphers = Ciphers::parse("ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256");
        let ciphers = ciphers.ok().unwrap();
        assert_eq!(
            ciphers.names(),
            [
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS13_AES_128_GCM_SHA256"
            ]
        );
        // OpenSSL's list is about TLS 1.2 alone.
        let old = Ciphers::parse("ECDHE-RSA-CHACHA20-POLY1305").ok().unwrap();
        assert_eq!(old.names().len(), 4);
        for text in ["HIGH:!aNULL", "AES128-SHA", "DEFAULT"] {
            let Err(Cause::Because { hint, .. }) = Ciphers::parse(text) else {
                panic!("{text}");
            };
            assert!(hint.unwrap().contains("ECDHE-RSA-AES128-GCM-SHA256"));
        }
    }

    #[test]
    fn words_and_numbers_are_those_of_python() {
        for (text, expected) in [
            ("0", Some(ClientCertificates::None)),
            ("CERT_REQUIRED", Some(ClientCertificates::Required)),
            ("optional", Some(ClientCertificates::Optional)),
            ("3", None),
        ] {
            assert_eq!(ClientCertificates::parse(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("2", Some(TlsVersions::All)),
            ("PROTOCOL_TLS_SERVER", Some(TlsVersions::All)),
            ("TLSv1.2", Some(TlsVersions::Tls12)),
            ("TLSv1_3", Some(TlsVersions::Tls13)),
            ("TLSv1", None),
            ("x", None),
        ] {
            assert_eq!(TlsVersions::parse(text).ok(), expected, "{text}");
        }
    }
}
