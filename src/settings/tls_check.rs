//! The settings of TLS, checked together: which addresses speak it, and with which certificates.

use std::path::{Path, PathBuf};

use super::address::Address;
use super::choice::{Protocol, ProxyProtocol};
use super::error::Error;
use super::refusal::Refused;
use super::rows::Settings;
use super::tls::ClientCertificates;
use super::value::Value;

impl Settings {
    /// Whether an address speaks TLS, so that there are fronts.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.bind.iter().any(Address::is_https)
    }

    /// Whether there are fronts: an address needs one.
    #[must_use]
    pub fn has_fronts(&self) -> bool {
        self.speaks_tls() || self.h2c && self.has_plain_port()
    }

    /// Whether an address with a port speaks HTTP without TLS.
    fn has_plain_port(&self) -> bool {
        let is_plain = |address: &Address| matches!(address, Address::Tcp { .. } | Address::Fd(_));
        self.protocol == Protocol::Http && self.bind.iter().any(is_plain)
    }

    /// The files of each certificate and its key; the first is for clients that name no other.
    #[must_use]
    pub fn certificate_files(&self) -> Vec<(PathBuf, PathBuf)> {
        let first = self.certfile.as_ref().map(|certificate| {
            let key = self.keyfile.as_ref().unwrap_or(certificate);
            (certificate.clone(), key.clone())
        });
        let others = self.certificates.iter();
        let others = others.map(|(certificate, key)| (certificate.into(), key.into()));
        first.into_iter().chain(others).collect()
    }
}

/// Makes paths absolute, decides which addresses speak TLS, or gives the reason why the settings do
/// not fit together. `place_of`: where the operator finds a setting.
pub(super) fn settle(
    settings: &mut Settings,
    place_of: impl Fn(&str) -> String,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let refused = |setting: &str, value: String, what: &str, hint: &str| Error::Value {
        at: place_of(setting),
        refused: Refused {
            value,
            what: what.to_owned(),
            hint: Some(hint.to_owned()),
        },
    };
    if let (None, Some(key)) = (&settings.certfile, &settings.keyfile) {
        let what = "is a key without a certificate";
        let hint = "name the certificate, too: --certfile FILE";
        return Err(refused("keyfile", key.show(), what, hint));
    }
    find_files(settings);
    if settings.certfile.is_some() || !settings.certificates.is_empty() {
        choose_addresses(settings, &place_of, warnings);
    } else if let Some(address) = settings.bind.iter().find(|one| one.is_https()) {
        let what = "speaks TLS, which needs a certificate";
        let hint = "name one and its key: --certfile FILE --keyfile FILE";
        return Err(refused("bind", address.show(), what, hint));
    }
    check_clients(settings, &refused)?;
    check_redirection(settings, &refused)?;
    if let Some(hsts) = &mut settings.hsts {
        let value = header_of_hsts(hsts);
        *hsts = value.ok_or_else(|| {
            let what = "is not a time, nor a value of Strict-Transport-Security";
            let hint = "write seconds, or all of it: max-age=31536000; includeSubDomains";
            refused("hsts", hsts.clone(), what, hint)
        })?;
    }
    if let Some(kind) = settings.compress_types.iter().find(|kind| !is_type(kind)) {
        let what = "is not a media type";
        let hint = "write application/json, or text/* for all of a kind";
        return Err(refused("compress_types", kind.clone(), what, hint));
    }
    if !settings.compress.is_off() && !settings.has_fronts() {
        warnings.push(format!(
            "{} has no effect: only a front compresses, and no address needs one (TLS, h2c)",
            place_of("compress")
        ));
    }
    if settings.h2c && !settings.http2 {
        let what = "asks for HTTP/2, which http2 switches off";
        let hint = "leave one of them out";
        return Err(refused("h2c", "true".to_owned(), what, hint));
    }
    if settings.has_fronts() && settings.proxy_protocol != ProxyProtocol::Off {
        warnings.push(format!(
            "{}: no PROXY header is expected on addresses that a front serves (TLS, h2c)",
            place_of("proxy_protocol")
        ));
    }
    Ok(())
}

/// Files are seen from `chdir`, as in gunicorn.
fn find_files(settings: &mut Settings) {
    let directory = settings.chdir.clone();
    let paths = [
        &mut settings.certfile,
        &mut settings.keyfile,
        &mut settings.ca_certs,
        &mut settings.ocsp_staple,
        &mut settings.acme_directory,
    ];
    for path in paths.into_iter().flatten() {
        *path = directory.join(&*path);
    }
    for (certificate, key) in &mut settings.certificates {
        for path in [certificate, key] {
            // It began as text.
            *path = directory.join(Path::new(&*path)).to_string_lossy().into();
        }
    }
}

/// Without an address that begins with `https://`, those with a port speak TLS, as in gunicorn.
fn choose_addresses(
    settings: &mut Settings,
    place_of: &impl Fn(&str) -> String,
    warnings: &mut Vec<String>,
) {
    if settings.speaks_tls() {
        return;
    }
    let speaks_http = settings.protocol == Protocol::Http;
    for address in &mut settings.bind {
        match address {
            Address::Tcp { .. } | Address::Fd(_) if speaks_http => {
                *address = Address::Https(Box::new(address.clone()));
            }
            Address::Tcp { .. }
            | Address::Fd(_)
            | Address::Unix(_)
            | Address::Abstract(_)
            | Address::Uwsgi(_)
            | Address::Https(_) => {}
        }
    }
    if !settings.speaks_tls() {
        let at = if settings.certfile.is_some() {
            "certfile"
        } else {
            "certificates"
        };
        warnings.push(format!(
            "{} has no effect: no address in bind can speak TLS; hint: add https://:443",
            place_of(at)
        ));
    }
}

fn check_clients(
    settings: &Settings,
    refused: &impl Fn(&str, String, &str, &str) -> Error,
) -> Result<(), Error> {
    if settings.cert_reqs == ClientCertificates::None {
        return Ok(());
    }
    let shown = settings.cert_reqs.show();
    // Whoever asks for this relies on it.
    if !settings.speaks_tls() {
        let what = "is of no use: no address speaks TLS";
        let hint = "name a certificate: --certfile FILE --keyfile FILE";
        return Err(refused("cert_reqs", shown, what, hint));
    }
    if settings.ca_certs.is_none() {
        let what = "does not say whose certificates clients must have";
        let hint = "name the authorities: --ca-certs FILE";
        return Err(refused("cert_reqs", shown, what, hint));
    }
    Ok(())
}

fn check_redirection(
    settings: &Settings,
    refused: &impl Fn(&str, String, &str, &str) -> Error,
) -> Result<(), Error> {
    if settings.redirect_https && !(settings.speaks_tls() && settings.has_plain_port()) {
        let what = "needs an address that speaks TLS and one that does not";
        let hint = "name both: --bind https://:443 --bind :80";
        return Err(refused("redirect_https", "true".to_owned(), what, hint));
    }
    if let Some(path) = &settings.acme_directory
        && !settings.redirect_https
    {
        let what = "is of no use without redirect_https";
        let hint = "add --redirect-https; otherwise use --static /.well-known/acme-challenge=DIR";
        return Err(refused("acme_directory", path.show(), what, hint));
    }
    Ok(())
}

/// Whether a text is a media type (RFC 9110 section 8.3.1) without parameters.
fn is_type(text: &str) -> bool {
    let is_part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    let parts = text.split_once('/');
    parts.is_some_and(|(kind, form)| is_part(kind) && is_part(form))
}

/// The value of `Strict-Transport-Security` (RFC 6797 section 6.1), of which a number is the time
/// alone.
fn header_of_hsts(text: &str) -> Option<String> {
    let text = text.trim();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit());
    if is_number(text) {
        return Some(format!("max-age={text}"));
    }
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut parts = text.split(';').map(str::trim);
    let age = parts.find_map(|part| part.strip_prefix("max-age="))?;
    (is_printable && is_number(age.trim_matches('"'))).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        bind: &[&str],
        change: impl FnOnce(&mut Settings),
    ) -> Result<(Settings, Vec<String>), String> {
        let mut settings = Settings {
            chdir: "/srv".into(),
            bind: bind
                .iter()
                .map(|text| Address::parse(text).ok().unwrap())
                .collect(),
            ..Settings::default()
        };
        change(&mut settings);
        let mut warnings = Vec::new();
        let at = |setting: &str| format!("--{setting}");
        let settled = settle(&mut settings, at, &mut warnings);
        settled.map_err(|error| error.to_string())?;
        Ok((settings, warnings))
    }

    fn with_certificate(settings: &mut Settings) {
        settings.certfile = Some("tls/cert.pem".into());
    }

    fn shown(bind: &[&str], change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let (settings, warnings) = settled(bind, change).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        settings.bind.iter().map(Value::show).collect()
    }

    #[test]
    fn a_certificate_is_for_all_ports_unless_one_is_named() {
        let all = ["127.0.0.1:1", "fd://3", "unix:/x", "uwsgi://:2"];
        assert_eq!(
            shown(&all, with_certificate),
            [
                "https://127.0.0.1:1",
                "https://fd://3",
                "unix:/x",
                "uwsgi://0.0.0.0:2"
            ]
        );
        let named = ["https://:443", "127.0.0.1:1"];
        assert_eq!(
            shown(&named, with_certificate),
            ["https://0.0.0.0:443", "127.0.0.1:1"]
        );
        assert_eq!(shown(&["127.0.0.1:1"], |_| ()), ["127.0.0.1:1"]);
        let (settings, warnings) = settled(&["unix:/x"], with_certificate).unwrap();
        assert!(!settings.speaks_tls());
        assert!(warnings[0].contains("no address in bind can speak TLS"));
    }

    #[test]
    fn files_are_seen_from_the_directory_of_the_app() {
        let (settings, _) = settled(&[":1"], |settings| {
            with_certificate(settings);
            settings.certificates = vec![("/a".to_owned(), "b".to_owned())];
        })
        .unwrap();
        assert_eq!(
            settings.certificate_files(),
            [
                ("/srv/tls/cert.pem".into(), "/srv/tls/cert.pem".into()),
                (PathBuf::from("/a"), PathBuf::from("/srv/b"))
            ]
        );
    }

    #[test]
    fn plain_http_2_needs_fronts_but_no_certificate() {
        let has_fronts = |bind: &[&str]| {
            let (settings, _) = settled(bind, |one| one.h2c = true).unwrap();
            assert!(!settings.speaks_tls());
            settings.has_fronts()
        };
        assert!(has_fronts(&[":1"]));
        assert!(!has_fronts(&["unix:/x", "uwsgi://:1"]));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        type Change = fn(&mut Settings);
        let cases: [(&[&str], Change, &str); 10] = [
            (
                &[":1"],
                |one| one.compress_types = vec!["json".to_owned()],
                "is not a media type",
            ),
            (
                &[":1"],
                |one| {
                    one.h2c = true;
                    one.http2 = false;
                },
                "which http2 switches off",
            ),
            (&[":1"], |one| one.keyfile = Some("k".into()), "--keyfile"),
            (&["https://:1"], |_| (), "--bind: 'https://0.0.0.0:1'"),
            (
                &[":1"],
                |one| one.cert_reqs = ClientCertificates::Required,
                "no address speaks TLS",
            ),
            (
                &["https://:1"],
                |one| {
                    with_certificate(one);
                    one.cert_reqs = ClientCertificates::Optional;
                },
                "whose certificates",
            ),
            (&[":1"], |one| one.redirect_https = true, "--redirect_https"),
            (
                &["https://:1", "unix:/x"],
                |one| {
                    with_certificate(one);
                    one.redirect_https = true;
                },
                "--redirect_https",
            ),
            (
                &[":1"],
                |one| one.acme_directory = Some("x".into()),
                "without redirect_https",
            ),
            (
                &[":1"],
                |one| one.hsts = Some("for ever".to_owned()),
                "Strict-Transport-Security",
            ),
        ];
        for (bind, change, reason) in cases {
            let error = settled(bind, change).unwrap_err();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn a_time_alone_becomes_the_field_of_hsts() {
        for (text, field) in [
            ("31536000", Some("max-age=31536000")),
            (
                "max-age=1; includeSubDomains",
                Some("max-age=1; includeSubDomains"),
            ),
            ("includeSubDomains", None),
            ("max-age=x", None),
            ("max-age=1\r\nX: y", None),
        ] {
            assert_eq!(header_of_hsts(text).as_deref(), field, "{text}");
        }
    }
}
