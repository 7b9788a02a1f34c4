//! A client of HTTP/2 that writes its frames itself (RFC 9113 section 4.1): so it can send what a
//! library would not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::client::socket;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

// Error codes (RFC 9113 section 7).
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
/// `ENHANCE_YOUR_CALM`
pub(crate) const CALM: u32 = 11;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [
            &length[1..],
            &[self.kind, self.flags],
            &stream,
            &self.payload,
        ]
        .concat()
    }

    /// The status of a head that h2 has written: a static entry of HPACK, or one with the name of
    /// such an entry and digits in Huffman code (RFC 7541 appendices A and B).
    pub(crate) fn status(&self) -> u16 {
        const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        // Before it the table may be given another size.
        let is_size = |byte: &&u8| **byte >> 5 == 1;
        let mut bytes = self.payload.iter().skip_while(is_size).copied();
        match bytes.next() {
            Some(entry @ 0x88..=0x8e) => KNOWN[usize::from(entry - 0x88)],
            Some(0x08 | 0x48) => {
                let length = usize::from(bytes.next().unwrap() & 0x7f);
                digits(bytes.take(length))
            }
            // It was remembered.
            other => panic!("status as {other:?}"),
        }
    }

    /// The error code of `RST_STREAM` or GOAWAY.
    pub(crate) fn error(&self) -> u32 {
        let start = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[start..start + 4].try_into().unwrap())
    }
}

/// Digits in Huffman code: 0 to 2 have 5 bits, the others 6. What is left is padding.
fn digits(bytes: impl Iterator<Item = u8>) -> u16 {
    let bits: Vec<u16> = bytes
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)))
        .collect();
    let read = |bits: &[u16]| bits.iter().fold(0, |sum, bit| sum * 2 + bit);
    let (mut rest, mut number) = (&bits[..], 0);
    while rest.len() >= 5 {
        let (length, digit) = match read(&rest[..5]) {
            digit @ 0..=2 => (5, digit),
            _ if rest.len() < 6 => break,
            _ => match read(&rest[..6]) {
                code @ 0x19..=0x1f => (6, code - 0x19 + 3),
                _ => break,
            },
        };
        number = number * 10 + digit;
        rest = &rest[length..];
    }
    number
}

/// A field of HPACK that is not compressed and not remembered (RFC 7541 section 6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            out.push(u8::try_from(length).unwrap());
        } else {
            // An integer with a prefix of 7 bits (RFC 7541 section 5.1).
            out.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// The fields of a request.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ];
    let all = pseudo.iter().chain(more);
    all.flat_map(|(name, value)| literal(name, value)).collect()
}

/// A connection.
pub(crate) struct Http2<S = TcpStream>(pub(crate) S);

impl Http2 {
    /// With prior knowledge, after the exchange of settings.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::over(socket(address), &[])
    }
}

impl<S: Read + Write> Http2<S> {
    /// Begins with these settings.
    pub(crate) fn over(stream: S, settings: &[u8]) -> Self {
        let mut client = Self(stream);
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(SETTINGS, 0, 0, settings);
        assert_eq!(client.frame().kind, SETTINGS);
        client.send(SETTINGS, ACK, 0, &[]);
        client
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&Frame::new(kind, flags, stream, payload).bytes());
    }

    /// Sends a request without a body.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        let fields = request("GET", path, &[]);
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame::new(head[3], head[4], stream, &payload))
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        self.next().expect("the front has closed the connection")
    }

    /// The next frame of a kind.
    pub(crate) fn wait(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame();
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The data of a stream to its end. The first field of the head is the status.
    pub(crate) fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.frame();
            if frame.stream != stream {
                continue;
            }
            assert_ne!(frame.kind, RST_STREAM, "error {}", frame.payload[3]);
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
                let more = u32::try_from(frame.payload.len()).unwrap();
                if more > 0 {
                    self.send(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
                }
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }

    /// Reads until the connection ends, and returns what GOAWAY has said last.
    pub(crate) fn end(&mut self) -> Option<u32> {
        let mut error = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                error = Some(frame.error());
            }
        }
        error
    }
}
