//! What a front knows of a client, as the field `Rcorn-Front` of a request to a worker:
//! `v=1; for=192.0.2.1:50124; to=192.0.2.9:443; proto=https; http=2; tls=TLSv1.3; …`.
//!
//! It is the first field of each request on the workers' inner socket. Anywhere else it has no
//! meaning.

use std::fmt;
use std::net::SocketAddr;

use crate::base64;

/// The name of the field.
pub const FIELD_NAME: &str = "Rcorn-Front";

/// What the field's value begins with. A build that changes the meaning of a part counts it up; a
/// new part needs no new version.
const VERSION: &str = "v=1";

/// A client, as a front knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The client's address; `None` on a unix socket.
    pub client: Option<SocketAddr>,
    /// The address that it has connected to.
    pub server: Option<SocketAddr>,
    /// The scheme of the request's URL.
    pub scheme: Scheme,
    /// The version of HTTP that the client speaks.
    pub http: HttpVersion,
    /// The version of TLS, as OpenSSL writes it: `TLSv1.3`.
    pub tls: Option<String>,
    /// The cipher suite, as the registry of IANA writes it.
    pub cipher: Option<String>,
    /// The name that the client has asked for (SNI).
    pub sni: Option<String>,
    /// What came of the client's certificate; `None` without TLS.
    pub verify: Option<Verify>,
    /// The client's certificate, in DER.
    pub certificate: Option<Vec<u8>>,
    /// The front takes large bodies in memory ([`SharedBody`](crate::SharedBody)).
    pub takes_memory: bool,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or 1.1, as the request line says.
    #[default]
    Http1,
    /// HTTP/2
    Http2,
}

/// What came of a client's certificate: `SSL_CLIENT_VERIFY` of `mod_ssl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// It is valid.
    Success,
    /// There is none.
    None,
    /// It is not valid, for this reason.
    Failed(String),
}

/// Why the value of a field `Rcorn-Front` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactsError {
    /// It is not of this version.
    Version,
    /// A part is not `name=value`.
    Part,
    /// A value is malformed.
    Value(&'static str),
    /// A part came twice.
    Twice(&'static str),
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the field {FIELD_NAME} ")?;
        match self {
            Self::Version => write!(f, "does not begin with '{VERSION}'"),
            Self::Part => f.write_str("has a part that is not 'name=value'"),
            Self::Value(name) => write!(f, "has a malformed value of '{name}'"),
            Self::Twice(name) => write!(f, "has '{name}' twice"),
        }
    }
}

impl std::error::Error for FactsError {}

impl Facts {
    /// The field's value. A text that has a `;` or a control character is left out: it could not be
    /// told from another part.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::from(VERSION);
        let mut part = |name: &str, value: &str| {
            if is_writable(value) {
                out.push_str("; ");
                out.push_str(name);
                out.push('=');
                out.push_str(value);
            }
        };
        if let Some(client) = self.client {
            part("for", &client.to_string());
        }
        if let Some(server) = self.server {
            part("to", &server.to_string());
        }
        part("proto", self.scheme.name());
        part("http", self.http.name());
        if self.takes_memory {
            part("memory", "1");
        }
        for (name, value) in [
            ("tls", &self.tls),
            ("cipher", &self.cipher),
            ("sni", &self.sni),
        ] {
            if let Some(value) = value {
                part(name, value);
            }
        }
        match &self.verify {
            Some(Verify::Success) => part("verify", "SUCCESS"),
            Some(Verify::None) => part("verify", "NONE"),
            Some(Verify::Failed(reason)) if is_writable(reason) => {
                part("verify", &format!("FAILED:{reason}"));
            }
            // That it failed matters more than why.
            Some(Verify::Failed(_)) => part("verify", "FAILED:"),
            None => {}
        }
        if let Some(certificate) = &self.certificate {
            let mut text = String::new();
            base64::encode_into(certificate, &mut text);
            part("cert", &text);
        }
        out
    }

    /// Reads a field's value. Parts of a name that is not known here are ignored: a newer front may
    /// tell more.
    ///
    /// # Errors
    ///
    /// It is malformed, or of another version: no front of ours has sent it.
    pub fn parse(value: &[u8]) -> Result<Self, FactsError> {
        let value = std::str::from_utf8(value).map_err(|_not_utf8| FactsError::Part)?;
        let mut parts = value.split("; ");
        if parts.next() != Some(VERSION) {
            return Err(FactsError::Version);
        }
        let mut seen = Seen::default();
        for part in parts {
            let (name, value) = part.split_once('=').ok_or(FactsError::Part)?;
            if name.is_empty() || value.contains(';') || value.contains(char::is_control) {
                return Err(FactsError::Part);
            }
            seen.take(name, value)?;
        }
        Ok(Self {
            client: seen.client,
            server: seen.server,
            scheme: seen.scheme.ok_or(FactsError::Value("proto"))?,
            http: seen.http.ok_or(FactsError::Value("http"))?,
            tls: seen.tls,
            cipher: seen.cipher,
            sni: seen.sni,
            verify: seen.verify,
            certificate: seen.certificate,
            takes_memory: seen.takes_memory.is_some(),
        })
    }
}

/// The parts that were read.
#[derive(Default)]
struct Seen {
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
    scheme: Option<Scheme>,
    http: Option<HttpVersion>,
    tls: Option<String>,
    cipher: Option<String>,
    sni: Option<String>,
    verify: Option<Verify>,
    certificate: Option<Vec<u8>>,
    takes_memory: Option<()>,
}

impl Seen {
    fn take(&mut self, name: &str, value: &str) -> Result<(), FactsError> {
        match name {
            "for" => put(&mut self.client, "for", value.parse().ok()),
            "to" => put(&mut self.server, "to", value.parse().ok()),
            "proto" => put(&mut self.scheme, "proto", Scheme::named(value)),
            "http" => put(&mut self.http, "http", HttpVersion::named(value)),
            "tls" => put(&mut self.tls, "tls", Some(value.to_owned())),
            "cipher" => put(&mut self.cipher, "cipher", Some(value.to_owned())),
            "sni" => put(&mut self.sni, "sni", Some(value.to_owned())),
            "verify" => put(&mut self.verify, "verify", Verify::named(value)),
            "memory" => put(
                &mut self.takes_memory,
                "memory",
                (value == "1").then_some(()),
            ),
            "cert" => {
                let certificate = base64::decode(value.as_bytes());
                put(&mut self.certificate, "cert", certificate)
            }
            _ => Ok(()),
        }
    }
}

/// Keeps a value that was read from a part; `None` if it is malformed.
fn put<T>(place: &mut Option<T>, name: &'static str, value: Option<T>) -> Result<(), FactsError> {
    let value = value.ok_or(FactsError::Value(name))?;
    match place.replace(value) {
        None => Ok(()),
        Some(_before) => Err(FactsError::Twice(name)),
    }
}

/// Whether a text can stand in the field: it cannot end its part or the field.
fn is_writable(text: &str) -> bool {
    !text.contains(';') && !text.contains(char::is_control)
}

impl Scheme {
    /// Its name in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

impl HttpVersion {
    /// `1` or `2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "1",
            Self::Http2 => "2",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Http1, Self::Http2]
            .into_iter()
            .find(|version| version.name() == name)
    }
}

impl Verify {
    fn named(name: &str) -> Option<Self> {
        match name {
            "SUCCESS" => Some(Self::Success),
            "NONE" => Some(Self::None),
            _ => Some(Self::Failed(name.strip_prefix("FAILED:")?.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_what_workers_of_other_builds_read() {
        let facts = Facts {
            client: Some("192.0.2.1:50124".parse().unwrap()),
            server: Some("[2001:db8::9]:443".parse().unwrap()),
            scheme: Scheme::Https,
            http: HttpVersion::Http2,
            tls: Some("TLSv1.3".to_owned()),
            cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
            sni: Some("shop.example".to_owned()),
            verify: Some(Verify::Failed("expired".to_owned())),
            certificate: Some(b"foobar".to_vec()),
            takes_memory: true,
        };
        let text = "v=1; for=192.0.2.1:50124; to=[2001:db8::9]:443; proto=https; http=2; memory=1; \
                    tls=TLSv1.3; cipher=TLS_AES_128_GCM_SHA256; sni=shop.example; \
                    verify=FAILED:expired; cert=Zm9vYmFy";
        assert_eq!(facts.encode(), text);
        assert_eq!(Facts::parse(text.as_bytes()), Ok(facts));
        let unix = "v=1; proto=http; http=1";
        assert_eq!(Facts::default().encode(), unix);
        assert_eq!(Facts::parse(unix.as_bytes()), Ok(Facts::default()));
    }

    #[test]
    fn a_newer_front_may_tell_more() {
        let parsed = Facts::parse(b"v=1; proto=http; http=1; alpn=h2");
        assert_eq!(parsed, Ok(Facts::default()));
    }

    #[test]
    fn what_no_front_writes_is_refused() {
        for (text, error) in [
            (&b""[..], FactsError::Version),
            (b"v=2; proto=http; http=1", FactsError::Version),
            (b"v=1", FactsError::Value("proto")),
            (b"v=1; proto=http", FactsError::Value("http")),
            (b"v=1; proto=gopher; http=1", FactsError::Value("proto")),
            (b"v=1; proto=http; http=3", FactsError::Value("http")),
            (b"v=1; proto=http; http=1; for=x", FactsError::Value("for")),
            (
                b"v=1; proto=http; http=1; memory=2",
                FactsError::Value("memory"),
            ),
            (
                b"v=1; proto=http; http=1; verify=YES",
                FactsError::Value("verify"),
            ),
            (
                b"v=1; proto=http; http=1; cert=%",
                FactsError::Value("cert"),
            ),
            (
                b"v=1; proto=http; proto=https; http=1",
                FactsError::Twice("proto"),
            ),
            (b"v=1; proto=http; http=1; sni", FactsError::Part),
            (b"v=1; proto=http; http=1; ", FactsError::Part),
            (b"v=1; proto=http; http=1; sni=a;b", FactsError::Part),
            (b"v=1; proto=http; http=1; sni=a\nb", FactsError::Part),
            (b"v=1; proto=http; http=1; sni=\xff", FactsError::Part),
        ] {
            assert_eq!(Facts::parse(text), Err(error), "{}", text.escape_ascii());
            assert!(error.to_string().starts_with("the field Rcorn-Front "));
        }
    }

    fn verify() -> impl Strategy<Value = Verify> {
        prop_oneof![
            Just(Verify::Success),
            Just(Verify::None),
            any::<String>().prop_map(Verify::Failed),
        ]
    }

    proptest! {
        #[test]
        fn facts_come_back_without_what_cannot_be_written(
            client: Option<SocketAddr>,
            is_https: bool,
            is_2: bool,
            takes_memory: bool,
            texts: [Option<String>; 3],
            verify in proptest::option::of(verify()),
            certificate: Option<Vec<u8>>,
        ) {
            // Scope and flow are of this machine.
            let client = client.map(|client| SocketAddr::new(client.ip(), client.port()));
            let [tls, cipher, sni] = texts;
            let facts = Facts {
                client,
                server: client,
                scheme: if is_https { Scheme::Https } else { Scheme::Http },
                http: if is_2 { HttpVersion::Http2 } else { HttpVersion::Http1 },
                tls, cipher, sni, verify, certificate, takes_memory,
            };
            let text = facts.encode();
            prop_assert!(!text.contains(char::is_control));
            let kept = |text: &String| is_writable(text);
            let mut expected = facts;
            for text in [&mut expected.tls, &mut expected.cipher, &mut expected.sni] {
                *text = text.take().filter(kept);
            }
            if let Some(Verify::Failed(reason)) = &mut expected.verify && !is_writable(reason) {
                reason.clear();
            }
            prop_assert_eq!(Facts::parse(text.as_bytes()), Ok(expected));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            Facts::parse(&bytes).ok();
        }
    }
}
