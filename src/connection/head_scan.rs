//! When to parse a head that arrives in pieces. If each piece led to a new parse, a client that
//! sends byte by byte would cause quadratic work on the thread that serves everybody. If only the
//! end did, a malformed or oversized head would not be refused. So a head is parsed when its end
//! may have arrived, and otherwise as long as all parsing together stays below a fixed multiple of
//! what was received.

use super::write_buffer::wide;

/// How many bytes may be parsed, in total, for each one received, before the head is complete. A
/// malformed head is refused, at the latest, when it has grown by an eighth after the fault.
const MAX_PARSED_PER_BYTE: u64 = 8;

/// How far the head at the beginning of a buffer was scanned.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// The head does not end before this byte.
    scanned: usize,
    /// Bytes parsed so far.
    parsed: u64,
}

impl HeadScan {
    /// A head of which `length` bytes have arrived and were parsed without result.
    #[must_use]
    pub fn parsed(length: usize) -> Self {
        Self {
            scanned: length,
            parsed: wide(length),
        }
    }

    /// Whether nothing of the head was scanned.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.parsed == 0
    }

    /// Whether to parse the head now. `bytes` are all that have arrived, more than in the last
    /// call.
    pub fn is_worth_parsing(&mut self, bytes: &[u8]) -> bool {
        let ends = self.may_end(bytes);
        let here = wide(bytes.len());
        let all = self.parsed.saturating_add(here);
        let worth = ends || all <= here.saturating_mul(MAX_PARSED_PER_BYTE);
        if worth {
            self.parsed = all;
        }
        worth
    }

    /// Whether an empty line has arrived since the last call. A bare LF counts: the parser refuses
    /// it.
    fn may_end(&mut self, bytes: &[u8]) -> bool {
        // The line end before the empty line may have been scanned already.
        let from = self.scanned.saturating_sub(3).min(bytes.len());
        let (_seen, new) = bytes.split_at(from);
        self.scanned = bytes.len();
        memchr::memchr_iter(b'\n', new).any(|end| {
            let (_line, rest) = new.split_at(end);
            rest.starts_with(b"\n\r\n") || rest.starts_with(b"\n\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a head byte by byte; returns how many bytes were parsed, and the lengths at which that
    /// was done.
    fn feed(head: &[u8]) -> (usize, Vec<usize>) {
        let mut scan = HeadScan::default();
        let lengths = (1..=head.len()).filter(|length| scan.is_worth_parsing(&head[..*length]));
        let lengths: Vec<_> = lengths.collect();
        (lengths.iter().sum(), lengths)
    }

    #[test]
    fn bytes_that_come_one_by_one_are_parsed_a_fixed_number_of_times() {
        // Many fields, the most and longest that gunicorn's limits allow, and one field.
        for (fields, length) in [(10_000, 70), (100, 8170), (1, 500_000)] {
            let mut head = b"GET / HTTP/1.1\r\n".to_vec();
            for number in 0..fields {
                let value = "v".repeat(length);
                head.extend_from_slice(format!("X-Field-{number}: {value}\r\n").as_bytes());
            }
            head.extend_from_slice(b"\r\n");
            let (parsed, lengths) = feed(&head);
            assert!(parsed <= head.len() * 9, "{parsed} of {}", head.len());
            assert!(lengths.ends_with(&[head.len()]), "{fields} fields");
        }
    }

    #[test]
    fn the_end_is_seen_however_it_is_cut() {
        let filler = "x".repeat(5_000);
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            let head = format!("GET / HTTP/1.1\r\nX: {filler}{end}");
            let (before, whole) = (head.len() - 1, head.len());
            for cut in before - 5..whole {
                // The budget is used up.
                let mut scan = HeadScan {
                    scanned: 0,
                    parsed: 1 << 40,
                };
                assert!(!scan.is_worth_parsing(&head.as_bytes()[..cut]));
                assert!(scan.is_worth_parsing(head.as_bytes()), "{end:?} {cut}");
            }
        }
    }

    #[test]
    fn a_head_without_end_is_looked_at_soon_after_any_length() {
        let (_parsed, lengths) = feed(&vec![b'x'; 100_000]);
        for pair in lengths.windows(2) {
            assert!(pair[1] <= pair[0] + pair[0] / 6 + 2, "{pair:?}");
        }
    }
}
