//! Points in time. Two clocks, two types: what is compared is [`Monotonic`], what people read is
//! [`WallClock`]. A span of time is a [`Duration`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time by the system's monotonic clock (`CLOCK_MONOTONIC` of `clock_gettime(2)`): the
/// same for all processes of this machine, never set back. Free: one 64-bit number.
///
/// On the wire it is a duration since the clock's beginning, in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The clock's beginning.
    pub const ZERO: Self = Self(0);
    /// A time that never comes: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many nanoseconds after the clock's beginning.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's beginning.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point `after` later; [`Monotonic::NEVER`] when that is beyond the clock's end.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(after)))
    }
}

impl fmt::Display for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

impl Serialize for Monotonic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Duration::from_nanos(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Monotonic {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Duration::deserialize(deserializer).map(|since| Self(nanoseconds(since)))
    }
}

/// Seconds since 1970-01-01 00:00:00 UTC (time(2)). May be set back; for people only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock(pub i64);

/// A duration as nanoseconds; one beyond 584 years is as long as that.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// For `#[serde(with = "as_nanoseconds")]`: a [`Monotonic`] that is one number on the wire.
pub mod as_nanoseconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Monotonic;

    /// Writes nanoseconds.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Monotonic, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_nanos())
    }

    /// Reads nanoseconds.
    ///
    /// # Errors
    ///
    /// Those of the deserializer: it is no unsigned number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Monotonic, D::Error> {
        u64::deserialize(deserializer).map(Monotonic::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let start = Monotonic::from_nanos(5);
        assert_eq!(start.after(Duration::from_nanos(2)).as_nanos(), 7);
        assert_eq!(start.after(Duration::MAX), Monotonic::NEVER);
        assert_eq!(start.since(Monotonic::from_nanos(9)), Duration::ZERO);
        assert_eq!(
            Monotonic::from_nanos(9).since(start),
            Duration::from_nanos(4)
        );
    }
}
