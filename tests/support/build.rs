//! `packaging/build`, and commands that must succeed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ROOT;

/// Runs a command, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Builds a wheel, sdist or deb around the executable that the suite has built, and returns its
/// path.
pub(crate) fn build(what: &str, out: &Path) -> PathBuf {
    let mut command = Command::new("python3");
    command.arg(format!("{ROOT}/packaging/build")).arg(what);
    if what != "sdist" {
        command.args(["--executable", env!("CARGO_BIN_EXE_rcorn")]);
    }
    PathBuf::from(run(command.arg("--out").arg(out)).trim())
}
