//! The interpreters that tests run on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Need, ROOT, lacks_for};

/// The minor versions that are supported.
const SUPPORTED: std::ops::RangeInclusive<u32> = 9..=15;

/// The interpreter that servers run on, unless a test chooses another: `RCORN_TEST_PYTHON`.
pub(crate) fn python() -> OsString {
    std::env::var_os("RCORN_TEST_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Every CPython with the GIL that `tests/pythons` finds, also by `RCORN_TEST_PYTHONS`, with its
/// version.
pub(crate) fn pythons() -> Vec<(PathBuf, (u32, u32))> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let listed = Command::new(format!("{ROOT}/tests/pythons"))
        .arg("--list")
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success(), "{text}");
    let line = |line: &str| {
        let (version, path) = line.split_once(' ').unwrap();
        let (major, minor) = version.split_once('.').unwrap();
        // One with a "t" at its end has no GIL.
        Some((path.into(), (major.parse().unwrap(), minor.parse().ok()?)))
    };
    text.lines().filter_map(line).collect()
}

/// Those that are supported. A version that is not on this machine is reported as not run.
pub(crate) fn supported_pythons(test: &str) -> Vec<(PathBuf, (u32, u32))> {
    let mut found = pythons();
    found.retain(|(_, (major, minor))| *major == 3 && SUPPORTED.contains(minor));
    for minor in SUPPORTED {
        let there = found.iter().any(|(_, version)| *version == (3, minor));
        lacks_for(
            &format!("{test} with CPython 3.{minor}"),
            &[Need::Python(minor, there)],
        );
    }
    found
}
