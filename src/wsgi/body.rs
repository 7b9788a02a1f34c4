//! The body of one request: the bytes that were received with the head, then those of the
//! connection, decoded by its framing. It never yields a byte of the next request, and a partial
//! body never looks complete. It never blocks: the reader (`wsgi::input`) waits.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use rcorn_http::{ChunkedDecoder, Refusal};

use rcorn_connection::{Channel, Lost, WaitProgress};

/// The most bytes that one read of the socket asks for.
const READ_BYTES: usize = 64 * 1024;
/// How often the socket is read to find the end of a body that the app has not read.
const MAX_DRAIN_READS: u64 = 4;
/// If more than this is unread when the response begins, the response says that the connection will
/// be closed.
pub(super) const MAX_DRAIN_BYTES: u64 = MAX_DRAIN_READS * 64 * 1024;

/// The result of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// More decoded bytes.
    Got,
    /// The body is complete.
    End,
    /// Nothing yet: wait for the connection.
    Wait,
}

/// Why the rest of a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection failed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The client closed before the body was complete.
    #[error("the client left in the middle of the request body ({0} bytes had come)")]
    Torn(u64),
    /// The chunked framing is broken.
    #[error("the request body is malformed: {0}")]
    Malformed(Refusal),
    /// The request is over; the app kept `wsgi.input`.
    #[error("wsgi.input was read after its request had ended")]
    Over,
}

#[derive(Debug)]
enum Framing {
    /// This many bytes must still arrive.
    Length(u64),
    /// In chunks: undecoded bytes, and how far they are decoded.
    Chunked {
        decoder: Box<ChunkedDecoder>,
        wire: Vec<u8>,
        at: usize,
        done: bool,
    },
}

/// One request's body.
#[derive(Debug)]
pub struct Body {
    /// The whole body, as the object that a `read()` of everything returns; then `decoded` is
    /// empty.
    whole: Option<Py<PyBytes>>,
    decoded: Vec<u8>,
    at: usize,
    framing: Framing,
    channel: Option<Channel>,
    /// Decoded bytes so far.
    total: u64,
    /// The error in the framing.
    malformed: Option<Refusal>,
    /// The progress of the client.
    progress: WaitProgress,
}

impl Body {
    /// A body that was received to its end.
    #[must_use]
    pub fn whole(py: Python<'_>, bytes: &[u8], channel: Channel) -> Self {
        let mut body = Self::with_length(Vec::new(), 0, channel);
        body.total = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        body.whole = Some(PyBytes::new(py, bytes).unbind());
        body
    }

    /// All of it at once, if nothing was read yet and it is at most `limit` long. Most apps read it
    /// in this way, and no byte is copied again.
    pub fn take_whole<'py>(&mut self, py: Python<'py>, limit: u64) -> Option<Bound<'py, PyBytes>> {
        let whole = self.whole.take()?.into_bound(py);
        let length = u64::try_from(whole.as_bytes().len()).unwrap_or(u64::MAX);
        if length <= limit {
            return Some(whole);
        }
        self.decoded.extend_from_slice(whole.as_bytes());
        None
    }

    /// A body of known length. `first`: what was received of it with the head.
    #[must_use]
    pub fn with_length(first: Vec<u8>, length: u64, channel: Channel) -> Self {
        let here = u64::try_from(first.len()).unwrap_or(u64::MAX);
        let to_come = length.saturating_sub(here);
        channel.owe_body(to_come);
        let framing = Framing::Length(to_come);
        Self {
            whole: None,
            decoded: first,
            at: 0,
            framing,
            channel: Some(channel),
            total: here,
            malformed: None,
            progress: WaitProgress::default(),
        }
    }

    /// A chunked body; `first` was received with the head, and is undecoded.
    #[must_use]
    pub fn chunked(first: Vec<u8>, decoder: ChunkedDecoder, channel: Channel) -> Self {
        let decoder = Box::new(decoder);
        let framing = Framing::Chunked {
            decoder,
            wire: first,
            at: 0,
            done: false,
        };
        Self {
            whole: None,
            decoded: Vec::new(),
            at: 0,
            framing,
            channel: Some(channel),
            total: 0,
            malformed: None,
            progress: WaitProgress::default(),
        }
    }

    /// Decoded bytes so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes the progress of the client; [`Self::waited`] gives it back.
    pub fn progress(&mut self) -> WaitProgress {
        std::mem::take(&mut self.progress)
    }

    /// Gives the progress back after a wait.
    pub fn waited(&mut self, progress: WaitProgress) {
        self.progress = progress;
    }

    /// The error in the framing, if there was one.
    #[must_use]
    pub fn malformed(&self) -> Option<Refusal> {
        self.malformed
    }

    /// Decoded bytes that were not taken yet.
    #[must_use]
    pub fn available(&self) -> &[u8] {
        self.decoded.get(self.at..).unwrap_or(&[])
    }

    /// Moves available bytes into `buffer`; returns how many.
    pub fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let here = self.available();
        let count = here.len().min(buffer.len());
        let ((to, _), (from, _)) = (buffer.split_at_mut(count), here.split_at(count));
        to.copy_from_slice(from);
        self.take(count);
        count
    }

    /// Drops `count` of the available bytes.
    pub fn take(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.decoded.len());
        if self.at == self.decoded.len() {
            self.decoded.clear();
            self.at = 0;
        }
    }

    /// How many bytes are left, if that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match &self.framing {
            Framing::Length(to_come) => {
                Some(to_come.saturating_add(u64::try_from(self.available().len()).unwrap_or(0)))
            }
            Framing::Chunked { .. } => None,
        }
    }

    /// The connection, unless the request is over.
    ///
    /// # Errors
    ///
    /// [`BodyError::Over`].
    pub fn channel(&self) -> Result<Channel, BodyError> {
        self.channel.clone().ok_or(BodyError::Over)
    }

    /// Whether all of the body has been decoded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match &self.framing {
            Framing::Length(to_come) => *to_come == 0,
            Framing::Chunked { done, .. } => *done && self.malformed.is_none(),
        }
    }

    /// Receives more bytes without blocking.
    ///
    /// # Errors
    ///
    /// The connection failed, the client left, or the framing is malformed.
    pub fn pull(&mut self) -> Result<Pull, BodyError> {
        let channel = self.channel()?;
        if let Some(refusal) = self.malformed {
            return Err(BodyError::Malformed(refusal));
        }
        let before = self.decoded.len();
        match &mut self.framing {
            Framing::Length(0) | Framing::Chunked { done: true, .. } => return Ok(Pull::End),
            Framing::Length(to_come) => {
                let room = usize::try_from(*to_come)
                    .unwrap_or(usize::MAX)
                    .min(READ_BYTES);
                let got = receive(&channel, &mut self.decoded, room, self.total)?;
                let Some(got) = got else {
                    return Ok(Pull::Wait);
                };
                *to_come = to_come.saturating_sub(got);
                channel.owe_body(*to_come);
                self.total = self.total.saturating_add(got);
                return Ok(Pull::Got);
            }
            Framing::Chunked {
                decoder,
                wire,
                at,
                done,
            } => {
                if *at >= wire.len() {
                    wire.clear();
                    *at = 0;
                    if receive(&channel, wire, READ_BYTES, self.total)?.is_none() {
                        return Ok(Pull::Wait);
                    }
                }
                while *at < wire.len() && !*done {
                    let chunk = decoder.decode(wire.get(*at..).unwrap_or(&[]));
                    let chunk = chunk.map_err(|refusal| {
                        self.malformed = Some(refusal);
                        // The begin of the next request is unknown, so the response closes the
                        // connection.
                        channel.owe_body(u64::MAX);
                        BodyError::Malformed(refusal)
                    })?;
                    self.decoded.extend_from_slice(chunk.data);
                    *at = at.saturating_add(chunk.consumed);
                    *done = chunk.done;
                    if chunk.consumed == 0 {
                        break;
                    }
                }
            }
        }
        let got = u64::try_from(self.decoded.len().saturating_sub(before)).unwrap_or(0);
        self.total = self.total.saturating_add(got);
        if got > 0 {
            Ok(Pull::Got)
        } else if self.is_complete() {
            Ok(Pull::End)
        } else {
            // Only framing has arrived; the socket may have more.
            self.pull_again()
        }
    }

    /// Reads the socket once more, after bytes that were framing only.
    fn pull_again(&mut self) -> Result<Pull, BodyError> {
        let Framing::Chunked { wire, at, .. } = &self.framing else {
            return Ok(Pull::Wait);
        };
        if *at < wire.len() {
            Ok(Pull::Wait)
        } else {
            self.pull()
        }
    }

    /// Reads straight into the app's buffer, without a copy; only for a body of known length of
    /// which nothing is buffered. `None`: nothing has arrived yet; 0: the body is complete.
    ///
    /// # Errors
    ///
    /// The connection failed, or the client left.
    pub fn pull_into(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, BodyError> {
        let channel = self.channel()?;
        let Framing::Length(to_come) = &mut self.framing else {
            return Ok(None);
        };
        let room = usize::try_from(*to_come)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or(&mut []);
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        match channel.try_receive(buffer)? {
            None => Ok(None),
            Some(0) => {
                channel.mark_lost();
                Err(BodyError::Torn(self.total))
            }
            Some(got) => {
                let count = u64::try_from(got).unwrap_or(0);
                *to_come = to_come.saturating_sub(count);
                channel.owe_body(*to_come);
                self.total = self.total.saturating_add(count);
                Ok(Some(got))
            }
        }
    }

    /// Ends the body with its request. Returns the bytes that belong to the next request; `None` if
    /// the body was not received to its end, so that the connection cannot be used again.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        // The bytes in the socket's buffer may complete it.
        for _ in 0..MAX_DRAIN_READS {
            self.take(self.available().len());
            match self.pull() {
                Ok(Pull::Got) => {}
                Ok(Pull::End | Pull::Wait) | Err(_) => break,
            }
        }
        let complete = self.is_complete();
        self.channel = None;
        self.whole = None;
        self.take(self.available().len());
        let rest = match &mut self.framing {
            Framing::Length(_) => Vec::new(),
            Framing::Chunked { wire, at, .. } => wire.split_off((*at).min(wire.len())),
        };
        complete.then_some(rest)
    }
}

/// Appends what the socket has, at most `room` bytes; `None` if there is nothing yet.
fn receive(
    channel: &Channel,
    into: &mut Vec<u8>,
    room: usize,
    total: u64,
) -> Result<Option<u64>, BodyError> {
    let got = channel.try_receive_into(into, room);
    match got? {
        None => Ok(None),
        Some(0) => {
            channel.mark_lost();
            Err(BodyError::Torn(total))
        }
        Some(got) => Ok(Some(u64::try_from(got).unwrap_or(0))),
    }
}
