//! The verdict on an import: each file of `tests/apps/imports` is an app, whose first line says
//! what must be found in it: `# boring`, or words of the line in the log, with the line's number
//! in front if it has one.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{APPS, pythons};

/// Checks one app; what is wrong, if anything.
fn judge(name: &str, source: &str, python: &str) -> Option<String> {
    let (first, _) = source.split_once('\n').unwrap();
    let expected = first.strip_prefix("# ").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let app = format!("{source}\ndef app(environ, start_response): pass\n");
    fs::write(folder.path().join("m.py"), app).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .args(["--check-config", "--python", python, "m:app"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&checked.stderr);
    let mut found = log
        .lines()
        .filter_map(|line| line.split_once("Not preloading: "));
    let is_right = checked.status.success()
        && if expected == "boring" {
            found.next().is_none()
        } else {
            let words = match expected.split_once(' ') {
                Some((line, what)) if line.parse::<u32>().is_ok() => format!("m.py:{line} {what}"),
                _ => expected.to_owned(),
            };
            found.any(|(_, said)| said.contains(&words))
        };
    (!is_right).then(|| format!("{name}: expected {expected:?}\n{log}"))
}

/// Each `step`th of them, a few at a time.
fn judge_all(python: &str, step: usize) {
    let mut cases: Vec<_> = fs::read_dir(format!("{APPS}/imports"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    cases.sort();
    let cases: Vec<_> = cases.iter().step_by(step).collect();
    let next = AtomicUsize::new(0);
    let wrong = thread::scope(|scope| {
        let work = || {
            let take = || cases.get(next.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(take)
                .filter_map(|(name, source)| judge(name, source, python))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let wrong = threads.into_iter().map(|thread| thread.join().unwrap());
        wrong.flatten().collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{python}\n{}", wrong.join("\n"));
}

#[test]
fn what_can_be_told_from_many_imports_is_found_and_nothing_else() {
    judge_all("python3", 1);
}

#[test]
fn the_verdict_is_the_same_in_every_version_of_python() {
    let mut versions = BTreeMap::new();
    for (python, version) in pythons() {
        if version >= (3, 9) {
            versions.entry(version).or_insert(python);
        }
    }
    for python in versions.values() {
        judge_all(&python.to_string_lossy(), 5);
    }
}
