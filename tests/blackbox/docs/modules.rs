//! No circle between the modules of a crate: of two that use each other, neither can be read,
//! tested or moved without the other. Between crates cargo sees to it.
//!
//! A module uses another one if it names an item that is defined there. `use` is followed to the
//! definition, so that a `lib.rs` may show what its modules have. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::ROOT;

/// How many `use` are followed from a name to its definition.
const MAX_HOPS: u32 = 8;

/// The names from the crate's root to a module or an item; empty for the root.
type Names = Vec<String>;

/// A module: its text without comments, tests and `use`.
#[derive(Debug, Default)]
struct Module {
    text: String,
    /// What it uses itself: what it names in a `use` that is not `pub`.
    imports: Vec<Names>,
    /// What its `use` name, by the name that it has here.
    uses: BTreeMap<String, Names>,
}

/// The modules of one crate.
#[derive(Debug, Default)]
struct Crate {
    modules: BTreeMap<Names, Module>,
}

fn names(path: &str) -> Names {
    path.split("::")
        .map(|name| name.trim().to_owned())
        .collect()
}

/// All paths of a `use`: `a::{b, c::d as e}` is `a::b` and `a::c::d`, with the names that they get.
fn paths_of_use(prefix: &str, tree: &str, into: &mut Vec<(String, String)>) {
    let Some((before, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or_else(|| {
            let name = tree.rsplit("::").next().unwrap();
            (tree, name)
        });
        into.push((format!("{prefix}{}", path.trim()), name.trim().to_owned()));
        return;
    };
    let prefix = format!("{prefix}{}", before.trim());
    let (inner, _) = rest.rsplit_once('}').expect(tree);
    let mut depth = 0;
    let parts = inner.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        paths_of_use(&prefix, part, into);
    }
}

/// The text without comments. (No string of ours that matters here has two slashes.)
fn without_comments(text: &str) -> String {
    let lines = text.lines();
    lines
        .map(|line| line.split("//").next().unwrap().to_owned() + "\n")
        .collect()
}

/// Whether a `cfg` of tests, loom or a fuzzer is among these attributes.
fn is_of_tests(attributes: &str) -> bool {
    let words = ["test", "loom", "fuzzing"];
    attributes
        .split("#[")
        .filter(|attribute| attribute.starts_with("cfg(") && !attribute.contains("not("))
        .any(|attribute| words.iter().any(|word| attribute.contains(word)))
}

/// Reads a text without comments. Modules of tests that have a file of their own are added to
/// `test_modules`.
fn read_module(text: &str, test_modules: &mut Vec<String>) -> Module {
    let mut module = Module::default();
    let mut attributes = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        if item.starts_with("#[") {
            attributes.push_str(item.trim_end());
            while !attributes.ends_with(']') {
                attributes.push_str(lines.next().expect("an attribute has an end").trim());
            }
            continue;
        }
        let of_tests = is_of_tests(&attributes);
        attributes.clear();
        let is_shown = item.starts_with("pub");
        let word = item
            .trim_start_matches("pub")
            .trim_start_matches("(crate)")
            .trim_start_matches("(super)")
            .trim_start();
        if let Some(tree) = word.strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.ends_with(';') {
                tree.push_str(lines.next().expect("a use has an end").trim());
            }
            let mut found = Vec::new();
            paths_of_use("", tree.trim_end_matches(';'), &mut found);
            for (path, name) in found {
                if !of_tests {
                    if !is_shown {
                        module.imports.push(names(&path));
                    }
                    module.uses.insert(name, names(&path));
                }
            }
        } else if let Some(rest) = word.strip_prefix("mod ").filter(|_| of_tests) {
            if let Some(name) = rest.strip_suffix(';') {
                test_modules.push(name.to_owned());
            } else {
                // Tests stand at the end of their file.
                return module;
            }
        } else {
            module.text.push_str(line);
            module.text.push('\n');
        }
    }
    module
}

/// All paths in a text that begin with one of these words: what is written out in the code.
fn paths_in_text(text: &str, first: &[&str]) -> Vec<Names> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for word in text.split(|c: char| !is_name(c) && c != ':') {
        let path = word.trim_end_matches(':');
        let begin = path.split("::").next().unwrap();
        if path.contains("::") && first.contains(&begin) {
            found.push(names(path));
        }
    }
    found
}

impl Crate {
    fn read(folder: &Path, root: &str) -> Self {
        let mut files = Vec::new();
        rust_files(folder, root == "main", &mut files);
        let mut found = Self::default();
        let mut of_tests: Vec<Names> = Vec::new();
        for file in files {
            let mut place = names(&file.trim_end_matches(".rs").replace('/', "::"));
            if place.last().is_some_and(|name| name == "mod") || place == [root] {
                place.pop();
            }
            let text = without_comments(&fs::read_to_string(folder.join(&file)).unwrap());
            let mut test_modules = Vec::new();
            let module = read_module(&text, &mut test_modules);
            let below = |name: String| place.iter().cloned().chain([name]).collect();
            of_tests.extend(test_modules.into_iter().map(below));
            found.modules.insert(place, module);
        }
        let is_test = |place: &Names| of_tests.iter().any(|test| place.starts_with(test));
        found.modules.retain(|place, _| !is_test(place));
        found
    }

    /// The module that defines what this path names in this place; `None` if it is of another
    /// crate. The rest of the path: nothing is left if it names a module.
    ///
    /// `hops`: how many `use` are followed at most. A module within a file names its file `super`,
    /// so a way may have no end; it leads to nothing of another file.
    fn definition(&self, here: &[String], path: &[String], hops: u32) -> Option<(Names, Names)> {
        let mut place = here.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => place.clear(),
            "super" => {
                place.pop();
            }
            "self" => {}
            name => {
                place.push(name.to_owned());
                if !self.modules.contains_key(&place) {
                    return None;
                }
            }
        }
        rest = &rest[1..];
        while let Some(name) = rest.first() {
            if name == "super" {
                place.pop();
            } else {
                place.push(name.clone());
                if !self.modules.contains_key(&place) {
                    place.pop();
                    break;
                }
            }
            rest = &rest[1..];
        }
        let named = rest
            .first()
            .and_then(|name| self.modules.get(&place)?.uses.get(name));
        if let Some(path) = named {
            let path: Names = path.iter().chain(&rest[1..]).cloned().collect();
            return self.definition(&place, &path, hops.checked_sub(1)?);
        }
        Some((place, rest.to_vec()))
    }

    /// What each module uses: the module that defines it, and the name.
    fn uses(&self) -> BTreeMap<&Names, BTreeSet<(Names, String)>> {
        let mut uses = BTreeMap::new();
        for (here, module) in &self.modules {
            let mut paths = module.imports.clone();
            let below = |place: &&Names| place.len() == here.len() + 1 && place.starts_with(here);
            let mut first: Vec<&str> = vec!["crate", "super", "self"];
            first.extend(
                self.modules
                    .keys()
                    .filter(below)
                    .map(|place| place.last().unwrap().as_str()),
            );
            paths.extend(paths_in_text(&module.text, &first));
            // A module that is imported is used by its name.
            for path in &module.imports {
                let Some((place, rest)) = self.definition(here, path, MAX_HOPS) else {
                    continue;
                };
                let name = path.last().unwrap().as_str();
                if rest.is_empty() && name != "self" {
                    for used in paths_in_text(&module.text, &[name]) {
                        let absolute = ["crate".to_owned()].into_iter();
                        paths.push(
                            absolute
                                .chain(place.clone())
                                .chain(used.into_iter().skip(1))
                                .collect(),
                        );
                    }
                }
            }
            let found = paths
                .iter()
                .filter_map(|path| self.definition(here, path, MAX_HOPS));
            let others = found.filter(|(place, rest)| place != here && !rest.is_empty());
            let named = others.map(|(place, rest)| (place, rest[0].clone()));
            uses.insert(here, named.collect());
        }
        uses
    }

    /// Each use that is part of a circle.
    fn circles(&self) -> Vec<String> {
        let uses = self.uses();
        let reaches = |from: &Names, to: &Names| {
            let mut seen = BTreeSet::from([from]);
            let mut open = vec![from];
            while let Some(place) = open.pop() {
                for (next, _) in uses.get(place).into_iter().flatten() {
                    if next == to {
                        return true;
                    }
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            false
        };
        let show = |place: &Names| {
            ["crate".to_owned()]
                .iter()
                .chain(place)
                .cloned()
                .collect::<Vec<_>>()
                .join("::")
        };
        let mut found = Vec::new();
        for (here, used) in &uses {
            for (place, name) in used.iter().filter(|(place, _)| reaches(place, here)) {
                found.push(format!("{} uses {}::{name}", show(here), show(place)));
            }
        }
        found
    }
}

/// The Rust files below a folder, relative to it.
fn rust_files(folder: &Path, is_flat: bool, into: &mut Vec<String>) {
    fn walk(root: &Path, folder: &Path, is_flat: bool, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                if !is_flat {
                    walk(root, &path, is_flat, into);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap();
                into.push(relative.to_str().unwrap().to_owned());
            }
        }
    }
    walk(folder, folder, is_flat, into);
}

#[test]
fn no_modules_of_a_crate_use_each_other_in_a_circle() {
    let sources = Path::new(ROOT).join("src");
    let mut found = BTreeMap::new();
    let mut count = 0;
    for entry in fs::read_dir(&sources).unwrap().map(Result::unwrap) {
        if entry.path().join("lib.rs").exists() {
            let members = Crate::read(&entry.path(), "lib");
            count += members.modules.len();
            found.insert(entry.file_name(), members.circles());
        }
    }
    found.insert("rcorn".into(), Crate::read(&sources, "main").circles());
    assert!(count > 150, "{count}");
    found.retain(|_, circles| !circles.is_empty());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn circles_are_found_however_they_are_written() {
    for (root, first, second, has_circle) in [
        (
            "mod a;\nmod b;\n",
            "use crate::b::B;\nstruct A;\n",
            "use super::a::A;\nstruct B;\n",
            true,
        ),
        (
            "mod a;\nmod b;\n",
            "use crate::b::{self, C};\nstruct A(b::B);\n",
            "fn f() { crate::a::g() }\n",
            true,
        ),
        (
            "mod a;\nmod b;\nstruct Root(a::A);\n",
            "use crate::Root;\n",
            "",
            true,
        ),
        (
            "mod a;\nmod b;\npub use a::A;\n",
            "struct A(crate::B);\n",
            "use crate::A;\n",
            false,
        ),
        (
            "mod a;\nmod b;\npub use a::A;\npub use b::B;\n",
            "struct A(crate::B);\n",
            "use crate::A;\n",
            true,
        ),
        (
            "mod a;\nmod b;\n",
            "use crate::b::B;\n",
            "#[cfg(test)]\nmod tests {\nuse crate::a::A;\n}\n",
            false,
        ),
        (
            "mod a;\nmod b;\n",
            "use crate::b::B;\n",
            "// use crate::a::A;\nstruct B;\n",
            false,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("lib.rs", root), ("a.rs", first), ("b.rs", second)] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let circles = Crate::read(folder.path(), "lib").circles();
        assert_eq!(
            !circles.is_empty(),
            has_circle,
            "{root}{first}{second}: {circles:?}"
        );
    }
}
