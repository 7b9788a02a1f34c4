//! A fast hash for caches of field names and values.

use std::hash::Hasher;

/// Multiplies and rotates, eight bytes at a time, as rustc's `FxHasher`. It does not defend against
/// keys that are made to collide: the caches that use it are bounded, so a collision costs little.
#[derive(Debug, Default)]
pub struct FxHasher(u64);

impl FxHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FxHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(u64::try_from(number).unwrap_or(0));
    }

    fn finish(&self) -> u64 {
        // Hash tables use the lowest and the highest bits; the high bits of a product are mixed
        // best.
        self.0.rotate_left(26)
    }
}

/// The slot of these bytes in a table of `2^BITS` slots; `BITS` is from 1 to 31.
#[must_use]
pub fn slot_of<const BITS: u32>(bytes: &[u8]) -> usize {
    let mut state = FxHasher(u64::try_from(bytes.len()).unwrap_or(0));
    state.write(bytes);
    // The high bits of a product are mixed best.
    usize::try_from(state.0.wrapping_shr(u64::BITS.wrapping_sub(BITS))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn values_of_a_kind_spread_over_the_table() {
        let values = (0..256).map(|number| format!("/items/{number}?page=1"));
        let slots: BTreeSet<usize> = values
            .map(|value| slot_of::<10>(value.as_bytes()))
            .collect();
        assert!(slots.iter().all(|slot| *slot < 1024));
        // Of 256 values thrown into 1024 slots at random, 226 slots are used on average.
        assert!(slots.len() > 200, "{} slots for 256 values", slots.len());
        assert_ne!(slot_of::<10>(b""), slot_of::<10>(b"\0"));
    }
}
