//! Where logs and metrics are sent, in gunicorn's syntax: the addresses of syslog and of a statsd
//! server, and text that becomes a part of each metric. Only their form is checked here.

use std::path::PathBuf;

use super::refusal::Cause;
use super::value::{Value, text_form};

const SYSLOG_PORT: u16 = 514;
const STATSD_PORT: u16 = 8125;
/// What fits into `sun_path`: 108 bytes with the final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

const SYSLOG_FORMS: &str =
    "write unix:///dev/log, unix:///dev/log#stream, udp://127.0.0.1:514 or tcp://127.0.0.1:514";
const STATSD_FORMS: &str = "write 127.0.0.1:8125, [::1]:8125 or unix:///run/statsd.sock";

/// The kind of a socket of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnixKind {
    /// Datagrams, or else a stream.
    Any,
    /// Datagrams.
    Datagram,
}

/// The address of a syslog server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyslogAddress {
    /// A socket file.
    Unix(PathBuf, UnixKind),
    /// A host, by name or IP address without brackets, and a port for datagrams.
    Udp(String, u16),
    /// The same for a stream.
    Tcp(String, u16),
}

impl SyslogAddress {
    /// gunicorn's default on Linux.
    #[must_use]
    pub fn local() -> Self {
        Self::Udp("localhost".to_owned(), SYSLOG_PORT)
    }
}

impl Value for SyslogAddress {
    const NOUN: &'static str = "an address of syslog";
    const VALUE_NAME: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        match text.split_once("://") {
            Some(("unix", path)) => {
                let (path, kind) = match path.split_once('#') {
                    None | Some((_, "stream")) => (path, UnixKind::Any),
                    Some((_, "dgram")) => (path, UnixKind::Datagram),
                    Some((_, other)) => {
                        let what = format!("has '{other}' after the #");
                        return Err(Cause::because(what, SYSLOG_FORMS));
                    }
                };
                let path = path.split('#').next().unwrap_or_default();
                Ok(Self::Unix(socket_path(path, SYSLOG_FORMS)?, kind))
            }
            Some(("udp", rest)) => {
                let (host, port) = host_and_port(rest, SYSLOG_PORT, SYSLOG_FORMS)?;
                Ok(Self::Udp(host, port))
            }
            Some(("tcp", rest)) => {
                let (host, port) = host_and_port(rest, SYSLOG_PORT, SYSLOG_FORMS)?;
                Ok(Self::Tcp(host, port))
            }
            Some(_) | None => Err(Cause::because(
                "does not begin with unix://, udp:// or tcp://",
                SYSLOG_FORMS,
            )),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Unix(path, UnixKind::Any) => format!("unix://{}", path.display()),
            Self::Unix(path, UnixKind::Datagram) => format!("unix://{}#dgram", path.display()),
            Self::Udp(host, port) => format!("udp://{}:{port}", bracketed(host)),
            Self::Tcp(host, port) => format!("tcp://{}:{port}", bracketed(host)),
        }
    }
}

text_form!(SyslogAddress);

/// The address of a statsd server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StatsdAddress {
    /// A socket file for datagrams.
    Unix(PathBuf),
    /// A host, by name or IP address without brackets, and a port for datagrams.
    Udp(String, u16),
}

impl Value for StatsdAddress {
    const NOUN: &'static str = "an address of a statsd server";
    const VALUE_NAME: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        // As in gunicorn, `unix:8125` is a host of that name.
        let is_host = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_prefix("unix:") {
            Some(path) if !is_host(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Self::Unix(socket_path(path, STATSD_FORMS)?))
            }
            Some(_) | None => {
                let text = ["udp://", "tcp://"]
                    .iter()
                    .find_map(|scheme| text.strip_prefix(scheme))
                    .unwrap_or(text);
                if text.is_empty() || text.contains('/') {
                    return Err(Cause::NotA);
                }
                let (host, port) = host_and_port(text, STATSD_PORT, STATSD_FORMS)?;
                Ok(Self::Udp(host, port))
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Udp(host, port) => format!("{}:{port}", bracketed(host)),
        }
    }
}

text_form!(StatsdAddress);

/// Text in a line of statsd: a prefix, or tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricText(pub String);

impl Value for MetricText {
    const NOUN: &'static str = "a text of printable ASCII";
    const VALUE_NAME: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Self, Cause> {
        let fits = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'|';
        if text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Cause::because(
                "has characters that a line of statsd cannot have",
                "use printable ASCII without |",
            ))
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

text_form!(MetricText);

fn socket_path(path: &str, forms: &str) -> Result<PathBuf, Cause> {
    if path.is_empty() || path.contains('\0') {
        return Err(Cause::because("names no socket file", forms));
    }
    if path.len() > MAX_SOCKET_PATH_BYTES {
        let what = format!(
            "is longer than the {MAX_SOCKET_PATH_BYTES} bytes that a socket's name may have"
        );
        return Err(Cause::because(what, forms));
    }
    Ok(PathBuf::from(path))
}

/// `HOST:PORT`, where either may be missing.
fn host_and_port(text: &str, default: u16, forms: &str) -> Result<(String, u16), Cause> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let no_bracket = || Cause::because("has no closing bracket", forms);
            let (host, rest) = rest.split_once(']').ok_or_else(no_bracket)?;
            (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some("")),
            )
        }
        None if text.matches(':').count() > 1 => {
            let hint = format!("IPv6 addresses stand in brackets: [{text}]:{default}");
            return Err(Cause::because("is an IPv6 address without brackets", hint));
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let fits = |sign: char| sign.is_alphanumeric() || ".-_:%".contains(sign);
    if let Some(sign) = host.chars().find(|sign| !fits(*sign)) {
        let what = format!("has '{}' in the name of the host", sign.escape_default());
        return Err(Cause::because(what, forms));
    }
    let port = match port {
        Some("") if !text.ends_with(':') => default,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(no_port)?,
        Some(_) | None => return Err(no_port()),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host.to_lowercase(), port))
}

fn no_port() -> Cause {
    Cause::because("has no valid port", "a port is a number from 1 to 65535")
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syslog(text: &str) -> Option<String> {
        SyslogAddress::parse(text).ok().map(|found| found.show())
    }

    fn statsd(text: &str) -> Option<String> {
        StatsdAddress::parse(text).ok().map(|found| found.show())
    }

    #[test]
    fn addresses_of_syslog_are_read_as_by_gunicorn() {
        for (text, expected) in [
            ("udp://localhost:514", "udp://localhost:514"),
            ("udp://", "udp://localhost:514"),
            ("udp://:99", "udp://localhost:99"),
            ("tcp://LOGS.example", "tcp://logs.example:514"),
            ("tcp://[::1]:1514", "tcp://[::1]:1514"),
            ("udp://[fe80::1%eth0]", "udp://[fe80::1%eth0]:514"),
            ("unix:///dev/log", "unix:///dev/log"),
            ("unix:///dev/log#dgram", "unix:///dev/log#dgram"),
            ("unix:///dev/log#stream", "unix:///dev/log"),
            ("unix://relative", "unix://relative"),
        ] {
            assert_eq!(syslog(text).as_deref(), Some(expected), "{text}");
            assert_eq!(syslog(expected).as_deref(), Some(expected));
        }
        for wrong in [
            "",
            "localhost:514",
            "unix:/dev/log",
            "http://x",
            "unix://",
            "unix://#dgram",
            "unix:///dev/log#raw",
            "udp://x:port",
            "udp://x:70000",
            "udp://x:",
            "udp://x:0",
            "udp://a b:1",
            "udp://::1",
            "udp://[::1",
            "udp://[::1]x",
            "tcp://x:1/path",
            "udp://x\n:1",
        ] {
            assert_eq!(syslog(wrong), None, "{wrong}");
        }
        let long = format!("unix:///{}", "x".repeat(107));
        assert_eq!(syslog(&long), None);
    }

    #[test]
    fn addresses_of_statsd_are_read_as_by_gunicorn() {
        for (text, expected) in [
            ("localhost:8125", "localhost:8125"),
            ("localhost", "localhost:8125"),
            ("[::1]:9", "[::1]:9"),
            ("unix:///run/s", "unix:///run/s"),
            ("unix:/run/s", "unix:///run/s"),
            ("unix:8125", "unix:8125"),
        ] {
            assert_eq!(statsd(text).as_deref(), Some(expected), "{text}");
            assert_eq!(statsd(expected).as_deref(), Some(expected));
        }
        for wrong in [
            "",
            " ",
            "unix://",
            "x:y",
            "http://x:1",
            "::1",
            "a b",
            "x:99999",
        ] {
            assert_eq!(statsd(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn text_in_metrics_cannot_end_a_line_or_a_field() {
        for text in ["", "app", "a.b.", "env:prod,service:web shop"] {
            assert_eq!(MetricText::parse(text), Ok(MetricText(text.to_owned())));
        }
        for wrong in ["a\nb:1|c", "x|#y", "\u{e9}", "tab\t", "\0"] {
            assert!(MetricText::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
