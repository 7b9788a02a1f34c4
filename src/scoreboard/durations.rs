//! Durations that are counted in buckets: how many were as short as each bound, or shorter. What a
//! percentile can be estimated from, and what can be summed over workers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::atomic::{AtomicU64, Ordering};

/// The upper bounds of the buckets, in microseconds; one more bucket has what is longer. They are
/// places in the memory that old and new workers share, so they never change.
pub const BOUNDS_MICROSECONDS: [u64; 19] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];
/// One for each bound, and one for what is longer.
const BUCKETS: usize = BOUNDS_MICROSECONDS.len() + 1;
/// Places of one histogram: its buckets, its sum, and some to spare.
const PLACES_EACH: usize = 24;

// Where workers of other builds write: the sum lies behind the buckets.
const _: () = assert!(BUCKETS == 20 && PLACES_EACH == 24);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// From the begin of a request to its end, when the worker can take another: code of the app
    /// that runs after the response counts.
    Request,
    /// From the arrival of a request to its begin.
    Queue,
}

impl Timing {
    /// All of them, in the order of their places in memory.
    pub const ALL: &'static [Self] = &[Self::Request, Self::Queue];
    /// Places of all of them.
    pub(crate) const PLACES: usize = 2 * PLACES_EACH;

    /// Where its places begin.
    const fn place(self) -> usize {
        match self {
            Self::Request => 0,
            Self::Queue => PLACES_EACH,
        }
    }
}

/// Durations in buckets. Free of any clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// How many durations are in each bucket: longer than the bound before, and not longer than its
    /// own.
    pub buckets: [u64; BUCKETS],
    /// The sum of all durations, in microseconds.
    pub microseconds: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let microseconds = microseconds(duration);
        if let Some(count) = self.buckets.get_mut(bucket(microseconds)) {
            *count = count.wrapping_add(1);
        }
        self.microseconds = self.microseconds.wrapping_add(microseconds);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, one| sum.wrapping_add(*one))
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.wrapping_add(more);
        }
        self.microseconds = self.microseconds.wrapping_add(other.microseconds);
    }
}

/// All that one worker, or all workers, have measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// From the begin of a request to the end of its response, without what it waited for its
    /// client.
    pub request: Histogram,
    /// From the arrival of a request to its begin.
    pub queue: Histogram,
}

impl Times {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.request.add(&other.request);
        self.queue.add(&other.queue);
    }

    fn get_mut(&mut self, timing: Timing) -> &mut Histogram {
        match timing {
            Timing::Request => &mut self.request,
            Timing::Queue => &mut self.queue,
        }
    }
}

/// The durations of one worker, or of one of its threads, in shared memory. Counts nothing if there
/// is no memory for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedTimes<'a> {
    places: &'a [AtomicU64],
}

impl<'a> SharedTimes<'a> {
    /// `places`: all counters of a cell, those of `counters.rs` first.
    pub(crate) fn new(places: &'a [AtomicU64]) -> Self {
        Self { places }
    }

    /// Counts a duration. Only the thread that serves the requests of this cell calls this.
    pub(crate) fn observe(self, timing: Timing, duration: Duration) {
        let Some(places) = self.places_of(timing) else {
            return;
        };
        let microseconds = microseconds(duration);
        add(places.get(bucket(microseconds)), 1);
        add(places.get(BUCKETS), microseconds);
    }

    pub(crate) fn read(self) -> Times {
        let mut times = Times::default();
        for timing in Timing::ALL {
            let Some(places) = self.places_of(*timing) else {
                continue;
            };
            let histogram = times.get_mut(*timing);
            for (count, place) in histogram.buckets.iter_mut().zip(places) {
                *count = place.load(Ordering::Relaxed);
            }
            let sum = places.get(BUCKETS);
            histogram.microseconds = sum.map_or(0, |sum| sum.load(Ordering::Relaxed));
        }
        times
    }

    fn places_of(self, timing: Timing) -> Option<&'a [AtomicU64; PLACES_EACH]> {
        self.places.get(timing.place()..)?.first_chunk()
    }
}

/// There is one writer.
fn add(place: Option<&AtomicU64>, amount: u64) {
    if let Some(place) = place {
        let sum = place.load(Ordering::Relaxed).wrapping_add(amount);
        place.store(sum, Ordering::Relaxed);
    }
}

/// The bucket of a duration. Most are short, and found at once.
fn bucket(microseconds: u64) -> usize {
    let mut bounds = BOUNDS_MICROSECONDS.iter();
    let found = bounds.position(|bound| microseconds <= *bound);
    found.unwrap_or(BOUNDS_MICROSECONDS.len())
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for microseconds in [0, 100, 101, 1_000, 120_000_000, 120_000_001, 900_000_000] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let counted: Vec<(usize, u64)> = histogram
            .buckets
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [(0, 2), (1, 1), (3, 1), (18, 1), (19, 2)]);
        assert_eq!(histogram.count(), 7);
        assert_eq!(histogram.microseconds, 1_140_001_202);
        assert!(BOUNDS_MICROSECONDS.is_sorted());
    }

    #[test]
    fn timings_have_places_of_their_own() {
        let places: Vec<AtomicU64> = (0..Timing::PLACES).map(|_| AtomicU64::new(0)).collect();
        let shared = SharedTimes::new(&places);
        shared.observe(Timing::Request, Duration::from_millis(3));
        shared.observe(Timing::Queue, Duration::from_secs(500));
        shared.observe(Timing::Queue, Duration::ZERO);
        let mut expected = Times::default();
        expected.request.observe(Duration::from_millis(3));
        expected.queue.observe(Duration::from_secs(500));
        expected.queue.observe(Duration::ZERO);
        assert_eq!(shared.read(), expected);
        let mut sum = expected;
        sum.add(&expected);
        assert_eq!(sum.queue.count(), 4);
        // A build that has no place for them.
        let none = SharedTimes::new(&places[..10]);
        none.observe(Timing::Request, Duration::ZERO);
        assert_eq!(none.read(), Times::default());
    }

    #[test]
    fn what_another_build_has_saved_is_read() {
        assert_eq!(
            serde_json::from_str::<Times>("{}").unwrap(),
            Times::default()
        );
    }
}
