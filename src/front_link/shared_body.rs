//! The body of a response in memory that worker and front share.
//!
//! A worker that has the whole body of a large response copies it into memory, from the first byte
//! on, instead of sending it. Before the head of that response it sends an announcement: a zero
//! byte, and the length in bytes as a `u32` in network byte order. No response that an app declares
//! begins with a zero byte; code that has taken the worker over can forge one, so the front checks
//! it. The head has a Content-Length that says the same, and no body follows it on the connection.
//!
//! The worker makes the memory, one block for a connection. Its descriptor comes with the first
//! byte of an announcement (`SCM_RIGHTS`) of length 0, which is about no body: that of the response
//! behind it is sent as usual. If the front cannot take it, there is no other request on that
//! connection. So at the next request the worker knows that the front has the memory, and that it
//! has used what was in it.

/// The most bytes of such a body.
pub const MAX_SHARED_BODY_BYTES: u32 = 8 << 20;

const MARK: u8 = 0;

/// An announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBody {
    /// The length of the body in bytes; 0: there is memory from now on.
    pub length: u32,
}

impl SharedBody {
    /// The length of an announcement, in bytes.
    pub const ENCODED_BYTES: usize = 5;

    /// What is sent before the head.
    #[must_use]
    pub fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let [one, two, three, four] = self.length.to_be_bytes();
        [MARK, one, two, three, four]
    }

    /// Whether these bytes, which a worker has sent as a response, begin with an announcement.
    #[must_use]
    pub fn is_at(bytes: &[u8]) -> bool {
        bytes.first() == Some(&MARK)
    }

    /// The announcement at the start of these bytes, and its length in bytes; `None` if not all of
    /// it is there.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (announcement, _head) = bytes.split_first_chunk::<{ Self::ENCODED_BYTES }>()?;
        let [_mark, length @ ..] = *announcement;
        let length = u32::from_be_bytes(length);
        Some((Self { length }, Self::ENCODED_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        for length in [0, 1, 65_536, u32::MAX] {
            let body = SharedBody { length };
            let bytes = [&body.encode()[..], b"HTTP/1.1 200 OK\r\n"].concat();
            assert!(SharedBody::is_at(&bytes));
            assert_eq!(SharedBody::decode(&bytes), Some((body, 5)));
            assert_eq!(SharedBody::decode(&bytes[..4]), None);
        }
        assert!(!SharedBody::is_at(b"HTTP/1.1 200 OK\r\n"));
        assert!(!SharedBody::is_at(b""));
    }
}
