//! The clocks: monotonic for everything that is compared, wall time for what people read. Callers
//! pass the values on; only drivers, workers and logs read a clock.
#![expect(
    unsafe_code,
    reason = "localtime_r has no safe form that sees the app's tzset()"
)]

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use rcorn_types::{Monotonic, WallClock};

/// A point in local time, as `localtime_r(3)` gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, four digits.
    pub year: i32,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day, 1 to 31.
    pub day: u32,
    /// The hour, 0 to 23.
    pub hour: u32,
    /// The minute, 0 to 59.
    pub minute: u32,
    /// The second, 0 to 60.
    pub second: u32,
    /// Minutes east of UTC.
    pub offset_minutes: i32,
}

/// The monotonic clock, exactly (`CLOCK_MONOTONIC` of `clock_gettime(2)`): for what is measured.
#[must_use]
pub fn now() -> Monotonic {
    Monotonic::from_nanos(read(ClockId::CLOCK_MONOTONIC))
}

/// The monotonic clock as of the kernel's last tick, up to 4 ms ago, at a tenth of the cost of
/// [`now`] (`CLOCK_MONOTONIC_COARSE`): for time limits. Never ahead of [`now`].
#[must_use]
pub fn coarse_now() -> Monotonic {
    Monotonic::from_nanos(read(ClockId::CLOCK_MONOTONIC_COARSE))
}

/// The wall clock, in whole seconds (`CLOCK_REALTIME_COARSE`): for people.
#[must_use]
pub fn wall() -> WallClock {
    WallClock(clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(0, |t| t.tv_sec()))
}

fn read(clock: ClockId) -> u64 {
    // These clocks exist on every kernel that runs this program; a failure would mean a bad clock
    // id.
    clock_gettime(clock).map_or(0, |t| {
        u64::try_from(t.tv_sec())
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0))
    })
}

/// Local time by the C library's zone, so that an app that calls `time.tzset()` (Django does) moves
/// the log lines of its worker too, as it does under gunicorn.
#[must_use]
pub fn local(unix_seconds: i64) -> LocalTime {
    // SAFETY: `tm` is plain data for which all zeroes is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    let time: libc::time_t = unix_seconds;
    // SAFETY: both pointers are to live locals; localtime_r writes only into `tm`.
    let done = unsafe { libc::localtime_r(&raw const time, &raw mut tm) };
    if done.is_null() {
        return LocalTime::default();
    }
    let small = |value: libc::c_int| u32::try_from(value).unwrap_or(0);
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: small(tm.tm_mon).saturating_add(1),
        day: small(tm.tm_mday),
        hour: small(tm.tm_hour),
        minute: small(tm.tm_min),
        second: small(tm.tm_sec),
        offset_minutes: i32::try_from(tm.tm_gmtoff.checked_div(60).unwrap_or(0)).unwrap_or(0),
    }
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_never_goes_back() {
        let first = now();
        assert!(now() >= first && first > Monotonic::ZERO);
        let coarse = coarse_now();
        assert!(coarse > Monotonic::ZERO && coarse <= now());
        assert!(wall().0 > 0);
    }

    #[test]
    fn local_time_adds_its_offset_to_utc() {
        let t = local(86_400);
        let minutes = i64::from(t.day) * 1440 + i64::from(t.hour) * 60 + i64::from(t.minute);
        assert_eq!(minutes - i64::from(t.offset_minutes), 2 * 1440);
    }
}
