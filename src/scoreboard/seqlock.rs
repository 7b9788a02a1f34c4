//! A sequence lock over text in shared memory: it has one writer, which may be killed at any
//! moment, and readers that neither wait nor see half of a text. Hans-J. Boehm, "Can Seqlocks Get
//! Along With Programming Language Memory Models?" (MSPC 2012) explains the fences. `loom_tests.rs`
//! explores them.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// How often a reader tries to read a text that changes, before it gives up.
const READ_ATTEMPTS: u32 = if cfg!(loom) { 2 } else { 8 };

/// Writes each text into its words. `sequence` is odd meanwhile. Only the one writer calls this.
pub(crate) fn write<const N: usize>(sequence: &AtomicU32, texts: [(&[AtomicU64], &[u8]); N]) {
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    // A reader that sees a word written below also sees the odd number.
    fence(Ordering::Release);
    for (words, text) in texts {
        write_words(words, text);
    }
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

/// Reads the texts of one moment; `None` if they changed during each attempt, or their writer was
/// killed while it wrote.
pub(crate) fn read<const N: usize>(
    sequence: &AtomicU32,
    texts: [&[AtomicU64]; N],
) -> Option<[Vec<u8>; N]> {
    for _ in 0..READ_ATTEMPTS {
        let before = sequence.load(Ordering::Acquire);
        let read = texts.map(read_words);
        // The words above are read before the number below.
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) && before == sequence.load(Ordering::Relaxed) {
            return Some(read);
        }
    }
    None
}

/// Stores text in 8-byte words, ended by a zero byte unless it fills them all. What does not fit is
/// cut.
fn write_words(words: &[AtomicU64], text: &[u8]) {
    let (whole, rest) = text.as_chunks::<8>();
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    for (word, bytes) in words.iter().zip(whole.iter().chain([&last])) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
}

fn read_words(words: &[AtomicU64]) -> Vec<u8> {
    let mut text: Vec<u8> = words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect();
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}
