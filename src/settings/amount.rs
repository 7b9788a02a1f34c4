//! Times, sizes and file modes: numbers with a unit.

use std::time::Duration;

use super::literal::Literal;
use super::refusal::Cause;
use super::value::{Value, text_form};

/// A duration. Zero switches a limit off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(Duration);

impl Seconds {
    /// This number of seconds.
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// As a limit: none when zero.
    pub const fn limit(self) -> Option<Duration> {
        if self.0.is_zero() { None } else { Some(self.0) }
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

const SECOND: u128 = 1_000_000_000;
const TIME_UNITS: &[(&str, u128)] = &[
    ("", SECOND),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// About 31 years: longer than any use, and short enough that no sum with a point in time
/// overflows.
const MAX_TIME: Duration = Duration::from_secs(1_000_000_000);

impl Value for Seconds {
    const NOUN: &'static str = "a time such as 30, 0.5, 500ms or 2m";
    const VALUE_NAME: &'static str = "SECONDS";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        let (number, unit) = divide(text);
        let scale = unit_of(unit, TIME_UNITS)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let too_long = || Cause::because("is too long", "0 switches a time limit off");
        if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
            return Err(Cause::NotA);
        }
        if fraction.len() > 9 {
            return Err(Cause::because(
                "has too many decimals",
                "nine are enough for a nanosecond",
            ));
        }
        let whole: u128 = whole.parse().map_err(|_overflow| too_long())?;
        // "05" of "0.05" stands for 050_000_000 billionths.
        let billionths: u128 = format!("{fraction:0<9}")
            .parse()
            .map_err(|_not_digits| Cause::NotA)?;
        let nanos = whole
            .checked_mul(SECOND)
            .and_then(|whole| whole.checked_add(billionths))
            .and_then(|billionths| billionths.checked_mul(scale))
            .map(|nanos| nanos.div_euclid(SECOND))
            .ok_or_else(too_long)?;
        let nanos = u64::try_from(nanos).map_err(|_overflow| too_long())?;
        let time = Duration::from_nanos(nanos);
        if time > MAX_TIME {
            Err(too_long())
        } else {
            Ok(Self(time))
        }
    }

    fn show(&self) -> String {
        let (whole, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            return whole.to_string();
        }
        format!("{whole}.{nanos:09}")
            .trim_end_matches('0')
            .to_owned()
    }

    fn literal(&self) -> Literal {
        if self.0.subsec_nanos() == 0 {
            Literal::Int(self.0.as_secs().to_string())
        } else {
            Literal::Float(self.0.as_secs_f64())
        }
    }

    fn amount(&self) -> Option<u64> {
        Some(
            self.0
                .as_secs()
                .saturating_add(u64::from(self.0.subsec_nanos() > 0)),
        )
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// This number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// As a number.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// All units are powers of two, as for buffers and memory.
const SIZE_UNITS: &[(&str, u128)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
];

impl Value for Size {
    const NOUN: &'static str = "a size in bytes such as 4094, 64KiB or 1MiB";
    const VALUE_NAME: &'static str = "SIZE";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        let (number, unit) = divide(text);
        let scale = unit_of(unit, SIZE_UNITS)?;
        if number.is_empty() || number.contains('.') {
            return Err(Cause::NotA);
        }
        let too_large = || {
            Cause::because(
                "is too large",
                "the largest unit is GiB; no machine has that much",
            )
        };
        let number: u128 = number.parse().map_err(|_overflow| too_large())?;
        let bytes = number.checked_mul(scale).ok_or_else(too_large)?;
        u64::try_from(bytes)
            .map(Self)
            .map_err(|_overflow| too_large())
    }

    fn show(&self) -> String {
        for (unit, bytes) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 != 0 && self.0.is_multiple_of(bytes) {
                return format!("{}{unit}", self.0.div_euclid(bytes));
            }
        }
        self.0.to_string()
    }

    fn literal(&self) -> Literal {
        Literal::Int(self.0.to_string())
    }

    fn amount(&self) -> Option<u64> {
        Some(self.0)
    }
}

/// Digits and points, then the unit.
fn divide(text: &str) -> (&str, &str) {
    let end = text
        .find(|sign: char| !sign.is_ascii_digit() && sign != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    (number, unit.trim_start())
}

fn unit_of(unit: &str, units: &[(&str, u128)]) -> Result<u128, Cause> {
    units
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        .map(|(_, scale)| *scale)
        .ok_or(Cause::NotA)
}

/// Permission bits, as for `umask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode(u32);

impl Mode {
    /// These bits; others than the nine of permission are dropped.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Value for Mode {
    const NOUN: &'static str = "a file mode such as 022, 0o22, 0x12 or 18";
    const VALUE_NAME: &'static str = "MODE";

    /// gunicorn's rule, which is not the shell's: without a leading zero the number is decimal.
    fn parse(text: &str) -> Result<Self, Cause> {
        let lower = text.trim().to_ascii_lowercase();
        let (digits, radix) = match lower.as_bytes() {
            [b'0', b'o', ..] => (lower.trim_start_matches("0o"), 8),
            [b'0', b'x', ..] => (lower.trim_start_matches("0x"), 16),
            [b'0', b'b', ..] => (lower.trim_start_matches("0b"), 2),
            [b'0', _, ..] => (lower.as_str(), 8),
            _ => (lower.as_str(), 10),
        };
        if digits.starts_with('+') {
            return Err(Cause::NotA);
        }
        let bits = u32::from_str_radix(digits, radix).map_err(|_no_number| Cause::NotA)?;
        if bits > 0o777 {
            let hint = format!(
                "without a leading zero the number is decimal; the largest mode is 0777, this is 0{bits:o}"
            );
            return Err(Cause::because(
                "is more than the nine permission bits",
                hint,
            ));
        }
        Ok(Self(bits))
    }

    fn show(&self) -> String {
        if self.0 == 0 {
            "0".to_owned()
        } else {
            format!("0o{:o}", self.0)
        }
    }

    fn literal(&self) -> Literal {
        Literal::Int(self.0.to_string())
    }
}

text_form!(Seconds, Size, Mode);
