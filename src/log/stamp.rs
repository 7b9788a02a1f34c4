//! The formats of local time in the logs. A time is formatted once per second and thread, because a
//! worker writes thousands of lines with the same one. The caches are thread-local and not behind a
//! lock, which a fork could leave locked.

use std::cell::Cell;
use std::io::Write as _;

use rcorn_sys::clock::{self, LocalTime};

/// A short text that can be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    bytes: [u8; 40],
    length: usize,
}

impl Stamp {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn of(text: std::fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; 40];
        let mut rest: &mut [u8] = &mut bytes;
        // Only absurd years need more than 40 bytes; the text is cut then.
        drop(rest.write_fmt(text));
        let unused = rest.len();
        let length = bytes.len().saturating_sub(unused);
        Self { bytes, length }
    }
}

type Cache = Cell<Option<(i64, Stamp)>>;

thread_local! {
    static ERROR_LOG: Cache = const { Cell::new(None) };
    static ACCESS_LOG: Cache = const { Cell::new(None) };
    static RFC3339: Cache = const { Cell::new(None) };
}

/// `[2026-11-21 01:25:05 +0000]`
pub(super) fn error_log(unix_seconds: i64) -> Stamp {
    ERROR_LOG.with(|cache| cached(cache, unix_seconds, spell_error_log))
}

/// `[21/Nov/2026:01:25:06 +0000]`
pub(super) fn access_log(unix_seconds: i64) -> Stamp {
    ACCESS_LOG.with(|cache| cached(cache, unix_seconds, spell_access_log))
}

/// `2026-11-21T01:25:06+00:00` (RFC 3339), for JSON
pub(super) fn rfc3339(unix_seconds: i64) -> Stamp {
    RFC3339.with(|cache| cached(cache, unix_seconds, spell_rfc3339))
}

fn cached(cache: &Cache, unix_seconds: i64, spell: fn(&LocalTime) -> Stamp) -> Stamp {
    match cache.get() {
        Some((second, stamp)) if second == unix_seconds => stamp,
        Some(_) | None => {
            let stamp = spell(&clock::local(unix_seconds));
            cache.set(Some((unix_seconds, stamp)));
            stamp
        }
    }
}

fn spell_error_log(time: &LocalTime) -> Stamp {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = *time;
    let (sign, east, past) = offset(time);
    Stamp::of(format_args!(
        "[{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {sign}{east:02}{past:02}]"
    ))
}

fn spell_access_log(time: &LocalTime) -> Stamp {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = *time;
    let (sign, east, past) = offset(time);
    let month = month_name(month);
    Stamp::of(format_args!(
        "[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} {sign}{east:02}{past:02}]"
    ))
}

fn spell_rfc3339(time: &LocalTime) -> Stamp {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = *time;
    let (sign, east, past) = offset(time);
    Stamp::of(format_args!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{east:02}:{past:02}"
    ))
}

/// The sign, the hours and the minutes of the offset from UTC.
fn offset(time: &LocalTime) -> (char, u32, u32) {
    let minutes = time.offset_minutes.unsigned_abs();
    let sign = if time.offset_minutes < 0 { '-' } else { '+' };
    (sign, minutes.div_euclid(60), minutes.rem_euclid(60))
}

/// The English name in every locale, as log readers expect.
fn month_name(month: u32) -> &'static str {
    match month {
        1 => "Jan",
        2 => "Feb",
        3 => "Mar",
        4 => "Apr",
        5 => "May",
        6 => "Jun",
        7 => "Jul",
        8 => "Aug",
        9 => "Sep",
        10 => "Oct",
        11 => "Nov",
        12 => "Dec",
        _ => "???",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENING: LocalTime = LocalTime {
        year: 2026,
        month: 2,
        day: 3,
        hour: 4,
        minute: 5,
        second: 6,
        offset_minutes: -210,
    };

    #[test]
    fn all_spellings_have_two_digits_and_the_offset() {
        assert_eq!(
            spell_error_log(&EVENING).as_bytes(),
            b"[2026-02-03 04:05:06 -0330]"
        );
        assert_eq!(
            spell_access_log(&EVENING).as_bytes(),
            b"[03/Feb/2026:04:05:06 -0330]"
        );
        assert_eq!(
            spell_rfc3339(&EVENING).as_bytes(),
            b"2026-02-03T04:05:06-03:30"
        );
        let east = LocalTime {
            offset_minutes: 345,
            ..EVENING
        };
        assert_eq!(
            spell_error_log(&east).as_bytes(),
            b"[2026-02-03 04:05:06 +0545]"
        );
    }

    #[test]
    fn a_second_is_spelled_once() {
        let cache = Cell::new(None);
        let first = cached(&cache, 86_400, spell_error_log);
        let again = cached(&cache, 86_400, |_| Stamp::of(format_args!("spelled again")));
        assert_eq!(first.as_bytes(), again.as_bytes());
        let next = cached(&cache, 86_401, |_| Stamp::of(format_args!("next")));
        assert_eq!(next.as_bytes(), b"next");
    }

    #[test]
    fn an_absurd_time_is_cut_not_a_panic() {
        let far = LocalTime {
            year: i32::MAX,
            month: 99,
            ..EVENING
        };
        assert!(spell_access_log(&far).as_bytes().len() <= 40);
        assert!(!access_log(i64::MAX).as_bytes().is_empty());
    }
}
