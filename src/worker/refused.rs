//! A refused request as the log describes it: its client, what is wrong, what it looks like, and
//! how it begins.

use std::fmt;

use rcorn_connection::WireProtocol;
use rcorn_http::{Guess, Packet, Refusal, field_in, first_line, forwarded_for};
use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_wsgi::Variables;

use super::connection::Connection;
use super::request::{Request, RequestOrigin};
use super::request_id;
use super::rules::Rules;

/// The maximum number of bytes of a request that one record of the log shows.
const MAX_SHOWN_BYTES: usize = 120;

/// What was received of a request that is refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Received<'a> {
    /// The first bytes.
    bytes: &'a [u8],
    /// The method is HEAD, so the response has no body.
    pub(super) is_head: bool,
    /// The protocol is uwsgi, and the bytes are a packet.
    is_packet: bool,
    /// The request line that a proxy has sent as variables.
    line: Option<Vec<u8>>,
    /// The client that a proxy names.
    client: Option<&'a [u8]>,
    /// The id that a trusted proxy has given it.
    pub(super) id: Option<&'a [u8]>,
}

impl<'a> Received<'a> {
    /// A head, or what should have been one. A proxy that is trusted, or connected through a unix
    /// socket, may name the client in it.
    pub(super) fn head(rules: &Rules, connection: &Connection, bytes: &'a [u8]) -> Self {
        let is_trusted = connection.is_on(&rules.settings.forwarded_allow_ips);
        Self {
            bytes,
            is_head: begins_with_head(rules, bytes),
            client: forwarded_for(bytes).filter(|_| is_trusted),
            id: field_in(bytes, request_id::FIELD).filter(|_| is_trusted),
            ..Self::default()
        }
    }

    /// A uwsgi packet, as far as it was parsed.
    pub(super) fn packet(
        settings: &Settings,
        connection: &Connection,
        bytes: &'a [u8],
        packet: &'a Packet,
    ) -> Self {
        let is_trusted = connection.is_on(&settings.forwarded_allow_ips);
        let variables = Variables {
            bytes,
            list: &packet.variables,
        };
        let line = [&b"REQUEST_METHOD"[..], b"REQUEST_URI", b"SERVER_PROTOCOL"];
        let line: Vec<&[u8]> = line.iter().filter_map(|name| variables.get(name)).collect();
        Self {
            bytes,
            is_head: variables.get(b"REQUEST_METHOD") == Some(b"HEAD"),
            is_packet: is_packet(bytes),
            line: (!line.is_empty()).then(|| line.join(&b' ')),
            client: variables.get(b"REMOTE_ADDR"),
            id: variables.get(b"HTTP_X_REQUEST_ID").filter(|_| is_trusted),
        }
    }

    /// A request whose head was accepted.
    pub(super) fn request(request: &'a Request<'a>) -> Self {
        Self {
            bytes: request.line(),
            is_head: request.is_head(),
            client: match request.origin {
                RequestOrigin::Packet(_) => Some(request.peer.as_bytes()),
                RequestOrigin::Client | RequestOrigin::Front(_) => None,
            },
            ..Self::default()
        }
    }

    /// A request that did not arrive in time.
    pub(super) fn partial(rules: &Rules, connection: &'a Connection) -> Self {
        let bytes = connection.buffer.as_slice();
        match connection.protocol() {
            WireProtocol::Http | WireProtocol::Front => Self::head(rules, connection, bytes),
            WireProtocol::Uwsgi => Self {
                bytes,
                is_packet: is_packet(bytes),
                ..Self::default()
            },
        }
    }

    /// Bytes that are no request, such as a PROXY header.
    pub(super) fn bytes(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// The client that a proxy names.
    pub(super) fn named_client(&self) -> Option<&'a [u8]> {
        self.client
    }

    /// The request line, or the first line of what should have been one.
    pub(super) fn line(&self) -> &[u8] {
        self.line.as_deref().unwrap_or(first_line(self.bytes))
    }

    /// The client, for `ip=`: whom the proxy names, or the peer.
    pub(super) fn client(&self, connection: &Connection) -> String {
        let peer = connection.client_address();
        match (self.client, &*peer) {
            (Some(client), _) => log::escaped(shown(client)).to_string(),
            (None, "") => "unix socket".to_owned(),
            (None, peer) => peer.to_owned(),
        }
    }

    /// What follows the reason of the refusal: what the request looks like, and its beginning.
    pub(super) fn about(&self, refusal: Refusal) -> About<'_> {
        About {
            guess: Guess::of(self.bytes, refusal).filter(|_| !self.is_packet),
            line: self.line(),
        }
    }
}

/// The end of a log record about a refused request.
#[derive(Debug)]
pub(super) struct About<'a> {
    guess: Option<Guess>,
    line: &'a [u8],
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(guess) = self.guess {
            write!(f, "; it looks like {guess}")?;
        }
        if !self.line.is_empty() {
            let cut = if self.line.len() > MAX_SHOWN_BYTES {
                "..."
            } else {
                ""
            };
            write!(
                f,
                "; it begins with '{}{cut}'",
                log::escaped(shown(self.line))
            )?;
        }
        Ok(())
    }
}

/// Whether the method is HEAD. The rest of the request may be missing, or be nonsense: its client
/// reads no body all the same (RFC 9110 section 9.3.2).
fn begins_with_head(rules: &Rules, bytes: &[u8]) -> bool {
    let mut words = first_line(bytes).splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(_target)) = (words.next(), words.next()) else {
        return false;
    };
    method == b"HEAD" || rules.settings.casefold_http_method && method.eq_ignore_ascii_case(b"HEAD")
}

/// Whether this begins like a packet with a WSGI request (modifier1 0).
fn is_packet(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0)
}

/// The part that the log shows.
fn shown(bytes: &[u8]) -> &[u8] {
    let (shown, _rest) = bytes.split_at(bytes.len().min(MAX_SHOWN_BYTES));
    shown
}
