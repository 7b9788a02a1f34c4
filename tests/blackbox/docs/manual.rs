//! The pages in the source tree are those that the program prints (the tests of `rcorn-manual`
//! renew them), and mandoc finds no fault with them.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcorn_manual::PAGES;

use crate::support::{ROOT, lacks, program};

fn generated(page: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .args(["--generate", page])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_pages_of_the_manual_are_those_that_the_program_prints() {
    for page in PAGES {
        let file = fs::read_to_string(Path::new(ROOT).join(page.file)).unwrap();
        assert!(file == generated(page.name), "{}", page.file);
    }
}

#[test]
fn mandoc_has_nothing_against_the_manual() {
    if lacks(&[program("mandoc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for page in PAGES.iter().filter(|page| page.name.ends_with("man")) {
        let file = page.file;
        let path = folder.path().join(Path::new(file).file_name().unwrap());
        fs::write(&path, generated(page.name)).unwrap();
        let mandoc = |arguments: &[&str]| {
            Command::new("mandoc")
                .args(arguments)
                .arg(&path)
                .output()
                .expect("mandoc checks the manual pages; please install it")
        };
        let lint = mandoc(&["-T", "lint", "-W", "warning"]);
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "{file}: {said}");
        let shown = mandoc(&["-T", "utf8"]);
        assert!(
            shown.status.success() && shown.stdout.len() > 2000,
            "{file}: {shown:?}"
        );
    }
}

#[test]
fn a_page_that_there_is_not_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .args(["--generate", "manual"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("'manual' is not a page") && said.contains("signals-man"),
        "{said}"
    );
}

#[test]
fn bash_takes_its_completions() {
    let script = "source /dev/stdin; COMP_WORDS=(rcorn --max-req); COMP_CWORD=1; \
                  _rcorn rcorn --max-req rcorn; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rcorn.bash");
    fs::write(&path, generated("bash")).unwrap();
    let output = Command::new("bash")
        .args(["--norc", "-c", script])
        .stdin(fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        "--max-requests\n--max-requests-jitter",
        "{output:?}"
    );
}

/// The settings of a rcorn that is started in this folder.
fn settings_in(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .current_dir(folder)
        .arg("--print-config")
        .args(arguments)
        .arg("hello:app")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The file names itself, and a mapping has no order.
    let own = |line: &&str| !line.starts_with("config ") && !line.starts_with("secure_scheme");
    text.lines().filter(own).map(str::to_owned).collect()
}

#[test]
fn the_template_of_the_manual_changes_nothing_when_it_is_uncommented() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(
        folder.join("hello.py"),
        "def app(environ, start_response): ...\n",
    )
    .unwrap();
    let before = settings_in(folder, &[]);
    assert!(
        before.iter().any(|line| line.starts_with("workers ")),
        "{before:?}"
    );
    let template = generated("template");
    let lines = template.lines();
    let uncommented = lines.flat_map(|line| [line.strip_prefix('#').unwrap_or(line), "\n"]);
    fs::write(folder.join("all.yaml"), uncommented.collect::<String>()).unwrap();
    assert_eq!(settings_in(folder, &["-c", "all.yaml"]), before);
}
