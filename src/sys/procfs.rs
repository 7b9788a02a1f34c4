//! What `/proc` says of a process.

use std::fs;

/// `/proc/PID/stat` of one process (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// All fields from the third on: the second is a command in parentheses, which may hold
    /// anything.
    fields: Vec<String>,
}

impl Stat {
    /// Reads it; `None` when there is no such process, or no `/proc`.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads that of this process.
    #[must_use]
    pub fn of_self() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields = rest.split_whitespace().map(str::to_owned).collect();
        Some(Self { fields })
    }

    /// The state: `R`, `S`, `D`, `Z` and others.
    #[must_use]
    pub fn state(&self) -> Option<char> {
        self.fields.first()?.chars().next()
    }

    /// Whether the process has ended and waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state() == Some('Z')
    }

    /// A field by its number in the manual page, as an address.
    #[must_use]
    pub fn address(&self, number: usize) -> Option<usize> {
        self.fields.get(number.checked_sub(3)?)?.parse().ok()
    }
}

/// Where in the kernel a process sleeps (`proc_pid_wchan(5)`); `None` when it does not, or it is
/// not ours to know.
#[must_use]
pub fn wait_channel(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/wchan")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_blanks_is_skipped() {
        let stat = Stat::parse("7 (a) b (c)) Z 1 7 7").unwrap();
        assert!(stat.is_zombie());
        assert_eq!(stat.address(4), Some(1));
        assert_eq!(stat.address(2), None);
        assert_eq!(Stat::parse("7"), None);
    }

    #[cfg(not(miri))]
    #[test]
    fn this_process_runs_and_nobody_does_not() {
        assert!(!Stat::of_self().unwrap().is_zombie());
        assert_eq!(Stat::of(i32::MAX), None);
    }
}
