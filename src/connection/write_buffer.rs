//! The part of a response that waits to be sent, in order: small parts that are joined, and what
//! the client has not taken yet, so that the worker need not wait for it. The worker sends it, and
//! the I/O thread while the app runs. Each holds the lock while it sends, so that their bytes never
//! mix. A front gets large bodies elsewhere, if nothing waits: in memory.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use rcorn_front_link::SharedBody;

use super::body_block::BodyBlock;
use super::transport::{Flush, Transport};

/// The most bytes of a file that one call sends, because other connections wait for the worker,
/// too.
const MAX_FILE_BYTES_PER_CALL: u64 = 4 << 20;

/// The rest of a file, to be sent after the bytes.
#[derive(Debug)]
pub struct FileRest {
    /// The file.
    pub descriptor: OwnedFd,
    /// Where to continue.
    pub offset: i64,
    /// How many bytes to send.
    pub left: u64,
}

/// The bytes and the file that wait, and what has happened to those before them.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    bytes: Vec<u8>,
    /// How many of these bytes were sent.
    sent: usize,
    file: Option<FileRest>,
    /// Bytes that the kernel took since the connection began.
    taken: u64,
    /// Why the I/O thread could not send: the worker finds it here.
    failed: Option<io::Error>,
    /// Where a front gets large bodies.
    body_block: Option<Box<BodyBlock>>,
}

/// What is left of the parts after a [`WriteBuffer::push`].
pub(crate) enum Pushed<'p, 'b> {
    /// The kernel has taken all.
    Done,
    /// The client takes nothing more at the moment. These parts were not kept.
    Left(&'p mut [IoSlice<'b>]),
}

impl WriteBuffer {
    /// Puts a whole body of at most so many bytes where its front gets it, and gives what must be
    /// sent before the head, which has its length. `None`: the body must be sent.
    pub(crate) fn share(
        &mut self,
        transport: &Transport,
        most: usize,
        parts: impl IntoIterator<Item: AsRef<[u8]>>,
        length: usize,
    ) -> Option<[u8; SharedBody::ENCODED_BYTES]> {
        if !self.is_empty() || self.failed.is_some() {
            return None;
        }
        let block = self.body_block.get_or_insert_default();
        block.put(transport, most, parts, length)
    }

    /// Gives the memory back that a front has the other end of.
    pub(crate) fn drop_memory(&mut self) {
        self.body_block = None;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.file.is_none()
    }

    /// How many bytes wait, without those of the file.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> &[u8] {
        let (_sent, waiting) = self.bytes.split_at(self.sent);
        waiting
    }

    /// Bytes that the kernel took since the connection began.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Keeps these parts, after what waits.
    pub(crate) fn keep(&mut self, parts: &[IoSlice<'_>]) {
        // The sent bytes are removed when they are the larger part, so that each byte is moved once
        // at most.
        if self.sent > self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Keeps a file, after what waits.
    pub(crate) fn keep_file(&mut self, file: FileRest) {
        self.file = Some(file);
    }

    /// Sends what waits and then these parts, as far as is possible without blocking. With
    /// [`Flush::Later`] the kernel may keep a single part.
    pub(crate) fn push<'p, 'b>(
        &mut self,
        transport: &Transport,
        mut parts: &'p mut [IoSlice<'b>],
        flush: Flush,
    ) -> io::Result<Pushed<'p, 'b>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        // Most responses are one piece that the kernel takes at once.
        if self.is_empty()
            && let [one] = &*parts
            && let Ok(sent) = transport.send(one, flush)
        {
            self.count(sent);
            if sent == one.len() {
                return Ok(Pushed::Done);
            }
            IoSlice::advance_slices(&mut parts, sent);
        }
        IoSlice::advance_slices(&mut parts, 0);
        while !(self.waiting().is_empty() && parts.is_empty()) {
            match self.send_some(transport, parts) {
                Ok(sent) => {
                    self.count(sent);
                    let own = sent.min(self.len());
                    self.sent = self.sent.saturating_add(own);
                    IoSlice::advance_slices(&mut parts, sent.saturating_sub(own));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Pushed::Left(parts));
                }
                Err(error) => return Err(error),
            }
        }
        // Most connections now wait for their next request, and need no memory for that.
        (self.bytes, self.sent) = (Vec::new(), 0);
        Ok(if self.push_file(transport)? {
            Pushed::Done
        } else {
            Pushed::Left(parts)
        })
    }

    /// One call: what waits, and the parts after it.
    fn send_some(&self, transport: &Transport, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self.waiting(), parts) {
            ([], [one]) => transport.send(one, Flush::Now),
            ([], several) => transport.send_gathered(several),
            (waiting, []) if self.file.is_some() => transport.send(waiting, Flush::Later),
            (waiting, []) => transport.send(waiting, Flush::Now),
            (waiting, several) => {
                let mut all = vec![IoSlice::new(waiting)];
                all.extend(several.iter().map(|part| IoSlice::new(part)));
                transport.send_gathered(&all)
            }
        }
    }

    /// Sends a part of the file; returns whether nothing of it is left.
    fn push_file(&mut self, transport: &Transport) -> io::Result<bool> {
        let Some(mut file) = self.file.take() else {
            return Ok(true);
        };
        let mut now = MAX_FILE_BYTES_PER_CALL;
        while file.left > 0 && now > 0 {
            let count = usize::try_from(file.left.min(now)).unwrap_or(usize::MAX);
            match transport.send_file(file.descriptor.as_fd(), &mut file.offset, count) {
                // The file has become shorter: the client must not take this for the whole.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    self.count(sent);
                    let sent = wide(sent);
                    file.left = file.left.saturating_sub(sent);
                    now = now.saturating_sub(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let done = file.left == 0;
        if !done {
            self.file = Some(file);
        }
        Ok(done)
    }

    fn count(&mut self, sent: usize) {
        self.taken = self.taken.saturating_add(wide(sent));
    }

    /// Keeps a failure for the next caller that sends.
    pub(crate) fn fail(&mut self, error: io::Error) {
        (self.bytes, self.sent, self.file) = (Vec::new(), 0, None);
        self.failed = Some(error);
    }
}

/// A length as a number of bytes that a connection has moved.
#[expect(
    clippy::as_conversions,
    reason = "usize is never wider than u64 on Linux"
)]
pub(crate) const fn wide(length: usize) -> u64 {
    length as u64
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Transport, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Transport::plain(ours.into()), theirs)
    }

    fn pushed(buffer: &mut WriteBuffer, transport: &Transport, parts: &[&[u8]]) -> bool {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        match buffer.push(transport, &mut slices, Flush::Now).unwrap() {
            Pushed::Done => true,
            Pushed::Left(rest) => {
                buffer.keep(rest);
                false
            }
        }
    }

    #[test]
    fn a_slow_reader_gets_everything_in_order() {
        let (transport, mut client) = pair();
        let (mut buffer, mut expected) = (WriteBuffer::default(), Vec::new());
        // Far more than a socket takes at once, in parts of all sizes.
        for round in 0..300_usize {
            let byte = u8::try_from(round % 251).unwrap();
            let (one, two) = (vec![byte; round * 17 % 9_000], vec![byte ^ 0xff; 3]);
            expected.extend_from_slice(&one);
            expected.extend_from_slice(&two);
            pushed(&mut buffer, &transport, &[&one, b"", &two]);
        }
        assert!(!buffer.is_empty());
        let mut got = vec![0; expected.len()];
        for piece in got.chunks_mut(10_007) {
            client.read_exact(piece).unwrap();
            pushed(&mut buffer, &transport, &[]);
        }
        assert!(buffer.is_empty());
        assert!(got == expected);
        assert_eq!(buffer.taken(), wide(expected.len()));
    }

    #[test]
    fn a_file_follows_the_bytes_and_may_not_be_shorter() {
        let (transport, mut client) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut buffer = WriteBuffer::default();
        buffer.keep(&[IoSlice::new(b"head:")]);
        buffer.keep_file(FileRest {
            descriptor: file.try_clone().unwrap().into(),
            offset: 2,
            left: 5,
        });
        assert!(pushed(&mut buffer, &transport, &[]));
        let mut got = [0; 10];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"head:23456");
        buffer.keep_file(FileRest {
            descriptor: file.into(),
            offset: 8,
            left: 5,
        });
        let error = buffer.push(&transport, &mut [], Flush::Now).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_worker_learns_what_the_helper_thread_met() {
        let (transport, _client) = pair();
        let mut buffer = WriteBuffer::default();
        buffer.keep(&[IoSlice::new(b"lost")]);
        buffer.fail(io::ErrorKind::BrokenPipe.into());
        assert!(buffer.is_empty());
        let error = buffer.push(&transport, &mut [], Flush::Now).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        // Once.
        assert!(pushed(&mut buffer, &transport, &[b"x"]));
    }
}
