//! Memory in which a front gets the bodies of large responses: that costs one copy, where a socket
//! costs two, and the kernel's pages ([`rcorn_front_link::SharedBody`]).

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use rcorn_front_link::{MAX_SHARED_BODY_BYTES, SharedBody};
use rcorn_sys::passing::send_many;
use rcorn_sys::shared_block::SharedBlock;

use super::transport::Transport;

/// What the size of the memory is a multiple of, in bytes.
const STEP_BYTES: usize = 64 * 1024;

/// The memory of one connection, once there was a body for it.
#[derive(Debug, Default)]
pub(crate) struct BodyBlock(Option<SharedBlock>);

impl BodyBlock {
    /// Puts a body of at most so many bytes there, and gives what is to be sent before its head.
    /// `None`: the body must be sent, because it is too long, or there was no memory for it. Then
    /// memory is made for the next one; as the front gets it at once, nothing may wait to be sent.
    pub(crate) fn put(
        &mut self,
        transport: &Transport,
        most: usize,
        parts: impl IntoIterator<Item: AsRef<[u8]>>,
        length: usize,
    ) -> Option<[u8; SharedBody::ENCODED_BYTES]> {
        let announced = SharedBody {
            length: u32::try_from(length).ok()?,
        };
        if length > most || announced.length > MAX_SHARED_BODY_BYTES {
            return None;
        }
        let Some(block) = self.0.as_mut().filter(|block| block.length() >= length) else {
            self.0 = offered(transport, length).ok();
            return None;
        };
        let mut end = 0_usize;
        for part in parts {
            let part = part.as_ref();
            if !block.write(end, part) {
                return None;
            }
            end = end.saturating_add(part.len());
        }
        // Behind them is what is left of another body.
        (end == length).then(|| announced.encode())
    }
}

/// Makes memory for a body of this length, and offers it to the front.
///
/// # Errors
///
/// There is no memory, or no room in the socket.
fn offered(transport: &Transport, length: usize) -> io::Result<SharedBlock> {
    let room = length.next_multiple_of(STEP_BYTES);
    let room = NonZeroUsize::new(room).ok_or(io::ErrorKind::InvalidInput)?;
    let (block, descriptor) = SharedBlock::create(c"rcorn-body", room)?;
    let offer = SharedBody { length: 0 }.encode();
    let parts = [IoSlice::new(&offer)];
    send_many(transport.descriptor(), &parts, &[descriptor.as_fd()])?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use rcorn_sys::passing::{Along, receive_one};
    use rcorn_sys::shared_block::SharedBlockReader;

    use super::*;

    const MIB: usize = 1 << 20;

    /// The memory that the front is offered.
    fn received(front: &UnixStream) -> SharedBlockReader {
        let mut bytes = [0; 16];
        let (count, Along::Descriptor(descriptor)) =
            receive_one(front.as_fd(), &mut bytes).unwrap()
        else {
            panic!("no descriptor");
        };
        let (body, length) = SharedBody::decode(&bytes[..count]).unwrap();
        assert_eq!((body.length, length), (0, count));
        SharedBlockReader::open(descriptor.as_fd(), 8 * MIB).unwrap()
    }

    #[test]
    fn memory_is_offered_once_and_again_when_it_is_too_small() {
        let (ours, front) = UnixStream::pair().unwrap();
        front.set_nonblocking(true).unwrap();
        let transport = Transport::plain(ours.into());
        let mut block = BodyBlock::default();
        assert_eq!(block.put(&transport, MIB, [b"ab", b"cd"], 4), None);
        let small = received(&front);
        let announced = SharedBody { length: 4 }.encode();
        assert_eq!(
            block.put(&transport, MIB, [b"ab", b"cd"], 4),
            Some(announced)
        );
        assert_eq!(small.bytes(4), Some(&b"abcd"[..]));
        // The next is in the same place.
        let announced = SharedBody { length: 3 }.encode();
        assert_eq!(block.put(&transport, MIB, [b"efg"], 3), Some(announced));
        assert_eq!(small.bytes(4), Some(&b"efgd"[..]));
        let error = (&front).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // What the parts do not have is not announced, because it would be of another body.
        assert_eq!(block.put(&transport, MIB, [b"hi"], 3), None);
        // A larger one is in another.
        let large = vec![7; STEP_BYTES + 1];
        assert_eq!(block.put(&transport, MIB, [&large], large.len()), None);
        let other = received(&front);
        assert!(block.put(&transport, MIB, [&large], large.len()).is_some());
        assert_eq!(other.bytes(large.len()), Some(&large[..]));
        assert_eq!(small.bytes(4), Some(&b"higd"[..]));
    }

    #[test]
    fn what_may_not_be_held_or_cannot_be_offered_is_to_be_sent() {
        let (ours, front) = UnixStream::pair().unwrap();
        let transport = Transport::plain(ours.into());
        let mut block = BodyBlock::default();
        assert_eq!(block.put(&transport, 4, [b"abcde"], 5), None);
        assert_eq!(block.put(&transport, 0, [b"a"], 1), None);
        let longest = usize::try_from(MAX_SHARED_BODY_BYTES).unwrap();
        let long = vec![0; longest + 1];
        assert_eq!(block.put(&transport, usize::MAX, [&long], long.len()), None);
        front.set_nonblocking(true).unwrap();
        let error = (&front).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(front);
        for _attempt in 0..2 {
            assert_eq!(block.put(&transport, 4, [b"abcd"], 4), None);
        }
    }
}
