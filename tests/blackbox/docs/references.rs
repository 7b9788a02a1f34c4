//! What the pages name is there: files, headings, tests, crates, and the figures of the benchmark.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::ROOT;

/// Folders of the source tree. A path in one of them that a page names must exist.
const FOLDERS: [&str; 6] = ["src/", "tests/", "man/", "examples/", "packaging/", ".ci/"];

/// The Markdown pages that are written by hand.
fn pages() -> Vec<PathBuf> {
    let listed = Command::new("find")
        .current_dir(ROOT)
        .args([
            ".",
            "-name",
            "*.md",
            "-not",
            "-path",
            "./target/*",
            "-not",
            "-path",
            "./src/m*",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let pages: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    assert!(pages.len() > 12, "{pages:?}");
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap()
}

/// The words in backticks, outside of fenced blocks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The part of a page below a heading of the second rank.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = format!("\n## {heading}\n");
    let (_, rest) = text.split_once(&start).expect(heading);
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn files_that_pages_name_exist() {
    let mut missing = Vec::new();
    for page in pages() {
        for word in code(&read(&page)) {
            let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder))
                && !word.contains(|c: char| c.is_whitespace() || "*<{".contains(c))
                && !word.contains("NAME");
            if is_path && !Path::new(ROOT).join(&word).exists() {
                missing.push(format!("{}: {word}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        let here = Path::new(ROOT).join(&page);
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                here.clone()
            } else {
                here.parent().unwrap().join(file)
            };
            let has_heading = || {
                let text = fs::read_to_string(&file).unwrap_or_default();
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line) == heading)
            };
            if !file.exists() || !heading.is_empty() && !has_heading() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Adds the text of each Rust and Python file below a folder.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !path.ends_with("target") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|of| of == "rs" || of == "py") {
            into.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The text of each file of our code and tests.
fn all_sources() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "packaging"] {
        sources(&Path::new(ROOT).join(folder), &mut files);
    }
    files
}

/// The names in a text: of items, fields, variants and macros.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Whether this file has a type of this name, or implements something for it, and defines the
/// member: a function, a constant or a variant.
fn defines(file: &str, of: &str, member: &str) -> bool {
    let is_type = |line: &str| {
        let mut words = names(line).filter(|word| !word.is_empty());
        let is_item = words.any(|word| ["struct", "enum", "trait", "impl"].contains(&word));
        is_item && words.any(|word| word == of)
    };
    let is_member = |line: &str| {
        let line = line.trim_start();
        let after = |word: &str| names(line).skip_while(move |one| *one != word).nth(1);
        [after("fn"), after("const")].contains(&Some(member))
            || line
                .strip_prefix(member)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',', '(']))
    };
    file.lines().any(is_type) && file.lines().any(is_member)
}

#[test]
fn code_that_pages_name_exists() {
    let files = all_sources();
    let known: BTreeSet<&str> = files.iter().flat_map(|file| names(file)).collect();
    let mut missing = Vec::new();
    for page in ["CONTRIBUTING.md", "src/ARCHITECTURE.md"] {
        for word in code(&read(Path::new(page))) {
            let name = word.trim_end_matches("()");
            let exists = match name.split_once("::") {
                Some((of, member)) if of.starts_with(char::is_uppercase) => {
                    files.iter().any(|file| defines(file, of, member))
                }
                // The other page also names what the kernel and CPython have.
                None if page == "CONTRIBUTING.md" && name.contains('_') => {
                    names(name).nth(1).is_some() || known.contains(name)
                }
                Some(_) | None => true,
            };
            if !exists {
                missing.push(format!("{page}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_member_is_found_with_its_type_only() {
    let file = "pub struct Lamp;\nimpl Lamp {\n    pub const fn light(&self) {}\n}\n\
                enum State {\n    On,\n    Off(u8),\n}\n";
    for (of, member) in [("Lamp", "light"), ("State", "On"), ("State", "Off")] {
        assert!(defines(file, of, member), "{of}::{member}");
    }
    for (of, member) in [("Lamp", "shine"), ("Lam", "light"), ("State", "O")] {
        assert!(!defines(file, of, member), "{of}::{member}");
    }
}

#[test]
fn tests_of_the_invariants_exist() {
    let files = all_sources();
    let page = read(Path::new("src/ARCHITECTURE.md"));
    let named = code(section(&page, "Invariants"));
    let names: Vec<&String> = named.iter().filter(|name| name.contains('_')).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(
            files
                .iter()
                .any(|file| file.contains(&format!("fn {name}("))),
            "there is no test {name}"
        );
    }
}

#[test]
fn every_crate_has_its_place_among_the_layers() {
    let page = read(Path::new("src/ARCHITECTURE.md"));
    let list = section(&page, "Crates and layers");
    let named: BTreeSet<String> = list
        .lines()
        .filter_map(|line| Some(line.strip_prefix("- `")?.split_once('`')?.0.to_owned()))
        .filter(|name| name != "rcorn")
        .collect();
    let folders: BTreeSet<String> = fs::read_dir(Path::new(ROOT).join("src"))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(named, folders);
}

#[test]
fn the_page_of_benchmarks_shows_the_published_run() {
    let checked = Command::new("python3")
        .current_dir(ROOT)
        .args(["tests/bench/compare.py", "--check"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[test]
fn comments_are_at_most_a_hundred_columns_wide() {
    let listed = Command::new("find")
        .current_dir(ROOT)
        .args(["src", "tests", "build.rs", "-name", "*.rs"])
        .output()
        .unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    assert!(files.lines().count() > 200, "{files}");
    let mut wide = Vec::new();
    for file in files.lines() {
        for (number, line) in read(Path::new(file)).lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > 100 {
                wide.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "rustfmt leaves these to us: {wide:#?}");
}
