//! The interpreters that tests run on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Need, Once, ROOT, lacks_for};

/// The minor versions that are supported.
const SUPPORTED: std::ops::RangeInclusive<u32> = 9..=15;

/// The interpreter that servers run on, unless a test chooses another: `RCORN_TEST_PYTHON`.
pub(crate) fn python() -> OsString {
    std::env::var_os("RCORN_TEST_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Those that are supported without the GIL.
const FREE_THREADED: std::ops::RangeInclusive<u32> = 14..=15;

/// Every CPython with the GIL that `tests/pythons` finds, also by `RCORN_TEST_PYTHONS`, with its
/// version.
pub(crate) fn pythons() -> Vec<(PathBuf, (u32, u32))> {
    listed(|minor| minor.parse().ok())
}

/// Those of which `minor_of` reads a minor version.
fn listed(minor_of: impl Fn(&str) -> Option<u32>) -> Vec<(PathBuf, (u32, u32))> {
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
        Some((path.into(), (major.parse().unwrap(), minor_of(minor)?)))
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

/// Those without the GIL that are supported, if this build has modules for them. A version that is
/// not on this machine is reported as not run.
pub(crate) fn free_threaded_pythons(test: &str) -> Vec<(PathBuf, (u32, u32))> {
    // Their versions end so.
    let mut found = listed(|minor| minor.strip_suffix('t')?.parse().ok());
    let told = Once::rcorn(["--version", "--verbose"]).run().text();
    let is_built = told.contains(", cp314t, abi3t-py315, ");
    found.retain(|(_, (_, minor))| is_built && FREE_THREADED.contains(minor));
    for minor in FREE_THREADED {
        let there = found.iter().any(|(_, version)| *version == (3, minor));
        lacks_for(
            &format!("{test} with free-threaded CPython 3.{minor}"),
            &[Need::FreeThreaded(minor, there, is_built)],
        );
    }
    found
}
