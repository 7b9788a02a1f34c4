//! The virtual environment with what `tests/requirements.txt` names, of the Python that tests run
//! on. `tests/run` makes it, below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requirements.txt");

/// Whether it is there, with exactly these packages.
pub(super) fn is_ready() -> bool {
    // `tests/run` copies the file when all of it is installed.
    let wanted = fs::read_to_string(REQUIREMENTS).unwrap();
    let have = fs::read_to_string(folder().join("installed.txt"));
    have.is_ok_and(|have| have == wanted)
}

/// Its `python3`. A test asks for [`super::Need::Packages`] before.
pub(crate) fn python() -> PathBuf {
    assert!(is_ready(), "the test must ask whether it is here");
    folder().join("bin/python3")
}

fn folder() -> PathBuf {
    static NAME: OnceLock<String> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        // As in `tests/run`.
        let script =
            "import sys; print('venv-%d.%d' % sys.version_info[:2] + getattr(sys, 'abiflags', ''))";
        let said = Command::new(super::python()).args(["-c", script]).output();
        said.map_or_else(
            |_| "venv".to_owned(),
            |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        )
    });
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
