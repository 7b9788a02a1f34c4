//! Messages on the link, a stream socket: a length of four bytes, the highest first, then JSON. The
//! descriptors of a message come with its first byte (`SCM_RIGHTS`, unix(7)).
//!
//! [`Writer`] and [`Reader`] never wait; who may wait uses [`send`] and [`receive`].

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rcorn_sys::passing::{MAX_DESCRIPTORS, receive_many, send_many};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, in bytes: certificates of some thousand sites.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The length before a message, in bytes.
const LENGTH_BYTES: usize = 4;

/// What is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// A message as it is sent.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// They go with the first byte.
    descriptors: Vec<OwnedFd>,
}

/// Sends messages through a socket that may be full.
#[derive(Default)]
pub struct Writer {
    queue: VecDeque<Outgoing>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("messages", &self.queue.len())
            .finish()
    }
}

impl Writer {
    /// Queues a message, and the descriptors that go with it.
    ///
    /// # Errors
    ///
    /// It is longer than [`MAX_MESSAGE_BYTES`], or has more descriptors than one message can have.
    pub fn push(&mut self, message: &impl Serialize, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::other(format!(
                "{} descriptors are more than a message can have ({MAX_DESCRIPTORS}); \
                 hint: listen on fewer addresses",
                descriptors.len()
            )));
        }
        let bytes = framed(message)?;
        self.queue.push_back(Outgoing {
            bytes,
            sent: 0,
            descriptors,
        });
        Ok(())
    }

    /// Sends what the socket takes, without waiting. Returns whether nothing is left.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2): the other side is gone.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while let Some(message) = self.queue.front_mut() {
            let (_sent, rest) = message.bytes.split_at(message.sent);
            let descriptors = message.descriptors.iter().map(AsFd::as_fd);
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.collect();
            match send_many(socket, &[IoSlice::new(rest)], &descriptors) {
                Ok(sent) => {
                    message.sent = message.sent.saturating_add(sent);
                    message.descriptors.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if message.sent >= message.bytes.len() {
                self.queue.pop_front();
            }
        }
        Ok(true)
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Receives messages from a socket that may be empty.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All that was there is in the buffer; there may be messages.
    Drained,
    /// The other side has closed the link. There may be messages from before.
    Closed,
}

impl Reader {
    /// Reads what is there, without waiting.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2); `OutOfMemory` if there was no room for a descriptor.
    pub fn read(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        let mut part = vec![0; READ_BYTES];
        loop {
            match receive_many(socket, &mut part, &mut self.descriptors) {
                Ok(None) => return Ok(Received::Drained),
                Ok(Some(0)) => return Ok(Received::Closed),
                Ok(Some(length)) => {
                    self.buffer
                        .extend_from_slice(part.get(..length).unwrap_or(&part));
                }
                // The other side had unread messages.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Received::Closed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next complete message. Descriptors are those that have come since the last one with
    /// some: who sends descriptors waits for the answer before it sends more.
    ///
    /// # Errors
    ///
    /// It is not a message of this kind. Nothing after it can be trusted.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            let what = format!("a message of {length} bytes is too long");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let Some(text) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(text)?;
        self.buffer.drain(..length.saturating_add(LENGTH_BYTES));
        Ok(Some((message, std::mem::take(&mut self.descriptors))))
    }
}

/// Sends a message, and waits until the socket has taken it.
///
/// # Errors
///
/// Those of sendmsg(2): the other side is gone; those of [`Writer::push`].
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: Vec<OwnedFd>,
) -> io::Result<()> {
    let mut writer = Writer::default();
    writer.push(message, descriptors)?;
    while !writer.flush(socket)? {
        wait(socket, PollFlags::POLLOUT)?;
    }
    Ok(())
}

/// Waits for a message; `None` if the link has closed.
///
/// # Errors
///
/// Those of [`Reader::read`] and [`Reader::take`].
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    reader: &mut Reader,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    loop {
        if let Some(message) = reader.take()? {
            return Ok(Some(message));
        }
        wait(socket, PollFlags::POLLIN)?;
        if reader.read(socket)? == Received::Closed {
            return reader.take();
        }
    }
}

fn wait(socket: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(socket, events)], PollTimeout::NONE) {
            Ok(_ready) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The bytes of a message.
fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len().saturating_sub(LENGTH_BYTES);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other(format!(
            "a message of {length} bytes is too long ({MAX_MESSAGE_BYTES}); \
             hint: configure fewer certificates"
        )));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    if let Some(place) = bytes.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;
    use crate::{
        Configuration, Descriptor, FromFront, FrontListener, ListenerKind, Start, TicketKey, Tls,
        TlsSite, ToFront,
    };

    fn memfd(text: &str) -> OwnedFd {
        let mut file = File::from(memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file.into()
    }

    fn text_of(descriptor: OwnedFd) -> String {
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).unwrap();
        text
    }

    fn start(certificate: Vec<u8>) -> ToFront {
        ToFront::Start(Box::new(Start {
            configuration: Configuration {
                tls: Some(Tls {
                    sites: vec![TlsSite {
                        certificate,
                        key: b"\0\xff".to_vec(),
                        ocsp: Some(vec![1]),
                        ..TlsSite::default()
                    }],
                    ..Tls::default()
                }),
                ticket_keys: vec![TicketKey {
                    secret: vec![9; 32],
                }],
                ..Configuration::default()
            },
            listeners: vec![FrontListener {
                address: "127.0.0.1:443".to_owned(),
                kind: ListenerKind::Https,
            }],
            descriptors: vec![Descriptor::Listener, Descriptor::Inner],
            ..Start::default()
        }))
    }

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let descriptors = vec![memfd("listener"), memfd("inner")];
        send(ours.as_fd(), &start(vec![7]), descriptors).unwrap();
        send(ours.as_fd(), &ToFront::Drain { seconds: 3 }, Vec::new()).unwrap();
        drop(ours);
        let mut reader = Reader::default();
        let (message, descriptors) = receive(theirs.as_fd(), &mut reader).unwrap().unwrap();
        assert_eq!(start(vec![7]), message);
        let texts: Vec<String> = descriptors.into_iter().map(text_of).collect();
        assert_eq!(texts, ["listener", "inner"]);
        let (message, descriptors) = receive(theirs.as_fd(), &mut reader).unwrap().unwrap();
        assert_eq!(ToFront::Drain { seconds: 3 }, message);
        assert!(descriptors.is_empty());
        let end: Option<(ToFront, _)> = receive(theirs.as_fd(), &mut reader).unwrap();
        assert!(end.is_none());
    }

    /// Longer than the socket's buffer: neither side waits, and the descriptors come once.
    #[test]
    fn a_long_message_goes_in_parts() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let message = start(vec![b'x'; 3_000_000]);
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        writer.push(&message, vec![memfd("one")]).unwrap();
        let mut rounds = 0;
        let (received, descriptors) = loop {
            writer.flush(ours.as_fd()).unwrap();
            assert_eq!(reader.read(theirs.as_fd()).unwrap(), Received::Drained);
            rounds += 1;
            if let Some(received) = reader.take::<ToFront>().unwrap() {
                break received;
            }
        };
        assert!(rounds > 1);
        assert!(writer.is_empty());
        assert_eq!(received, message);
        assert_eq!(descriptors.len(), 1);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&b"\0\0\0\x02{}"[..], b"\xff\xff\xff\xff", b"\0\0\0\0"] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            let mut reader = Reader::default();
            receive::<ToFront>(theirs.as_fd(), &mut reader).unwrap_err();
        }
        // Half a message is none.
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"\0\0\0\x08\"Sta").unwrap();
        drop(ours);
        let received = receive::<ToFront>(theirs.as_fd(), &mut Reader::default()).unwrap();
        assert!(received.is_none());
    }

    #[test]
    fn the_form_is_what_other_builds_read() {
        let text = |message: &FromFront| serde_json::to_string(message).unwrap();
        let log = FromFront::Log {
            level: rcorn_types::Level::Warning,
            text: "x".to_owned(),
        };
        assert_eq!(text(&log), r#"{"Log":{"level":"warning","text":"x"}}"#);
        let ready: FromFront = serde_json::from_str(r#"{"Ready":{}}"#).unwrap();
        let certificates = Vec::new();
        assert_eq!(ready, FromFront::Ready { certificates });
        // What a build has sent that knows nothing but this.
        let least = r#"{"Start":{"configuration":{},"listeners":[],"descriptors":["Inner"]}}"#;
        let ToFront::Start(start) = serde_json::from_str(least).unwrap() else {
            panic!("not a start");
        };
        assert_eq!(start.configuration, Configuration::default());
        assert_eq!(start.descriptors, [Descriptor::Inner]);
        let keys = r#"{"TicketKeys":[{"secret":"Zm9v"}]}"#;
        let keys: ToFront = serde_json::from_str(keys).unwrap();
        let secret = b"foo".to_vec();
        assert_eq!(keys, ToFront::TicketKeys(vec![TicketKey { secret }]));
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let shown = format!("{:?}", start(vec![7]));
        assert!(shown.contains("TicketKey"), "{shown}");
        assert!(!shown.contains("255") && !shown.contains(", 9,"), "{shown}");
    }
}
