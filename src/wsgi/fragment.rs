//! Parts of a response. [`super::response::Response`] prepares them while it is locked; they are
//! sent after it is unlocked.

use std::io::IoSlice;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use rcorn_http::body::ChunkLine;

use super::attached::Attached;
use rcorn_connection::{Channel, Flush, Lost};

/// The longest body that is copied into one buffer with its head; for longer ones a gathered write
/// is cheaper, or memory that a front shares.
pub(super) const MAX_COPIED_BYTES: usize = 16 * 1024;

/// One part of a response as it is sent: the head if it is the first, a part of the body, and the
/// chunk framing around it.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) head: Vec<u8>,
    pub(super) chunk: ChunkLine,
    pub(super) take: usize,
    pub(super) flush: Flush,
    /// The head is in it, and has the length of just these bytes of the body.
    pub(super) is_whole: bool,
}

/// A response whose body is complete.
#[derive(Debug)]
pub(super) struct FullResponse {
    /// The head, followed by the body if that is short.
    pub(super) head: Vec<u8>,
    pub(super) head_end: usize,
    /// How many bytes of the body are sent.
    pub(super) take: usize,
    pub(super) flush: Flush,
    /// The head has the length of just these bytes.
    pub(super) is_whole: bool,
}

impl FullResponse {
    /// Sends it with the parts it was made for; `false` if some of it waits.
    pub(super) fn send(
        &self,
        py: Python<'_>,
        channel: &Channel,
        parts: &[Bound<'_, PyBytes>],
    ) -> Result<bool, Lost> {
        let head = IoSlice::new(&self.head);
        if self.take <= MAX_COPIED_BYTES {
            return channel.send(&Attached(py), &mut [head], self.flush);
        }
        if self.is_whole
            && let Some(announcement) = channel.share(limited(parts, self.take), self.take)
        {
            return send_announced(py, channel, &announcement, &self.head);
        }
        let mut slices = Vec::with_capacity(parts.len().saturating_add(1));
        slices.push(head);
        slices.extend(limited(parts, self.take).map(IoSlice::new));
        // The kernel takes 1,024 parts at once (IOV_MAX); one more may wait already.
        slices.chunks_mut(1023).try_fold(true, |_sent, slices| {
            channel.send(&Attached(py), slices, Flush::Now)
        })
    }
}

/// Sends the head of a response whose body a front has.
fn send_announced(
    py: Python<'_>,
    channel: &Channel,
    announcement: &[u8],
    head: &[u8],
) -> Result<bool, Lost> {
    let mut parts = [announcement, head].map(IoSlice::new);
    channel.send(&Attached(py), &mut parts, Flush::Now)
}

/// The first `room` bytes of the parts.
pub(super) fn limited<'a>(
    parts: &'a [Bound<'_, PyBytes>],
    mut room: usize,
) -> impl Iterator<Item = &'a [u8]> {
    parts.iter().map(move |part| {
        let part = part.as_bytes();
        let part = part.get(..room).unwrap_or(part);
        room = room.saturating_sub(part.len());
        part
    })
}

impl Fragment {
    /// Sends it with the part of the body that it was made for; `false` if some of it waits.
    pub(super) fn send(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        part: &[u8],
    ) -> Result<bool, Lost> {
        if !self.begins() || self.take > MAX_COPIED_BYTES {
            return self.send_apart(py, channel, part);
        }
        // Most responses of frameworks have one part, which gets one buffer, like a whole response.
        let end = self.head.len();
        self.head.extend_from_slice(self.chunk.bytes());
        self.head.extend_from_slice(self.taken(part));
        self.head.extend_from_slice(self.end());
        let sent = channel.send(&Attached(py), &mut [IoSlice::new(&self.head)], self.flush);
        self.head.truncate(end);
        sent
    }

    /// Sends it without copying the part behind the head.
    fn send_apart(&self, py: Python<'_>, channel: &Channel, part: &[u8]) -> Result<bool, Lost> {
        if self.is_whole
            && let Some(announcement) = channel.share([self.taken(part)], self.take)
        {
            return send_announced(py, channel, &announcement, &self.head);
        }
        channel.send(&Attached(py), &mut self.slices(part), Flush::Now)
    }

    /// Keeps it in the write buffer, with the part of the body that it was made for; returns how
    /// many bytes wait now.
    pub(super) fn hold(&self, channel: &Channel, part: &[u8]) -> usize {
        channel.hold(&self.slices(part))
    }

    fn slices<'a>(&'a self, part: &'a [u8]) -> [IoSlice<'a>; 4] {
        [
            IoSlice::new(&self.head),
            IoSlice::new(self.chunk.bytes()),
            IoSlice::new(self.taken(part)),
            IoSlice::new(self.end()),
        ]
    }

    fn taken<'a>(&self, part: &'a [u8]) -> &'a [u8] {
        part.get(..self.take).unwrap_or(part)
    }

    /// What ends the data of a chunk.
    fn end(&self) -> &'static [u8] {
        if self.take > 0 && !self.chunk.is_empty() {
            b"\r\n"
        } else {
            b""
        }
    }

    /// Whether the response begins with this part, which then contains the head.
    pub(super) fn begins(&self) -> bool {
        !self.head.is_empty()
    }

    /// The head, which a file follows.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }
}
