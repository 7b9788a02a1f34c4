//! Requests of a front, which speaks TLS and HTTP/2 with its clients: each begins with a field that
//! says whose it is ([`Facts`]). One connection of a front carries the requests of many clients.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use memchr::memmem;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_front_link::{ClientCertificate, FIELD_NAME, Facts, HttpVersion, Scheme, Verify};
use rcorn_http::hash::slot_of;
use rcorn_http::{Progress, ProxiedAddresses, Refusal};
use rcorn_wsgi::GivenVariables;

/// The longest field, in bytes: a certificate of some kilobytes in base 64.
const MAX_FACTS_BYTES: usize = 64 * 1024;
/// The longest request line that a front may pass on, in bytes.
const MAX_LINE_BYTES: usize = 1024 * 1024 + 1024;
const LINE_END_BYTES: usize = 2;

/// `SERVER_PROTOCOL` of HTTP/2, as `mod_wsgi` beside `mod_http2`, uWSGI behind nginx and gunicorn
/// have it.
pub(super) const HTTP2: &str = "HTTP/2.0";

/// The cache of clients has `2^SLOT_BITS` slots. A flood of different clients costs time, never
/// memory.
const SLOT_BITS: u32 = 8;
/// The longest field that is kept.
const MAX_KEPT_BYTES: usize = 4096;

/// The client of a front.
#[derive(Debug)]
pub(super) struct FrontClient {
    /// The value of the field.
    field: Box<[u8]>,
    facts: Facts,
    variables: OnceLock<GivenVariables>,
}

impl FrontClient {
    /// Reads the value of the field.
    fn read(field: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            field: field.into(),
            facts: Facts::parse(field).map_err(|_malformed| Refusal::FrontFacts)?,
            variables: OnceLock::new(),
        })
    }

    /// Its address, and the one that it has connected to; `None` on a unix socket.
    pub(super) fn addresses(&self) -> Option<ProxiedAddresses> {
        let client = self.facts.client?;
        let unknown = SocketAddr::new(client.ip(), 0);
        Some(ProxiedAddresses {
            client,
            proxy: self.facts.server.unwrap_or(unknown),
        })
    }

    /// Whether its front takes large bodies in memory.
    pub(super) fn front_takes_memory(&self) -> bool {
        self.facts.takes_memory
    }

    /// Whether it speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.facts.http == HttpVersion::Http2
    }

    /// Sets what the environ of its requests has beside what the head says.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    // Not within the handler of requests, which would become too large to be inlined itself.
    #[inline(never)]
    pub(super) fn set_variables(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.variables(py)?.set(py, environ)
    }

    fn variables(&self, py: Python<'_>) -> PyResult<&GivenVariables> {
        if let Some(made) = self.variables.get() {
            return Ok(made);
        }
        let list = self.list();
        let list = list.iter().map(|(name, value)| (*name, value.as_bytes()));
        let made = GivenVariables::new(py, list)?;
        Ok(self.variables.get_or_init(|| made))
    }

    /// The variables, by the names of `mod_ssl`.
    fn list(&self) -> Vec<(&'static str, String)> {
        let facts = &self.facts;
        let mut list = vec![("wsgi.url_scheme", facts.scheme.name().to_owned())];
        let mut add = |name, value: Option<&str>| {
            list.extend(value.map(|value| (name, value.to_owned())));
        };
        add("SERVER_PROTOCOL", self.is_http2().then_some(HTTP2));
        add("HTTPS", (facts.scheme == Scheme::Https).then_some("on"));
        add("SSL_PROTOCOL", facts.tls.as_deref());
        add("SSL_CIPHER", facts.cipher.as_deref());
        add("SSL_TLS_SNI", facts.sni.as_deref());
        let verify = facts.verify.as_ref().map(|verify| match verify {
            Verify::Success => "SUCCESS".to_owned(),
            Verify::None => "NONE".to_owned(),
            Verify::Failed(reason) => format!("FAILED:{reason}"),
        });
        add("SSL_CLIENT_VERIFY", verify.as_deref());
        if let Some(server) = facts.server {
            list.push(("SERVER_NAME", server.ip().to_canonical().to_string()));
            list.push(("SERVER_PORT", server.port().to_string()));
        }
        if let Some(certificate) = &facts.certificate {
            list.push(("SSL_CLIENT_CERT", self.pem()));
            let read = ClientCertificate::read(certificate);
            list.extend(read.into_iter().flat_map(ClientCertificate::variables));
        }
        list
    }

    /// The client's certificate (RFC 7468): what the field has of it, in lines.
    fn pem(&self) -> String {
        let field = String::from_utf8_lossy(&self.field);
        let mut parts = field.split("; ");
        let digits = parts.find_map(|part| part.strip_prefix("cert="));
        let digits = digits.unwrap_or_default().as_bytes();
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in digits.chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

/// The last client of each slot, by its field.
#[derive(Debug, Default)]
pub(super) struct FrontClients {
    /// Empty before the first request of a front.
    slots: Vec<Option<Arc<FrontClient>>>,
}

impl FrontClients {
    /// Whose request begins in these bytes. Its head goes to `text` without the field: the next
    /// request may be the same but for its client, and is not parsed again then.
    ///
    /// # Errors
    ///
    /// The field does not follow the request line, or is malformed: no front of ours has sent it.
    pub(super) fn introduce(
        &mut self,
        bytes: &[u8],
        text: &mut Vec<u8>,
    ) -> Result<Progress<Introduced>, Refusal> {
        let Some((line, rest)) = split_line(bytes) else {
            return more_unless(bytes.len() > MAX_LINE_BYTES);
        };
        let Some((field, behind)) = split_line(rest) else {
            return more_unless(rest.len() > MAX_FACTS_BYTES);
        };
        // The line end before an empty line may be that of the field.
        let end = if behind.starts_with(b"\r\n") {
            Some(LINE_END_BYTES)
        } else {
            let last = memmem::find(behind, b"\r\n\r\n");
            last.map(|at| at.saturating_add(2 * LINE_END_BYTES))
        };
        let (fields, _body) = behind.split_at(end.unwrap_or(behind.len()));
        text.clear();
        text.extend_from_slice(line);
        text.extend_from_slice(fields);
        Ok(Progress::Done(Introduced {
            client: self.client_of(value_of(field).ok_or(Refusal::FrontFacts)?)?,
            field_length: field.len(),
        }))
    }

    fn client_of(&mut self, field: &[u8]) -> Result<Arc<FrontClient>, Refusal> {
        if field.len() > MAX_KEPT_BYTES {
            return FrontClient::read(field).map(Arc::new);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(1 << SLOT_BITS, || None);
        }
        let Some(slot) = self.slots.get_mut(slot_of::<SLOT_BITS>(field)) else {
            return FrontClient::read(field).map(Arc::new);
        };
        if let Some(known) = slot
            && *known.field == *field
        {
            return Ok(Arc::clone(known));
        }
        let client = Arc::new(FrontClient::read(field)?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }
}

/// Whose request it is.
#[derive(Debug)]
pub(super) struct Introduced {
    pub(super) client: Arc<FrontClient>,
    /// The length of the field that says so, with its line end.
    pub(super) field_length: usize,
}

/// A line with its end, and what follows; `None`: its end has not come.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    bytes.split_at_checked(end.saturating_add(1))
}

fn more_unless(is_too_long: bool) -> Result<Progress<Introduced>, Refusal> {
    if is_too_long {
        return Err(Refusal::FrontFacts);
    }
    Ok(Progress::More)
}

/// The value of a field line, if it is of this field.
fn value_of(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked(FIELD_NAME.len())?;
    let value = value.strip_prefix(b":")?;
    let is_it = name.eq_ignore_ascii_case(FIELD_NAME.as_bytes());
    is_it.then(|| value.trim_ascii())
}

/// The client of a request that is not served, for the log; `None`: the front does not name it.
pub(super) fn client_address(bytes: &[u8]) -> Option<IpAddr> {
    let (_line, rest) = split_line(bytes)?;
    let (field, _fields) = split_line(rest)?;
    let facts = Facts::parse(value_of(field)?).ok()?;
    Some(facts.client?.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use rcorn_http::{Head, Limits, parse_head};

    use super::*;

    const FACTS: &str = "v=1; for=192.0.2.1:50124; to=192.0.2.9:443; proto=https; http=2; \
                         tls=TLSv1.3; sni=shop.example; verify=NONE";

    fn introduced(clients: &mut FrontClients, text: &str) -> Result<Introduced, Refusal> {
        let introduced = clients.introduce(text.as_bytes(), &mut Vec::new())?;
        let Progress::Done(introduced) = introduced else {
            panic!("{text} is not complete");
        };
        Ok(introduced)
    }

    fn request(field: &str) -> String {
        format!("GET / HTTP/1.1\r\n{field}Host: a\r\n\r\nbody")
    }

    #[test]
    fn the_first_field_says_whose_request_it_is() {
        let mut clients = FrontClients::default();
        let field = format!("Rcorn-Front: {FACTS}\r\n");
        let text = request(&field);
        let client = introduced(&mut clients, &text).expect("a client").client;
        let addresses = client.addresses().expect("addresses");
        assert_eq!(addresses.client.to_string(), "192.0.2.1:50124");
        assert_eq!(addresses.proxy.to_string(), "192.0.2.9:443");
        let list = client.list();
        for (name, value) in [
            ("wsgi.url_scheme", "https"),
            ("SERVER_PROTOCOL", "HTTP/2.0"),
            ("HTTPS", "on"),
            ("SSL_TLS_SNI", "shop.example"),
            ("SERVER_NAME", "192.0.2.9"),
            ("SERVER_PORT", "443"),
        ] {
            let found = list.iter().find(|(its, _)| *its == name);
            assert_eq!(
                found.map(|(_, value)| value.as_str()),
                Some(value),
                "{name}"
            );
        }
        // It is read once.
        let again = introduced(&mut clients, &text).expect("a client");
        assert!(Arc::ptr_eq(&client, &again.client));
        assert_eq!(again.field_length, field.len());
    }

    /// What is left is what the client has sent, however much of it has come.
    #[test]
    fn the_head_is_parsed_without_the_field() {
        let mut clients = FrontClients::default();
        let field = format!("Rcorn-Front: {FACTS}\r\n");
        let whole = request(&field);
        for end in 0..whole.len() {
            let mut text = Vec::new();
            let bytes = whole.as_bytes().get(..end).unwrap_or_default();
            let introduced = clients.introduce(bytes, &mut text).expect("a part");
            let is_introduced = matches!(introduced, Progress::Done(_));
            assert_eq!(is_introduced, end >= 16 + field.len(), "{end}");
            let mut head = Head::default();
            let parsed = parse_head(&text, &Limits::default(), &mut head).expect("a part");
            let is_complete = matches!(parsed, Progress::Done(()));
            assert_eq!(is_complete, end >= whole.len() - 4, "{end}");
        }
        let mut text = Vec::new();
        clients
            .introduce(whole.as_bytes(), &mut text)
            .expect("a client");
        assert_eq!(text, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let bare = format!("GET / HTTP/1.1\r\n{field}\r\nbody\r\n\r\n");
        clients
            .introduce(bare.as_bytes(), &mut text)
            .expect("a client");
        assert_eq!(text, b"GET / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn what_no_front_sends_is_refused() {
        let mut clients = FrontClients::default();
        for fields in [
            String::new(),
            format!("X: y\r\nRcorn-Front: {FACTS}\r\n"),
            "Rcorn-Front: v=2\r\n".to_owned(),
        ] {
            let refused = introduced(&mut clients, &request(&fields)).err();
            assert_eq!(refused, Some(Refusal::FrontFacts), "{fields}");
        }
    }

    #[test]
    fn a_certificate_becomes_pem() {
        let mut clients = FrontClients::default();
        let digits = "QUJD".repeat(20);
        let field = format!("Rcorn-Front: v=1; proto=https; http=1; cert={digits}\r\n");
        let introduced = introduced(&mut clients, &request(&field));
        let client = introduced.expect("a client").client;
        let (first, second) = digits.split_at(64);
        assert_eq!(
            client.pem(),
            format!("-----BEGIN CERTIFICATE-----\n{first}\n{second}\n-----END CERTIFICATE-----\n")
        );
    }
}
