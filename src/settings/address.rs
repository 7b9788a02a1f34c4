//! Addresses to listen on. Only their form is checked here; the driver finds out whether a name
//! resolves and a file can be created.

use std::net::Ipv6Addr;
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::refusal::Cause;
use super::value::{Value, text_form};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host, by name or IP address, and a port.
    Tcp {
        /// Without brackets.
        host: String,
        /// Zero lets the kernel choose.
        port: u16,
    },
    /// A socket file.
    Unix(PathBuf),
    /// A socket in Linux's abstract namespace.
    Abstract(String),
    /// An inherited socket.
    Fd(RawFd),
    /// One of the others, with the uwsgi protocol.
    Uwsgi(Box<Self>),
    /// A port or an inherited socket, with TLS.
    Https(Box<Self>),
}

const DEFAULT_PORT: u16 = 8000;

/// What fits into `sun_path`: 108 bytes with the final (or, for abstract ones, the leading) zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The port of an address with TLS.
const HTTPS_PORT: u16 = 443;

/// The prefix of an address with the uwsgi protocol.
const UWSGI: &str = "uwsgi://";
/// The prefix of an address with TLS.
const HTTPS: &str = "https://";

const FORMS: &str = "write 127.0.0.1:8000, :8000 for all interfaces, [::1]:8000 for IPv6, unix:/run/app.sock, \
                     unix:@name or fd://3; https:// before it for TLS, uwsgi:// for the uwsgi protocol";

impl Address {
    /// A host and a port.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp {
            host: host.into(),
            port,
        }
    }

    /// The address without its protocol.
    pub fn socket(&self) -> &Self {
        match self {
            Self::Uwsgi(inner) | Self::Https(inner) => inner.socket(),
            Self::Tcp { .. } | Self::Unix(_) | Self::Abstract(_) | Self::Fd(_) => self,
        }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Https(_))
    }
}

impl Value for Address {
    const NOUN: &'static str = "an address";
    const VALUE_NAME: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        if let Some(inner) = text.strip_prefix(UWSGI) {
            let socket = Self::parse(inner.strip_suffix('/').unwrap_or(inner))?;
            if matches!(socket, Self::Uwsgi(_) | Self::Https(_)) {
                return Err(Cause::because("names the protocol twice", FORMS));
            }
            return Ok(Self::Uwsgi(Box::new(socket)));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return inherited(number);
        }
        if let Some(inner) = text.strip_prefix(HTTPS) {
            return https(inner.strip_suffix('/').unwrap_or(inner));
        }
        match text.split_once("://") {
            Some(("tcp" | "http", rest)) => {
                tcp(rest.strip_suffix('/').unwrap_or(rest), DEFAULT_PORT)
            }
            Some((scheme, _)) => Err(Cause::because(
                format!("has an unknown kind of address, {scheme}"),
                FORMS,
            )),
            None => tcp(text, DEFAULT_PORT),
        }
    }

    /// In `uwsgi://A,B` the protocol of B is not clear. In `B,uwsgi://A` it is that of `-b B`.
    fn check_together(items: &[&str]) -> Result<(), Cause> {
        let has_scheme = |item: &str| {
            [UWSGI, HTTPS, "http://", "tcp://"]
                .iter()
                .any(|scheme| item.starts_with(scheme))
        };
        let mut items = items.iter().map(|item| item.trim());
        let is_special = |item: &&str| item.starts_with(UWSGI) || item.starts_with(HTTPS);
        let Some(special) = items.find(is_special) else {
            return Ok(());
        };
        match items.find(|item| !item.is_empty() && !has_scheme(item)) {
            Some(item) => {
                let (scheme, what) = if special.starts_with(UWSGI) {
                    (UWSGI, "uwsgi")
                } else {
                    (HTTPS, "TLS")
                };
                Err(Cause::because(
                    format!("does not name the protocol of '{item}'"),
                    format!(
                        "write {scheme}{item} for {what}; for HTTP give it separately, in another --bind or item of the list"
                    ),
                ))
            }
            None => Ok(()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            // Two slashes after the colon belong to the form of a URL: a path that begins with two
            // needs them in addition.
            Self::Unix(path) if path.to_string_lossy().starts_with("//") => {
                format!("unix://{}", path.display())
            }
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Abstract(name) => format!("unix:@{name}"),
            Self::Fd(fd) => format!("fd://{fd}"),
            Self::Uwsgi(socket) => format!("{UWSGI}{}", socket.show()),
            Self::Https(socket) => format!("{HTTPS}{}", socket.show()),
        }
    }
}

text_form!(Address);

fn unix(path: &str) -> Result<Address, Cause> {
    // `unix:///run/x` is a URL; gunicorn also accepts `unix://x` for `unix:x`.
    let path = path.strip_prefix("//").unwrap_or(path);
    let name = path.strip_prefix('@');
    if name.unwrap_or(path).is_empty() {
        return Err(Cause::because(
            "names no file after 'unix:'",
            "write unix:/run/app.sock",
        ));
    }
    if path.contains('\0') {
        return Err(Cause::because(
            "has a zero byte in it",
            "an abstract socket is written as unix:@name",
        ));
    }
    if name.unwrap_or(path).len() > MAX_SOCKET_PATH_BYTES {
        let what = format!(
            "is longer than the {MAX_SOCKET_PATH_BYTES} bytes that a socket's name may have"
        );
        return Err(Cause::because(
            what,
            "choose a shorter one, below /run for instance",
        ));
    }
    Ok(name.map_or_else(
        || Address::Unix(PathBuf::from(path)),
        |name| Address::Abstract(name.to_owned()),
    ))
}

fn inherited(number: &str) -> Result<Address, Cause> {
    match number.parse::<RawFd>() {
        Ok(fd) if fd >= 0 && !number.starts_with('+') => Ok(Address::Fd(fd)),
        Ok(_) | Err(_) => Err(Cause::because(
            "names no descriptor after 'fd://'",
            "write the number of an inherited socket: fd://3",
        )),
    }
}

/// Unix sockets are for proxies on the same machine, which need no TLS.
fn https(text: &str) -> Result<Address, Cause> {
    let socket = if let Some(number) = text.strip_prefix("fd://") {
        inherited(number)?
    } else if text.starts_with("unix:") || text.contains("://") {
        return Err(Cause::because(
            "has no port to speak TLS on",
            "write https://127.0.0.1:8443, https://:443 or https://fd://3",
        ));
    } else {
        tcp(text, HTTPS_PORT)?
    };
    Ok(Address::Https(Box::new(socket)))
}

fn tcp(text: &str, default_port: u16) -> Result<Address, Cause> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((host, rest)) = bracketed.split_once(']') else {
            return Err(Cause::because("has no closing bracket", "write [::1]:8000"));
        };
        // A zone (`%eth0`) belongs to link-local addresses and is resolved with the name.
        let number = host.split_once('%').map_or(host, |(number, _zone)| number);
        if number.parse::<Ipv6Addr>().is_err() {
            return Err(Cause::because(
                "has no IPv6 address between its brackets",
                "write [::1]:8000",
            ));
        }
        let port = match rest.strip_prefix(':') {
            Some(port) => port_of(port)?,
            None if rest.is_empty() => default_port,
            None => {
                return Err(Cause::because(
                    "goes on after the bracket without a colon",
                    "write [::1]:8000",
                ));
            }
        };
        return Ok(Address::tcp(host.to_ascii_lowercase(), port));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        let hint = format!("IPv6 addresses stand in brackets: [{text}]:{default_port}");
        return Err(Cause::because("is an IPv6 address without brackets", hint));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (text, default_port),
    };
    if host.is_empty() {
        if text.is_empty() {
            return Err(Cause::because("is empty", FORMS));
        }
        return Ok(Address::tcp("0.0.0.0", port));
    }
    if host.contains('/') {
        return Err(Cause::because(
            "looks like a path",
            format!("a socket file is written as unix:{text}"),
        ));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Cause::because(
            "has a number for a host",
            format!("to give only a port, write :{host}"),
        ));
    }
    let fits = |sign: char| sign.is_alphanumeric() || matches!(sign, '.' | '-' | '_');
    if let Some(sign) = host.chars().find(|sign| !fits(*sign)) {
        return Err(Cause::because(
            format!("has '{}' in the name of the host", sign.escape_default()),
            FORMS,
        ));
    }
    Ok(Address::tcp(host.to_lowercase(), port))
}

fn port_of(text: &str) -> Result<u16, Cause> {
    if text.is_empty() {
        return Err(Cause::because("has no port after the colon", FORMS));
    }
    match text.parse() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        Ok(_) | Err(_) => Err(Cause::because(
            "has no valid port",
            "a port is a number from 0 to 65535",
        )),
    }
}
