//! The framing of a response body (RFC 9112 section 6), and whether the body keeps to it.

use std::io::Write;

/// How the body of a response is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body (HEAD, 1xx, 204, 205, 304).
    Bodyless,
    /// By Content-Length, in bytes.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// What the framing of a response depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramingInput {
    /// The status code of the response.
    pub status: u16,
    /// The method of the request was HEAD.
    pub head_only: bool,
    /// The request was HTTP/1.1, so the client understands chunks.
    pub http11: bool,
    /// The Content-Length that the app declared.
    pub declared: Option<u64>,
    /// The length of the body, if all of it is known before the head is sent.
    pub known: Option<u64>,
}

impl FramingInput {
    /// Chooses the framing.
    #[must_use]
    pub fn framing(self) -> BodyFraming {
        if !self.may_have_body() {
            BodyFraming::Bodyless
        } else if let Some(length) = self.declared.or(self.known) {
            BodyFraming::Length(length)
        } else if self.http11 {
            BodyFraming::Chunked
        } else {
            BodyFraming::UntilClose
        }
    }

    /// Whether such a response can have a body (RFC 9110 sections 6.4.1, 15.3.5, 15.3.6, 15.4.5).
    fn may_have_body(self) -> bool {
        !self.head_only && self.status >= 200 && !matches!(self.status, 204 | 205 | 304)
    }
}

/// Counts the bytes of a body, and limits them to its Content-Length.
#[derive(Clone, Copy, Debug)]
pub struct BodyCounter {
    framing: BodyFraming,
    sent: u64,
    excess: u64,
}

impl Default for BodyCounter {
    fn default() -> Self {
        Self::new(BodyFraming::UntilClose)
    }
}

impl BodyCounter {
    /// A counter for a body of which nothing was sent.
    #[must_use]
    pub fn new(framing: BodyFraming) -> Self {
        Self {
            framing,
            sent: 0,
            excess: 0,
        }
    }

    /// The framing of the body.
    #[must_use]
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The number of bytes that may still be sent.
    #[must_use]
    pub fn room(&self) -> u64 {
        match self.framing {
            BodyFraming::Bodyless => 0,
            BodyFraming::Length(length) => length - self.sent,
            BodyFraming::Chunked | BodyFraming::UntilClose => u64::MAX,
        }
    }

    /// Counts `given` more bytes of the app. Returns how many of them may be sent.
    pub fn take(&mut self, given: u64) -> u64 {
        let take = given.min(self.room());
        if self.framing != BodyFraming::Bodyless {
            self.excess += given - take;
        }
        self.sent += take;
        take
    }

    /// The number of body bytes that were allowed to be sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of bytes that the app gave beyond its Content-Length; they are not sent.
    #[must_use]
    pub fn excess(&self) -> u64 {
        self.excess
    }

    /// The number of bytes that are missing from the Content-Length.
    #[must_use]
    pub fn missing(&self) -> u64 {
        match self.framing {
            BodyFraming::Length(length) => length - self.sent,
            BodyFraming::Bodyless | BodyFraming::Chunked | BodyFraming::UntilClose => 0,
        }
    }
}

/// The line before the data of a chunk, or the last chunk (RFC 9112 section 7.1).
#[derive(Debug, Default)]
pub struct ChunkLine {
    bytes: [u8; ChunkLine::MAX_BYTES],
    length: usize,
}

impl ChunkLine {
    /// Sixteen digits and the line end.
    const MAX_BYTES: usize = 18;

    /// The line before a chunk of `size` bytes.
    #[must_use]
    pub fn size(size: usize) -> Self {
        let mut line = Self::default();
        let mut room = line.bytes.as_mut_slice();
        // Cannot fail: there is room for the largest number.
        write!(room, "{size:x}\r\n").ok();
        line.length = Self::MAX_BYTES - room.len();
        line
    }

    /// The last chunk, without trailer fields.
    #[must_use]
    pub fn last() -> Self {
        const LAST: &[u8] = b"0\r\n\r\n";
        let mut line = Self::default();
        for (to, from) in line.bytes.iter_mut().zip(LAST) {
            *to = *from;
        }
        line.length = LAST.len();
        line
    }

    /// The bytes of the line; none if the body is not chunked.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (line, _unused) = self.bytes.split_at(self.length);
        line
    }

    /// Whether there is no line, because the body is not chunked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(
        status: u16,
        http11: bool,
        declared: Option<u64>,
        known: Option<u64>,
    ) -> BodyFraming {
        let input = FramingInput {
            status,
            http11,
            declared,
            known,
            head_only: false,
        };
        let head = FramingInput {
            head_only: true,
            ..input
        };
        assert_eq!(head.framing(), BodyFraming::Bodyless);
        input.framing()
    }

    #[test]
    fn a_body_is_framed_by_what_is_known_of_it() {
        assert_eq!(framing(200, true, Some(5), Some(9)), BodyFraming::Length(5));
        assert_eq!(framing(200, true, None, Some(9)), BodyFraming::Length(9));
        assert_eq!(framing(200, true, None, None), BodyFraming::Chunked);
        assert_eq!(framing(200, false, None, None), BodyFraming::UntilClose);
        assert_eq!(framing(200, false, Some(0), None), BodyFraming::Length(0));
        for status in [103, 204, 205, 304] {
            assert_eq!(
                framing(status, true, Some(5), Some(5)),
                BodyFraming::Bodyless
            );
        }
    }

    #[test]
    fn a_body_does_not_exceed_its_length_and_what_lacks_is_known() {
        let mut body = BodyCounter::new(BodyFraming::Length(10));
        assert_eq!((body.take(4), body.missing()), (4, 6));
        assert_eq!((body.take(9), body.missing()), (6, 0));
        assert_eq!((body.take(1), body.excess(), body.sent()), (0, 4, 10));
        let mut body = BodyCounter::new(BodyFraming::Bodyless);
        // What an app gives for HEAD is not too much.
        assert_eq!((body.take(4), body.excess(), body.missing()), (0, 0, 0));
        for framing in [BodyFraming::Chunked, BodyFraming::UntilClose] {
            let mut body = BodyCounter::new(framing);
            assert_eq!((body.take(4), body.take(5)), (4, 5));
            assert_eq!((body.sent(), body.excess(), body.missing()), (9, 0, 0));
        }
    }

    #[test]
    fn chunks_have_their_size_in_hexadecimal_digits() {
        assert_eq!(ChunkLine::size(1).bytes(), b"1\r\n");
        assert_eq!(ChunkLine::size(0xabc).bytes(), b"abc\r\n");
        assert_eq!(ChunkLine::size(usize::MAX).bytes(), b"ffffffffffffffff\r\n");
        assert_eq!(ChunkLine::last().bytes(), b"0\r\n\r\n");
        assert!(ChunkLine::default().is_empty() && ChunkLine::default().bytes().is_empty());
    }
}
