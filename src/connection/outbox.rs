//! What of a reply waits to be sent, in order: small parts that are put together, and what the client has not taken
//! yet, so that the worker can go on without it. Emptied by the worker, and by its deputy while the app runs; each
//! holds the lock while it sends, so that their bytes never mix.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rcorn_sys::net;

/// The most bytes of a file that one call sends: others wait for the worker too.
const FILE_PIECE: u64 = 4 << 20;

/// The rest of a file, to be sent behind the bytes.
#[derive(Debug)]
pub struct FileRest {
    /// The file.
    pub descriptor: OwnedFd,
    /// Where to go on.
    pub offset: i64,
    /// How many bytes to send.
    pub left: u64,
}

/// When the kernel sends what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// At once.
    #[default]
    Now,
    /// When it is told to ([`net::flush`]), or after 200 ms (tcp(7), `TCP_CORK`).
    Later,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// So many of them were sent.
    at: usize,
    file: Option<FileRest>,
    /// What the kernel took since the connection began.
    taken: u64,
    /// Why the deputy could not go on: the worker learns of it here.
    failed: Option<io::Error>,
}

impl Outbox {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len() && self.file.is_none()
    }

    /// How many bytes wait, without the file's.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// What the kernel took since the connection began.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Lets these wait behind what is here.
    pub fn keep(&mut self, parts: &[IoSlice<'_>]) {
        // What was sent makes room when it is the larger part: each byte is moved once at most.
        if self.at > self.len() {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Lets a file wait behind what is here.
    pub fn keep_file(&mut self, file: FileRest) {
        self.file = Some(file);
    }

    /// Sends what waits and then these, as far as it goes without waiting. Gives what is left of `parts`, and `true`
    /// when all is out. With [`Flush::Later`] the kernel may keep a single part.
    pub fn push<'p, 'b>(
        &mut self,
        socket: BorrowedFd<'_>,
        mut parts: &'p mut [IoSlice<'b>],
        flush: Flush,
    ) -> io::Result<(bool, &'p mut [IoSlice<'b>])> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        // Most replies are one piece that the kernel takes at once.
        if self.is_empty()
            && let [one] = &*parts
            && let Ok(sent) = net::send(socket, one, flush == Flush::Later)
        {
            self.count(sent);
            if sent == one.len() {
                return Ok((true, &mut []));
            }
            IoSlice::advance_slices(&mut parts, sent);
        }
        IoSlice::advance_slices(&mut parts, 0);
        loop {
            let sent = match (self.bytes.get(self.at..).unwrap_or(&[]), &*parts) {
                ([], []) => break,
                ([], [one]) => net::send(socket, one, false),
                ([], several) => net::send_gathered(socket, several),
                (waiting, []) => net::send(socket, waiting, self.file.is_some()),
                (waiting, several) => {
                    let mut all = Vec::with_capacity(several.len().saturating_add(1));
                    all.push(IoSlice::new(waiting));
                    all.extend(several.iter().map(|part| IoSlice::new(part)));
                    net::send_gathered(socket, &all)
                }
            };
            match sent {
                Ok(sent) => {
                    self.count(sent);
                    let own = sent.min(self.len());
                    self.at = self.at.saturating_add(own);
                    IoSlice::advance_slices(&mut parts, sent.saturating_sub(own));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((false, parts));
                }
                Err(error) => return Err(error),
            }
        }
        // Most connections wait for their next request now: no memory for them.
        (self.bytes, self.at) = (Vec::new(), 0);
        Ok((self.push_file(socket)?, parts))
    }

    /// Sends some of the file.
    fn push_file(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(mut file) = self.file.take() else {
            return Ok(true);
        };
        let mut now = FILE_PIECE;
        while file.left > 0 && now > 0 {
            let piece = usize::try_from(file.left.min(now)).unwrap_or(0);
            let source = file.descriptor.as_fd();
            match nix::sys::sendfile::sendfile(socket, source, Some(&mut file.offset), piece) {
                // Shorter than it was: the client must not take this for all of it.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    self.count(sent);
                    let sent = u64::try_from(sent).unwrap_or(u64::MAX);
                    file.left = file.left.saturating_sub(sent);
                    now = now.saturating_sub(sent);
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        let done = file.left == 0;
        if !done {
            self.file = Some(file);
        }
        Ok(done)
    }

    fn count(&mut self, sent: usize) {
        let sent = u64::try_from(sent).unwrap_or(u64::MAX);
        self.taken = self.taken.saturating_add(sent);
    }

    /// Leaves a failure for whoever sends next.
    pub fn fail(&mut self, error: io::Error) {
        (self.bytes, self.at, self.file) = (Vec::new(), 0, None);
        self.failed = Some(error);
    }
}
