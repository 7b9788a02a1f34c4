//! Numbers in few characters.

/// A count: `1234567` as it is, `12.3M` from ten million on.
pub(crate) fn count(count: u64) -> String {
    if count < 10_000_000 {
        count.to_string()
    } else {
        scaled(count, &["", "k", "M", "G", "T", "P"], 1000)
    }
}

/// An amount of memory in KiB: `900K`, `43M`, `1.5G`.
pub(crate) fn memory(kibibytes: u64) -> String {
    scaled(kibibytes, &["K", "M", "G", "T"], 1024)
}

/// The value in the largest unit of which there is at least one; with one digit after the point
/// where it is below ten, and in counts below a thousand.
fn scaled(value: u64, units: &[&str], step: u64) -> String {
    let mut divisor: u64 = 1;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while let Some(next) = units.next().filter(|_| value.div_euclid(divisor) >= step) {
        divisor = divisor.saturating_mul(step);
        unit = next;
    }
    let whole = value.div_euclid(divisor);
    if divisor == 1 || (whole >= 10 && step == 1024) {
        return format!("{whole}{unit}");
    }
    let rest = value.rem_euclid(divisor);
    let tenth = rest.saturating_mul(10).div_euclid(divisor);
    format!("{whole}.{tenth}{unit}")
}

/// A time in seconds: `0.5s`, `12s`, `59s`, `12m`, `3h`, `5d`.
pub(crate) fn time(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else if seconds < 60.0 {
        format!("{seconds:.0}s")
    } else if seconds < 3600.0 {
        format!("{:.0}m", (seconds / 60.0).floor())
    } else if seconds < 86400.0 {
        format!("{:.0}h", (seconds / 3600.0).floor())
    } else {
        format!("{:.0}d", (seconds / 86400.0).floor())
    }
}

/// A rate a second: `0`, `0.3`, `12`, `15320`.
pub(crate) fn rate(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0, 9_999_999, 10_000_000, 12_345_678, 1_234_567_890].map(count);
        assert_eq!(counts, ["0", "9999999", "10.0M", "12.3M", "1.2G"]);
        assert_eq!(count(u64::MAX), "18446.7P");
        let sizes = [0, 1023, 1024, 45_000, 1_600_000, 20_000_000].map(memory);
        assert_eq!(sizes, ["0K", "1023K", "1.0M", "43M", "1.5G", "19G"]);
        let times = [0.04, 9.94, 12.4, 59.4, 60.0, 3599.0, 7200.0, 200_000.0].map(time);
        assert_eq!(
            times,
            ["0.0s", "9.9s", "12s", "59s", "1m", "59m", "2h", "2d"]
        );
        let rates = [0.0, 0.25, 9.9, 15_320.4].map(rate);
        assert_eq!(rates, ["0", "0.2", "9.9", "15320"]);
    }
}
