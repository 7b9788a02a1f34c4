//! The ids of requests: that of a trusted proxy, or one that is made.

use std::fs::File;
use std::io::{self, Read as _};

use super::request::Request;

/// The longest id that is taken from a proxy, in bytes.
const MAX_BYTES: usize = 128;
/// The field, in lower case.
pub(super) const FIELD: &[u8] = b"x-request-id";

/// Makes the ids of one request slot, and has that of its current request.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// What tells this slot's ids from all others.
    seed: u64,
    /// What tells them from each other: a weak random sequence.
    state: u64,
    current: String,
}

impl RequestIds {
    /// Ids that no other slot makes. Called in the worker: a fork would copy them.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let number = u128::from_ne_bytes(random);
        let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
        Ok(Self {
            seed: low,
            state: u64::try_from(number >> 64).unwrap_or(0),
            current: String::new(),
        })
    }

    /// Begins a request. `given`: what a trusted proxy has sent.
    pub(super) fn begin(&mut self, given: Option<&[u8]>) {
        self.current.clear();
        if let Some(id) = given.and_then(id) {
            return self.current.push_str(id);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let made = (u128::from(self.seed) << 64) | u128::from(mixed(self.state));
        for nibble in (0..32_u32).rev() {
            let digit = (made >> nibble.saturating_mul(4)) & 15;
            let digit = u32::try_from(digit).ok();
            self.current
                .extend(digit.and_then(|digit| char::from_digit(digit, 16)));
        }
    }

    /// That of the current request.
    pub(super) fn current(&self) -> &str {
        &self.current
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

/// What was sent, if it can be an id.
fn id(value: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    let is_id = (1..=MAX_BYTES).contains(&value.len()) && value.iter().all(fits);
    is_id.then(|| std::str::from_utf8(value).ok()).flatten()
}

/// The mixing step of `SplitMix64` (Steele, Lea and Flood, 2014).
const fn mixed(state: u64) -> u64 {
    let one = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    two ^ (two >> 31)
}
