//! Where the system has no room (files, sizes, disks), what was refused is named with its remedy.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::APPS;

/// What rcorn says, and its exit code, after `before` in a shell. `{disk}` is a folder.
fn told(before: &str, arguments: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().display().to_string();
    let line = format!(
        "{before}; exec '{}' -b 127.0.0.1:0 --chdir '{APPS}' {arguments} hello:app",
        env!("CARGO_BIN_EXE_rcorn")
    );
    let ended = Command::new("sh")
        .args(["-c", &line.replace("{disk}", &disk)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = String::from_utf8_lossy(&ended.stderr).into_owned();
    text += &fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    (text, ended.status.code())
}

#[test]
fn what_is_refused_for_want_of_room_is_named_with_the_way_out() {
    for (before, arguments, code, words) in [
        (
            "ulimit -f 0",
            "",
            1,
            &["cannot set up shared memory", "ulimit -f"][..],
        ),
        ("ulimit -f 100", "", 1, &["cannot ", "ulimit -f"]),
        ("ulimit -f 100", "--preload", 1, &["cannot ", "ulimit -f"]),
        (
            "ulimit -n 5",
            "",
            1,
            &["cannot open the error log", "ulimit -n"],
        ),
        ("ulimit -n 9", "", 1, &["cannot ", "ulimit -n"]),
        ("ulimit -n 14", "", 1, &["cannot ", "ulimit -n"]),
        ("ulimit -n 19", "", 1, &["cannot ", "ulimit -n"]),
        ("ulimit -n 21", "", 1, &["cannot ", "ulimit -n"]),
        ("ulimit -n 24", "", 1, &["cannot ", "ulimit -n"]),
        ("ulimit -n 27", "", 1, &["cannot ", "ulimit -n"]),
        (
            "export PYTHONHOME=/nonexistent",
            "--error-logfile {disk}/log",
            1,
            &["Python has written it to standard error", "encodings"],
        ),
        (
            "export PYTHONHOME=/nonexistent",
            "--error-logfile /dev/full",
            1,
            &["could not be written to /dev/full; hint: make room there"],
        ),
    ] {
        let (text, ended) = told(before, arguments);
        assert_eq!(ended, Some(code), "{before}: {text}");
        for word in words {
            assert!(text.contains(word), "{before}: no {word:?} in:\n{text}");
        }
    }
}
