//! Memory in which a worker puts the bodies of large responses.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rcorn_front_link::{MAX_SHARED_BODY_BYTES, SharedBody};
use rcorn_sys::shared_block::SharedBlockReader;

/// The memory of one connection, which the worker writes.
#[derive(Debug)]
pub(crate) struct BodyBlock(Arc<SharedBlockReader>);

/// A body in it.
struct Body {
    block: Arc<SharedBlockReader>,
    length: usize,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        // There are so many: it was made that way.
        self.block.bytes(self.length).unwrap_or_default()
    }
}

impl BodyBlock {
    /// Opens the memory that has come on a connection.
    ///
    /// # Errors
    ///
    /// Those of mmap(2); `InvalidData` if no worker of ours has made it.
    pub(crate) fn open(descriptor: &OwnedFd) -> io::Result<Self> {
        let most = usize::try_from(MAX_SHARED_BODY_BYTES).unwrap_or(usize::MAX);
        let block = SharedBlockReader::open(descriptor.as_fd(), most)?;
        Ok(Self(Arc::new(block)))
    }

    /// The body that the worker has announced; `None` if it cannot be there.
    pub(crate) fn body(&self, announced: SharedBody) -> Option<Bytes> {
        let length = usize::try_from(announced.length).ok()?;
        self.0.bytes(length)?;
        let block = Arc::clone(&self.0);
        Some(Bytes::from_owner(Body { block, length }))
    }

    /// Whether a part of a body is still to be sent: the worker must get no other request before.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}
