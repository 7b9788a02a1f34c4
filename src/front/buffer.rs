//! Bytes that have arrived and were not used yet. A connection that waits holds no memory for them,
//! or just what it has: blocks are lent by the thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// How much of a response goes into one frame of HTTP/2: with the frame's head (RFC 9113 section
/// 4.1) as much as a record of TLS has room for (RFC 8446 section 5.1), so that none is for a few
/// bytes alone. Every client takes frames of that size.
pub(crate) const FRAME_BYTES: usize = 16 * 1024 - 9;

/// The size of a block, in bytes: what is read at a time at most. Nothing is left of it when it is
/// cut into frames.
pub(crate) const BLOCK_BYTES: usize = 4 * FRAME_BYTES;

/// Blocks that a thread keeps for the next reader.
const FREE_BLOCKS: usize = 16;

/// What a buffer of a connection that waits takes at most without a block of its own.
const SMALL_BYTES: usize = 4096;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn lend() -> Box<[u8]> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice())
}

fn give_back(block: Box<[u8]>) {
    FREE.with_borrow_mut(|free| {
        if block.len() == BLOCK_BYTES && free.len() < FREE_BLOCKS {
            free.push(block);
        }
    });
}

/// A buffer at the end of which bytes arrive, and from the start of which they are taken.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.block));
    }
}

impl Buffer {
    /// The bytes that were not used yet.
    pub(crate) fn data(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes bytes off the start.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.is_empty() {
            self.release();
        }
    }

    fn release(&mut self) {
        give_back(std::mem::take(&mut self.block));
        (self.start, self.end) = (0, 0);
    }

    /// Makes room at the end: from the front, of a block, or of a larger one.
    fn make_room(&mut self) {
        if self.end < self.block.len() && self.block.len() >= BLOCK_BYTES {
            return;
        }
        let length = self.data().len();
        if self.start > 0 && self.block.len() >= BLOCK_BYTES {
            self.block.copy_within(self.start..self.end, 0);
        } else {
            let mut larger = if length < BLOCK_BYTES {
                lend()
            } else {
                vec![0; length.saturating_mul(2)].into_boxed_slice()
            };
            if let Some(place) = larger.get_mut(..length) {
                place.copy_from_slice(self.data());
            }
            give_back(std::mem::replace(&mut self.block, larger));
        }
        (self.start, self.end) = (0, length);
    }

    /// Keeps just what is there, and gives the block back.
    fn shrink(&mut self) {
        if self.is_empty() {
            self.release();
        } else if self.block.len() >= BLOCK_BYTES && self.data().len() <= SMALL_BYTES {
            let small: Box<[u8]> = self.data().into();
            let end = small.len();
            give_back(std::mem::replace(&mut self.block, small));
            (self.start, self.end) = (0, end);
        }
    }

    /// Reads what is there, and returns its length: 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(self.block.get_mut(self.end..).unwrap_or_default());
        let done = Pin::new(from).poll_read(cx, &mut room);
        let length = room.filled().len();
        self.end = self.end.saturating_add(length);
        if length == 0 {
            self.shrink();
        }
        ready!(done)?;
        Poll::Ready(Ok(length))
    }

    /// Moves bytes into a reader's buffer.
    pub(crate) fn move_to(&mut self, room: &mut ReadBuf<'_>) {
        let data = self.data();
        let count = data.len().min(room.remaining());
        room.put_slice(data.get(..count).unwrap_or_default());
        self.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, mut from: &[u8]) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match buffer.poll_fill(&mut from, &mut cx) {
            Poll::Ready(done) => done.unwrap(),
            Poll::Pending => panic!("a slice never waits"),
        }
    }

    /// A stream on which nothing has arrived.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _room: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_sizes() {
        let text: Vec<u8> = (0..=255).cycle().take(3 * BLOCK_BYTES).collect();
        for step in [1, 7, 4096, BLOCK_BYTES - 1, BLOCK_BYTES + 1] {
            let (mut buffer, mut rest, mut out) = (Buffer::default(), &text[..], Vec::new());
            while !rest.is_empty() || !buffer.is_empty() {
                let read = fill(&mut buffer, rest);
                rest = &rest[read..];
                let count = step.min(buffer.data().len());
                out.extend_from_slice(&buffer.data()[..count]);
                buffer.consume(count);
            }
            assert!(out == text, "{step}");
        }
    }

    #[test]
    fn it_grows_when_nothing_is_taken() {
        let text = vec![7; 5 * BLOCK_BYTES];
        let (mut buffer, mut rest) = (Buffer::default(), &text[..]);
        while !rest.is_empty() {
            let read = fill(&mut buffer, rest);
            assert!(read > 0);
            rest = &rest[read..];
        }
        assert!(buffer.data() == text);
    }

    #[test]
    fn who_waits_holds_no_block() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = Buffer::default();
        assert!(buffer.poll_fill(&mut Silent, &mut cx).is_pending());
        assert_eq!(buffer.block.len(), 0);
        fill(&mut buffer, b"GET /");
        assert!(buffer.poll_fill(&mut Silent, &mut cx).is_pending());
        assert_eq!(buffer.block.len(), 5);
        fill(&mut buffer, b" HTTP");
        assert_eq!(buffer.data(), b"GET / HTTP");
    }
}
