//! The keys of session tickets. The arbiter makes them, so that all fronts have the same, and a
//! client resumes its session with any of them, after a reload and after an upgrade, too.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use rcorn_front_link::TicketKey;
use rcorn_types::Monotonic;

/// How often there is a new key. Who learns one can read what was said in this time (RFC 8446
/// appendix E.1).
const ROTATION: Duration = Duration::from_hours(8);
/// How many keys there are: with a new one, those of the last tickets still open theirs.
const MAX_KEYS: usize = 3;
const SECRET_BYTES: usize = 32;

/// The keys, the newest first.
#[derive(Debug)]
pub(super) struct Tickets {
    keys: Vec<TicketKey>,
    /// When there is a new one.
    due: Monotonic,
}

impl Tickets {
    /// Goes on with these keys, to which it adds a new one if there is none.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn new(keys: Vec<TicketKey>, now: Monotonic) -> io::Result<Self> {
        let mut tickets = Self { keys, due: now };
        if tickets.keys.is_empty() {
            tickets.add()?;
        }
        tickets.due = now.after(ROTATION);
        Ok(tickets)
    }

    /// All of them.
    pub(super) fn keys(&self) -> &[TicketKey] {
        &self.keys
    }

    /// When [`Self::rotate`] has something to do.
    pub(super) fn deadline(&self) -> Monotonic {
        self.due
    }

    /// Makes a new key if it is time; returns whether it has.
    ///
    /// # Errors
    ///
    /// There are no random numbers; the keys stay.
    pub(super) fn rotate(&mut self, now: Monotonic) -> io::Result<bool> {
        if now < self.due {
            return Ok(false);
        }
        self.due = now.after(ROTATION);
        self.add()?;
        Ok(true)
    }

    fn add(&mut self) -> io::Result<()> {
        let mut secret = vec![0; SECRET_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        self.keys.insert(0, TicketKey { secret });
        self.keys.truncate(MAX_KEYS);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_comes_first_and_the_oldest_goes() {
        let mut now = Monotonic::from_nanos(1);
        let mut tickets = Tickets::new(Vec::new(), now).unwrap();
        assert_eq!(tickets.keys().len(), 1);
        assert!(!tickets.rotate(now).unwrap());
        let first = tickets.keys().to_vec();
        for count in 2..=4 {
            now = tickets.deadline();
            assert!(tickets.rotate(now).unwrap());
            assert_eq!(tickets.keys().len(), MAX_KEYS.min(count));
        }
        assert!(!tickets.keys().contains(&first[0]));
        let taken_over = Tickets::new(tickets.keys().to_vec(), now).unwrap();
        assert_eq!(taken_over.keys(), tickets.keys());
    }
}
