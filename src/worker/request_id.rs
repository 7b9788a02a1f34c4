//! The ids of requests: that of a trusted proxy, or one that is made.

use std::fs::File;
use std::io::{self, Read as _};

use rcorn_scoreboard::LINE_BYTES;

use super::request::Request;

/// The longest id that is taken from a proxy, in bytes.
const MAX_BYTES: usize = 128;
/// The field, in lower case.
pub(super) const FIELD: &[u8] = b"x-request-id";
/// What stands before and after an id in a response. Two bytes more make it sixteen: CPython reads
/// text that is aligned eight bytes at a time, other text byte by byte.
const BEFORE: &[u8; 16] = b"\r\nX-Request-ID: ";
const LINE_END: &[u8; 2] = b"\r\n";

/// Makes the ids of one request slot, and has that of its current request.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// What tells this slot's ids from all others: how each begins.
    seed: [u8; 16],
    /// What tells them from each other: a weak random sequence.
    state: u64,
    /// A line end, then the field of the response with the id of the current request, which is
    /// ASCII; without the id and what is behind it between two requests.
    field: Vec<u8>,
    /// What [`Self::with_line`] gives; a buffer.
    line: Vec<u8>,
}

impl RequestIds {
    /// Ids that no other slot makes. Called in the worker: a fork would copy them.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let number = u128::from_ne_bytes(random);
        let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
        Ok(Self {
            seed: digits(low),
            state: u64::try_from(number >> 64).unwrap_or(0),
            field: BEFORE.to_vec(),
            line: Vec::with_capacity(LINE_BYTES),
        })
    }

    /// Begins a request. `given`: what a trusted proxy has sent.
    pub(super) fn begin(&mut self, given: Option<&[u8]>) {
        self.end();
        if let Some(id) = given.filter(|value| is_id(value)) {
            self.field.extend_from_slice(id);
        } else {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.field.extend_from_slice(&self.seed);
            self.field.extend_from_slice(&digits(mixed(self.state)));
        }
        self.field.extend_from_slice(LINE_END);
    }

    /// Ends the request.
    pub(super) fn end(&mut self) {
        self.field.truncate(BEFORE.len());
    }

    /// The field of the response to the current request, a whole line; `None` between two requests.
    pub(super) fn field(&self) -> Option<&[u8]> {
        let is_there = self.field.len() > BEFORE.len();
        self.field.get(LINE_END.len()..).filter(|_| is_there)
    }

    /// The id of the current request as bytes: ASCII.
    pub(super) fn bytes(&self) -> &[u8] {
        let end = self.field.len().saturating_sub(LINE_END.len());
        self.field.get(BEFORE.len()..end).unwrap_or_default()
    }

    /// The same as text.
    pub(super) fn current(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The line of the current request as the scoreboard has it, with its id at the end: `GET /
    /// HTTP/1.1 [ID]`. A long line is cut so that the id fits.
    pub(super) fn with_line(&mut self, line: &[u8]) -> &[u8] {
        let mut all = std::mem::take(&mut self.line);
        let id = self.bytes();
        let room = LINE_BYTES.saturating_sub(id.len().saturating_add(3));
        all.clear();
        all.extend_from_slice(line.get(..room).unwrap_or(line));
        all.extend_from_slice(b" [");
        all.extend_from_slice(id);
        all.push(b']');
        self.line = all;
        &self.line
    }
}

/// What was sent as the id of a request.
pub(super) fn given<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut fields = request.head.fields.iter();
    let field = fields.find(|field| {
        let name = field.name.of(request.text);
        name.len() == FIELD.len() && name.eq_ignore_ascii_case(FIELD)
    })?;
    Some(field.value.of(request.text))
}

/// Whether what was sent can be an id.
fn is_id(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    (1..=MAX_BYTES).contains(&value.len()) && value.iter().all(fits)
}

/// The mixing step of `SplitMix64` (Steele, Lea and Flood, 2014).
const fn mixed(state: u64) -> u64 {
    let one = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    two ^ (two >> 31)
}

/// A number in hexadecimal. Eight digits at a time, because each request has an id.
fn digits(number: u64) -> [u8; 16] {
    let halves = [number >> 32, number & 0xffff_ffff].map(|half| {
        let spread = (half | (half << 16)) & 0x0000_ffff_0000_ffff;
        let spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff;
        // A value from 0 to 15 in each byte.
        let values = (spread | (spread << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        // 1 in each byte whose value is above 9.
        let letters = (values.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        let letters = letters.wrapping_mul(u64::from(b'a' - b'9' - 1));
        let digits = values.wrapping_add(0x3030_3030_3030_3030);
        digits.wrapping_add(letters).to_be_bytes()
    });
    let mut digits = [0; 16];
    let bytes = digits.iter_mut().zip(halves.as_flattened());
    bytes.for_each(|(digit, byte)| *digit = *byte);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, u64::MAX, 0x0123_4567_89ab_cdef, 0x9a0f_f0a9_1122_0033] {
            let text = format!("{number:016x}");
            assert_eq!(digits(number), *text.as_bytes());
        }
    }
}
