//! A request on the status address: GET or HEAD of a few paths, without a body, for a host that no
//! stranger can give a name to.

use std::net::IpAddr;

use rcorn_http::{Framing, Head, Limits, Progress, parse_head};

use super::exposition::Format;

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 8192;
/// The longest request line, in bytes.
const MAX_LINE_BYTES: usize = 1024;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The page for people.
    Page,
    /// All metrics.
    Metrics(Format),
    /// The document of `rcorn ctl --json status`.
    Status,
    /// Whether the arbiter lives.
    Health,
    /// Whether a worker serves, and new clients are welcome.
    Ready,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it asks for.
    pub resource: Resource,
    /// It wants the head alone.
    pub is_head: bool,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// More bytes are needed.
    More,
    /// It is complete.
    Question(Question),
    /// It is refused with this status and this reason.
    Refused(u16, String),
}

/// The hosts that a request may be for. A page of another origin could otherwise read the answers,
/// if its name resolves to our address when a browser looks again (DNS rebinding). Such a name is
/// one of the public DNS: it has a dot, and is not one of these.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// These names, beside those that nobody can claim: IP addresses, `localhost`, and names
    /// without a dot.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter();
        let names = names.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self {
            names: names.filter(|name| !name.is_empty()).collect(),
        }
    }

    /// Whether a request may be for this value of Host, which has the form of one.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(address, port)| {
                (port.is_empty() || port.starts_with(':')) && address.parse::<IpAddr>().is_ok()
            });
        }
        let name = host.split_once(':').map_or(host, |(name, _port)| name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || !name.contains('.') || self.names.contains(&name)
    }
}

/// Reads what has arrived so far.
#[must_use]
pub fn read(bytes: &[u8], hosts: &Hosts) -> Reading {
    let limits = Limits {
        request_line: MAX_LINE_BYTES,
        ..Limits::default()
    };
    let mut head = Head::default();
    match parse_head(bytes, &limits, &mut head) {
        Err(refusal) => Reading::Refused(refusal.status(), refusal.to_string()),
        Ok(Progress::More) if bytes.len() >= MAX_REQUEST_BYTES => {
            Reading::Refused(431, "the request is too long".to_owned())
        }
        Ok(Progress::More) => Reading::More,
        Ok(Progress::Done(())) => judge(bytes, &head, hosts),
    }
}

fn judge(bytes: &[u8], head: &Head, hosts: &Hosts) -> Reading {
    let refused = |status, why: &str| Reading::Refused(status, why.to_owned());
    let text = |span: rcorn_http::Span| std::str::from_utf8(span.of(bytes)).unwrap_or_default();
    if let Some(host) = head.host.map(text)
        && !hosts.allow(host)
    {
        return refused(421, "this is not the host asked for (status_hosts)");
    }
    let is_head = match head.method(bytes) {
        b"GET" => false,
        b"HEAD" => true,
        _ => return refused(405, "only GET and HEAD are answered here"),
    };
    if head.framing != Framing::None && head.framing != Framing::Length(0) {
        return refused(413, "a request here has no body");
    }
    let resource = match text(head.path) {
        "/" => Resource::Page,
        "/metrics" => Resource::Metrics(format(bytes, head)),
        "/status.json" => Resource::Status,
        "/healthz" => Resource::Health,
        "/readyz" => Resource::Ready,
        _ => {
            return refused(
                404,
                "there are /, /metrics, /status.json, /healthz and /readyz",
            );
        }
    };
    Reading::Question(Question { resource, is_head })
}

/// The format that the client prefers (RFC 9110 section 12.5.1).
fn format(bytes: &[u8], head: &Head) -> Format {
    let (mut open, mut plain) = (0, 0);
    for field in &head.fields {
        if !field.name.of(bytes).eq_ignore_ascii_case(b"accept") {
            continue;
        }
        let value = String::from_utf8_lossy(field.value.of(bytes)).to_ascii_lowercase();
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let (mut quality, mut is_known) = (1000, true);
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", value)) => quality = thousandths(value),
                    // Other versions are not ours.
                    Some(("version", value)) if media.starts_with("application/") => {
                        is_known = matches!(value, "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            match media {
                "application/openmetrics-text" if is_known => open = open.max(quality),
                "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
                _ => {}
            }
        }
    }
    if open > 0 && open >= plain {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    }
}

/// A quality value, from 0 to 1000.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole != "0" {
        return 1000;
    }
    let digits = fraction.chars().chain("000".chars()).take(3);
    let digits: String = digits.collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Reading {
        let hosts = Hosts::new(["Box.Example.Internal".to_owned()]);
        read(text.as_bytes(), &hosts)
    }

    fn resource(text: &str) -> Option<Resource> {
        match ask(text) {
            Reading::Question(question) => Some(question.resource),
            Reading::More | Reading::Refused(..) => None,
        }
    }

    fn status(text: &str) -> Option<u16> {
        match ask(text) {
            Reading::Refused(status, _) => Some(status),
            Reading::More | Reading::Question(_) => None,
        }
    }

    fn get(path: &str, fields: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n{fields}\r\n")
    }

    #[test]
    fn few_paths_are_there() {
        assert_eq!(
            resource(&get("/status.json?x=1", "")),
            Some(Resource::Status)
        );
        assert_eq!(resource(&get("/healthz", "")), Some(Resource::Health));
        assert_eq!(resource(&get("/readyz", "")), Some(Resource::Ready));
        assert_eq!(status(&get("/etc/passwd", "")), Some(404));
        assert_eq!(status(&get("/../metrics", "")), Some(404));
        let head = "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(
            ask(head),
            Reading::Question(Question { is_head: true, .. })
        ));
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: a\r\n"), Reading::More);
    }

    #[test]
    fn nothing_but_get_without_a_body_is_answered() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(&text), Some(405), "{method}");
        }
        assert_eq!(status(&get("/", "Content-Length: 5\r\n")), Some(413));
        assert_eq!(
            status(&get("/", "Transfer-Encoding: chunked\r\n")),
            Some(413)
        );
        assert!(resource(&get("/healthz", "Content-Length: 0\r\n")).is_some());
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), Some(400));
        assert_eq!(status("\x16\x03\x01\x02\x00\x01"), Some(400));
        let endless = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(2000));
        assert!(status(&endless).is_some());
        assert_eq!(
            status(&get(&format!("/{}", "x".repeat(2000)), "")),
            Some(414)
        );
    }

    #[test]
    fn a_name_that_a_stranger_can_have_is_no_host() {
        let host = |host: &str| status(&format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        for ours in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.1.2.3",
            "localhost:1",
            "LOCALHOST",
            "app:9090",
            "box.example.internal:9090",
            "Box.example.internal.",
        ] {
            assert_eq!(host(ours), None, "{ours}");
        }
        for strange in [
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
        ] {
            assert!(host(strange).is_some(), "{strange}");
        }
        // An absolute target says what the host is.
        let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        assert_eq!(status(absolute), Some(421));
        // An old client need not have one.
        assert!(resource("GET /healthz HTTP/1.0\r\n\r\n").is_some());
    }

    #[test]
    fn the_format_is_what_the_client_prefers() {
        let of = |accept: &str| {
            let fields = format!("Accept: {accept}\r\n");
            match resource(&get("/metrics", &fields)) {
                Some(Resource::Metrics(format)) => format,
                other => panic!("{other:?}"),
            }
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(of(prometheus), Format::OpenMetrics);
        assert_eq!(of("application/openmetrics-text"), Format::OpenMetrics);
        for plain in [
            "text/plain",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;version=1.0.0;q=0.3,text/plain;q=0.5",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=7.0.0",
        ] {
            assert_eq!(of(plain), Format::Prometheus, "{plain}");
        }
    }
}
