//! Messages on their way to the syslog server: kept while it takes none, up to a limit.

use std::collections::VecDeque;
use std::time::Duration;

use mio::{Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use rcorn_settings::{SyslogAddress, UnixKind, Value as _};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::outlet::{Outlet, Place, Sent, Transport};

/// How many bytes of messages are kept.
const MAX_KEPT_BYTES: usize = 1024 * 1024;
/// What a kept message costs beside its bytes.
const MESSAGE_COST_BYTES: usize = 64;
/// Messages sent in one turn of the loop: the arbiter has other things to do.
const MAX_SENT: usize = 512;

/// The messages and the connection.
#[derive(Debug)]
pub(super) struct Syslog {
    pub(super) address: SyslogAddress,
    outlet: Outlet,
    messages: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    /// The first message, as the transport needs it, and how much of it is sent.
    current: Option<(Vec<u8>, usize)>,
}

impl Syslog {
    pub(super) fn new(address: &SyslogAddress) -> Self {
        let place = match address {
            SyslogAddress::Unix(path, kind) => Place::Unix {
                path: path.clone(),
                or_stream: *kind == UnixKind::Any,
            },
            SyslogAddress::Udp(host, port) => Place::Udp(host.clone(), *port),
            SyslogAddress::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        };
        Self {
            address: address.clone(),
            outlet: Outlet::new("syslog", address.show(), place),
            messages: VecDeque::new(),
            kept_bytes: 0,
            current: None,
        }
    }

    /// Whether there is room for another message.
    pub(super) fn has_room(&self) -> bool {
        self.kept_bytes < MAX_KEPT_BYTES
    }

    /// Keeps a message until it is sent.
    pub(super) fn add(&mut self, message: &[u8]) {
        if self.has_room() {
            self.kept_bytes = self.kept_bytes.saturating_add(cost(message));
            self.messages.push_back(message.to_vec());
        } else {
            self.outlet.lose(1);
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.outlet.deadline()
    }

    /// Sends what can be sent now; whether there is more that could be.
    pub(super) fn advance(&mut self, now: Monotonic, registry: &Registry, token: Token) -> bool {
        let before = self.outlet.transport();
        self.outlet.advance(now, registry, token);
        if self.outlet.transport() != before {
            // What was sent in part is sent again, on a new connection.
            self.take_back();
        }
        self.send(now)
    }

    fn take_back(&mut self) {
        if let Some((framed, _)) = self.current.take() {
            // Its end is added again.
            let message = framed.get(..framed.len().saturating_sub(1));
            let message = message.unwrap_or_default().to_vec();
            self.kept_bytes = self.kept_bytes.saturating_add(cost(&message));
            self.messages.push_front(message);
        }
    }

    fn send(&mut self, now: Monotonic) -> bool {
        for _ in 0..MAX_SENT {
            let Some(transport) = self.outlet.transport() else {
                return false;
            };
            let (framed, done) = match self.current.take() {
                Some(current) => current,
                None => match self.messages.pop_front() {
                    Some(message) => {
                        self.kept_bytes = self.kept_bytes.saturating_sub(cost(&message));
                        (frame(message, transport), 0)
                    }
                    None => return false,
                },
            };
            let rest = framed.get(done..).unwrap_or_default();
            match self.outlet.send(rest, now) {
                Sent::Bytes(count) if count < rest.len() && transport != Transport::Datagram => {
                    self.current = Some((framed, done.saturating_add(count)));
                }
                Sent::Bytes(_) => {}
                // The server has refused the one before; this one is sent again.
                Sent::Refused => {
                    self.outlet.lose(1);
                    self.current = Some((framed, done));
                }
                Sent::TooLong => self.outlet.lose(1),
                Sent::NoRoom => {
                    self.current = Some((framed, done));
                    return false;
                }
                Sent::Down => {
                    self.current = Some((framed, done));
                    self.take_back();
                    return false;
                }
            }
        }
        true
    }

    /// Sends what is left at the end of the process, at most for so long.
    pub(super) fn finish(&mut self, limit: Duration) {
        let until = clock::now().after(limit);
        loop {
            let now = clock::now();
            let more = self.send(now);
            let is_empty = self.messages.is_empty() && self.current.is_none();
            let left = until.since(now);
            if is_empty || left.is_zero() {
                return;
            }
            let (false, Some(socket)) = (more, self.outlet.socket()) else {
                if more {
                    continue;
                }
                return;
            };
            let mut room = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if poll(&mut room, left).is_err() {
                return;
            }
        }
    }
}

const fn cost(message: &[u8]) -> usize {
    message.len().saturating_add(MESSAGE_COST_BYTES)
}

/// A message with its end. In a stream nothing else may look like an end.
fn frame(mut message: Vec<u8>, transport: Transport) -> Vec<u8> {
    match transport {
        // As Python's SysLogHandler and syslog(3) end it.
        Transport::Datagram => message.push(0),
        Transport::UnixStream => {
            escape(&mut message);
            message.push(0);
        }
        // RFC 6587 section 3.4.2.
        Transport::Tcp => {
            escape(&mut message);
            message.push(b'\n');
        }
    }
    message
}

/// Writes control characters as rsyslog does: `#` and three octal digits.
fn escape(message: &mut Vec<u8>) {
    if !message.iter().any(|byte| *byte < b' ' && *byte != b'\t') {
        return;
    }
    let mut escaped = Vec::with_capacity(message.len().saturating_mul(2));
    for byte in std::mem::take(message) {
        if byte < b' ' && byte != b'\t' {
            escaped.extend(format!("#{byte:03o}").bytes());
        } else {
            escaped.push(byte);
        }
    }
    *message = escaped;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_end_and_nothing_in_it_looks_like_one() {
        let framed = |text: &[u8], transport| frame(text.to_vec(), transport);
        let text = b"<11>a: [1] one\n\ttwo\0three\r";
        assert_eq!(
            framed(text, Transport::Datagram),
            b"<11>a: [1] one\n\ttwo\0three\r\0"
        );
        assert_eq!(
            framed(text, Transport::Tcp),
            b"<11>a: [1] one#012\ttwo#000three#015\n"
        );
        assert_eq!(
            framed(text, Transport::UnixStream),
            b"<11>a: [1] one#012\ttwo#000three#015\0"
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let address = SyslogAddress::parse("unix:///nonexistent/log")
            .ok()
            .unwrap();
        let mut syslog = Syslog::new(&address);
        for _ in 0..100_000 {
            syslog.add(&[b'x'; 200]);
        }
        assert!(!syslog.has_room());
        assert!(syslog.messages.len() < 4000 && syslog.kept_bytes < MAX_KEPT_BYTES + 300);
    }
}
