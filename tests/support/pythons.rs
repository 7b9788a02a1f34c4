//! The interpreters of this machine.

use std::path::PathBuf;
use std::process::Command;

/// Every CPython of this machine that can be found, with its version.
pub(crate) fn pythons() -> Vec<(PathBuf, (u32, u32))> {
    let mut candidates: Vec<PathBuf> = (6..20)
        .map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}")))
        .collect();
    candidates.push("/usr/bin/python3".into());
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv")));
    if let Some(versions) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) {
        candidates.extend(versions.map(|version| version.unwrap().path().join("bin/python3")));
    }
    let mut found: Vec<(PathBuf, (u32, u32))> = Vec::new();
    for candidate in candidates.into_iter().filter(|path| path.exists()) {
        let said = Command::new(&candidate)
            .args(["-c", "import sys; print(*sys.version_info[:2])"])
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let mut numbers = said.split_whitespace().map(|word| word.parse().unwrap());
        if let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) {
            found.push((candidate, (major, minor)));
        }
    }
    found
}
