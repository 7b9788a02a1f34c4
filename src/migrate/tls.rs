//! `https` of a uwsgi.ini, which has address, certificate, key, ciphers and authority in one line.

use rcorn_settings::{Ciphers, Value};

use super::options::{IniOption, Remaining};
use super::output::Output;
use super::sockets::address;
use super::yaml::Text;

/// Addresses with TLS, and what redirects to them.
pub(super) fn tls(rest: &mut Remaining, output: &mut Output) {
    for given in rest.take(&["https", "https2"]) {
        if let Err(why) = https(&given, output) {
            output.omit(&given.source, why);
        }
    }
    for given in rest.take(&["http-to-https"]) {
        match address(&given, false) {
            Ok(address) if output.has("certfile") => {
                let bind = given.with(|_whole| address);
                if output.add("bind", &bind, &given.source) {
                    let on = Text::Plain("true".to_owned());
                    output.set("redirect_https", &on, &given.source);
                }
            }
            Ok(_) => output.omit(&given.source, "no line names a certificate (https)"),
            Err(why) => output.omit(&given.source, why),
        }
    }
}

/// The parts of a line: `ADDRESS,CERTIFICATE,KEY[,CIPHERS[,AUTHORITY]]`, or with names before them
/// (`https2 = addr=…,cert=…,key=…`).
#[derive(Debug, Default)]
struct Parts<'a> {
    address: &'a str,
    certificate: &'a str,
    key: &'a str,
    ciphers: &'a str,
    authority: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = Self::default();
        for (at, part) in text.split(',').map(str::trim).enumerate() {
            let (name, value) = match part.split_once('=') {
                Some((name @ ("addr" | "cert" | "key" | "ciphers" | "client_ca"), value)) => {
                    (name, value)
                }
                Some(("spdy", _)) => continue,
                Some(_) | None => (
                    ["addr", "cert", "key", "ciphers", "client_ca"]
                        .get(at)
                        .copied()
                        .unwrap_or_default(),
                    part,
                ),
            };
            match name {
                "addr" => parts.address = value,
                "cert" => parts.certificate = value,
                "key" => parts.key = value,
                "ciphers" => parts.ciphers = value,
                "client_ca" => parts.authority = value,
                _ => {}
            }
        }
        parts
    }
}

fn https(given: &IniOption, output: &mut Output) -> Result<(), &'static str> {
    let parts = Parts::of(given.text());
    if parts.certificate.is_empty() || parts.key.is_empty() {
        return Err("it names no certificate and key: set bind, certfile and keyfile by hand");
    }
    let socket = IniOption {
        value: given.with(|_whole| parts.address.to_owned()),
        ..given.clone()
    };
    let socket = address(&socket, false)?;
    if socket.starts_with("unix:") {
        return Err("an address with TLS has a port: set bind by hand");
    }
    let text = |text: &str| given.with(|_whole| text.to_owned());
    if !output.add("bind", &text(&format!("https://{socket}")), &given.source) {
        return Ok(());
    }
    if output.has("certfile") {
        let key = text(parts.key);
        output.add_pair("certificates", parts.certificate, &key, &given.source);
        return Ok(());
    }
    output.set("certfile", &text(parts.certificate), &given.source);
    output.set("keyfile", &text(parts.key), &given.source);
    if !parts.ciphers.is_empty() {
        if Ciphers::parse(parts.ciphers).is_ok() {
            output.set("ciphers", &text(parts.ciphers), &given.source);
        } else {
            let ciphers = super::yaml::verbatim(parts.ciphers);
            output.comment(
                "certfile",
                format!("Without the ciphers {ciphers}: rcorn has safe ones only."),
            );
        }
    }
    if !parts.authority.is_empty() {
        // With an exclamation mark clients must have a certificate.
        let (authority, when) = match parts.authority.strip_prefix('!') {
            Some(authority) => (authority, "required"),
            None => (parts.authority, "optional"),
        };
        output.set("ca_certs", &text(authority), &given.source);
        let when = Text::Plain(when.to_owned());
        output.set("cert_reqs", &when, &given.source);
    }
    Ok(())
}
