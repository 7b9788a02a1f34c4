//! All 120 settings of gunicorn, by command line, YAML and `gunicorn.conf.py`: each has its value
//! and its origin, or the documented answer.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The effect of naming a setting.
#[derive(Clone, Copy)]
enum Comes {
    /// It has the value, shown like this.
    To(&'static str),
    /// It has no effect, and a line says so.
    Nothing,
    /// It is refused.
    Refused,
    /// It is refused, because it means nothing without another.
    Incomplete,
    /// It is a hook with these parameters: Python only.
    Hook(&'static str),
}

use Comes::{Hook, Incomplete, Nothing, Refused, To};

/// All settings of gunicorn; the unit tests of the settings read the same file.
const FILE: &str = include_str!("../../../src/settings/tests/gunicorn_settings.tsv");

/// Name, flag (`-` when there is none), value (`true` and `false` for switches), what comes of it.
fn all() -> Vec<(&'static str, &'static str, &'static str, Comes)> {
    let lines = FILE.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let [name, flags, value, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let flag = flags.split(',').next().unwrap_or_default();
        let comes = match outcome.split_once(' ') {
            Some(("=", value)) => To(value),
            Some(("hook", parameters)) => Hook(parameters),
            None if outcome == "ignored" => Nothing,
            None if outcome == "refused" => Refused,
            None if outcome == "incomplete" => Incomplete,
            _ => panic!("{line}"),
        };
        (name, flag, value, comes)
    });
    rows.collect()
}

/// `rcorn explain NAME`, with these arguments, where this file is.
fn explained(folder: &Path, name: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rcorn"));
    command
        .args(["explain", name])
        .args(words)
        .current_dir(folder);
    for variable in [
        "GUNICORN_CMD_ARGS",
        "RCORN_CMD_ARGS",
        "WEB_CONCURRENCY",
        "PORT",
        "FORWARDED_ALLOW_IPS",
        "SENDFILE",
    ] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

/// Checks the effect of a setting from this source. `value_in` is the value's form there.
fn holds(output: &Output, (name, comes): (&str, &Comes), origin: &str, refused: i32) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let told = format!("{name} by {origin}: {:?} {out}{err}", output.status);
    match comes {
        To(value) => {
            assert!(output.status.success(), "{told}");
            assert!(
                out.starts_with(&format!("{name} = {value}  # {origin}\n")),
                "{told}"
            );
        }
        Nothing => {
            assert!(output.status.success(), "{told}");
            assert_eq!(err.matches(" has no effect").count(), 1, "{told}");
        }
        Refused => {
            assert_eq!(output.status.code(), Some(refused), "{told}");
            assert_eq!(err.lines().count(), 1, "{told}");
            assert!(
                err.contains("is not supported: ") && err.contains("; hint: "),
                "{told}"
            );
        }
        Incomplete => {
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert_eq!(err.lines().count(), 1, "{told}");
            assert!(
                err.contains(name) || err.contains(&name.replace('_', "-")),
                "{told}"
            );
            assert!(err.contains("; hint: "), "{told}");
        }
        Hook(parameters) => {
            assert!(output.status.success(), "{told}");
            assert!(
                out.starts_with(&format!("{name}({parameters})\n")),
                "{told}"
            );
        }
    }
}

#[test]
fn there_are_120() {
    assert_eq!(all().len(), 120);
}

#[test]
fn by_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, flag, value, comes) in all().iter().filter(|(name, ..)| *name != "config") {
        let words = match (*flag, *value) {
            ("-", _) if *name == "wsgi_app" => vec![*value],
            ("-", _) => continue,
            (flag, "true" | "false") => vec![flag, "x:y"],
            (flag, value) => vec![flag, value, "x:y"],
        };
        holds(
            &explained(folder.path(), name, &words),
            (name, comes),
            "command line",
            2,
        );
    }
}

#[test]
fn by_yaml() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _, value, comes) in &all() {
        let value = if *name == "config" { "x" } else { value };
        let value = if value.starts_with('{') {
            (*value).to_owned()
        } else {
            format!("{value:?}")
        };
        fs::write(
            folder.path().join("rcorn.yaml"),
            format!("# first\n{name}: {value}\n"),
        )
        .unwrap();
        // No app is needed to ask.
        let output = explained(folder.path(), name, &[]);
        if matches!(comes, Hook(_)) {
            assert_eq!(output.status.code(), Some(2), "{name}");
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(
                err.contains("rcorn.yaml:2:") && err.contains("gunicorn.conf.py"),
                "{err}"
            );
        } else {
            holds(&output, (name, comes), "rcorn.yaml:2", 2);
        }
    }
}

#[test]
fn by_gunicorn_conf_py() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _, value, comes) in &all() {
        let text = match comes {
            Hook(parameters) => format!("# first\ndef {name}({parameters}):\n    pass\n"),
            To(_) | Nothing | Refused | Incomplete => {
                let value = if *name == "config" { "x" } else { value };
                let value = if value.starts_with('{') {
                    (*value).to_owned()
                } else {
                    format!("{value:?}")
                };
                format!("# first\n{name} = {value}\n")
            }
        };
        fs::write(folder.path().join("gunicorn.conf.py"), text).unwrap();
        let output = explained(
            folder.path(),
            name,
            &if *name == "wsgi_app" {
                vec![]
            } else {
                vec!["x:y"]
            },
        );
        holds(&output, (name, comes), "gunicorn.conf.py:2", 1);
    }
}

/// The defaults of gunicorn; the unit tests of the settings read the same file.
const DEFAULTS: &str = include_str!("../../../src/settings/tests/gunicorn_defaults.tsv");

#[test]
fn a_file_with_every_default_of_gunicorn_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "import json\n".to_owned();
    for line in DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('\t').unwrap();
        text.extend([name, " = json.loads(r'''", value, "''')\n"]);
    }
    fs::write(folder.path().join("gunicorn.conf.py"), text).unwrap();
    let output = explained(folder.path(), "threads", &["x:y"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    assert_eq!(output.stdout.get(..11), Some(&b"threads = 1"[..]));
    for line in err.lines() {
        assert!(line.contains("config has no effect in a file"), "{line}");
    }
}
