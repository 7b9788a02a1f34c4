//! A virtual environment with what `tests/requirements.txt` names, made once under `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requirements.txt");

/// The `python3` of the environment. Made at the first call; whoever comes meanwhile waits for it.
pub(crate) fn python() -> PathBuf {
    let wanted = fs::read_to_string(REQUIREMENTS).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv");
    let python = folder.join("bin/python3");
    let mark = folder.join("installed.txt");
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv.lock")).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
        return python;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let base = std::env::var_os("RCORN_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    run(
        Command::new(base).args(["-m", "venv"]).arg(&folder),
        "make a virtual environment (Debian: apt-get install python3-venv)",
    );
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS,
    ]);
    run(
        &mut pip,
        "install tests/requirements.txt with pip (is a package index reachable? PIP_INDEX_URL and PIP_FIND_LINKS are heeded)",
    );
    fs::write(&mark, wanted).unwrap();
    python
}

fn run(command: &mut Command, what: &str) {
    let output = command.output();
    let fine = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        fine,
        "cannot {what}:\n{command:?}\n{}",
        match &output {
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        }
    );
}
