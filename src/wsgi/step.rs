//! Pieces of a reply on their way: prepared by [`super::reply::Reply`] under its lock, sent without it.

use std::io::IoSlice;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::channel::{Channel, Lost};

/// Longest body that is copied behind its head into one buffer; beyond it a gathered write is cheaper.
pub(super) const COPIED: usize = 16 * 1024;

/// What one step must put on the wire; made under the lock, sent without it.
#[derive(Debug, Default)]
pub struct Step {
    pub(super) head: Vec<u8>,
    pub(super) chunk: Vec<u8>,
    pub(super) take: usize,
}

/// A whole reply, made under the lock, sent without it.
#[derive(Debug)]
pub struct Whole {
    /// With the body behind it, when that is short.
    pub(super) head: Vec<u8>,
    pub(super) head_end: usize,
    /// Bytes of the body.
    pub(super) take: usize,
}

impl Whole {
    /// Sends it with the parts it was made for.
    pub fn send(
        &self,
        py: Python<'_>,
        channel: &Channel,
        parts: &[Bound<'_, PyBytes>],
    ) -> Result<(), Lost> {
        let head = IoSlice::new(&self.head);
        if self.take <= COPIED {
            return channel.send(py, &mut [head]).map(drop);
        }
        let mut slices = Vec::with_capacity(parts.len().saturating_add(1));
        slices.push(head);
        slices.extend(limited(parts, self.take).map(IoSlice::new));
        // The kernel takes 1,024 parts at once (IOV_MAX); one more may wait already.
        slices
            .chunks_mut(1023)
            .try_for_each(|slices| channel.send(py, slices).map(drop))
    }
}

/// The parts, as far as so many bytes reach.
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

impl Step {
    /// Sends it with the part of the body it was made for; `false` when some of it waits.
    pub fn send(&self, py: Python<'_>, channel: &Channel, part: &[u8]) -> Result<bool, Lost> {
        channel.send(py, &mut self.slices(part))
    }

    /// Lets it wait, with the part of the body it was made for; gives how many bytes wait now.
    pub fn hold(&self, channel: &Channel, part: &[u8]) -> usize {
        channel.hold(&self.slices(part))
    }

    fn slices<'a>(&'a self, part: &'a [u8]) -> [IoSlice<'a>; 4] {
        let part = part.get(..self.take).unwrap_or(part);
        let end: &[u8] = if self.take > 0 && !self.chunk.is_empty() {
            b"\r\n"
        } else {
            b""
        };
        [
            IoSlice::new(&self.head),
            IoSlice::new(&self.chunk),
            IoSlice::new(if self.take == 0 { b"" } else { part }),
            IoSlice::new(end),
        ]
    }

    /// Whether the head is in it: the reply begins with this.
    pub fn begins(&self) -> bool {
        !self.head.is_empty()
    }

    /// The head alone (a file follows).
    pub fn head(&self) -> &[u8] {
        &self.head
    }
}
