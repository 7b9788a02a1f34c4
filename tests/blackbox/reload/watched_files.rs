//! `--reload`: which files are watched, with both engines.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::watch::{ENGINES, app, broken, expect, expect_error, reloading, reloads, save};
use crate::support::Server;

#[test]
fn extra_files_are_watched_also_those_to_come() {
    for engine in ENGINES {
        let code = "
from glob import glob
from os.path import dirname, join
here = dirname(__file__)
files = sorted(glob(join(here, 'conf', '**'), recursive=True) + [join(here, '.env')])
def read(path):
    try:
        return open(path).read()
    except OSError:
        return ''
";
        let code = format!(
            "{code}{}",
            app("'+' + ''.join(read(path) for path in files)")
        );
        let server = reloading(engine, &code)
            .args(["--reload-extra-file", "conf/**/*.[ty]*ml"])
            .args(["--reload-extra-file", ".env"])
            .args(["--reload-extra-file", "conf/all"])
            .start();
        expect(&server, "+");
        let file = |name: &str| server.directory().join(name);
        save(&file(".env"), "a");
        expect(&server, "+a");
        save(&file("conf/deep/er/x.yaml"), "b");
        expect(&server, "+ab");
        server.write("conf/deep/er/x.yaml", "c");
        expect(&server, "+ac");
        save(&file("conf/all/it"), "d");
        expect(&server, "+adc");
        fs::remove_file(file(".env")).unwrap();
        expect(&server, "+dc");
        server.stop();
    }
}

#[test]
fn what_is_not_the_apps_code_does_not_matter() {
    for engine in ENGINES {
        let server = reloading(engine, &app("'one'"))
            .file("venv/pyvenv.cfg", "")
            .file("venv/x.py", "")
            .start();
        expect(&server, "one");
        for name in [
            "notes.txt",
            ".hidden.py",
            ".git/x.py",
            "node_modules/x.py",
            "__pycache__/x.py",
            "lib/site-packages/x.py",
            "venv/x.py",
            "venv/lib/y.py",
        ] {
            save(&server.directory().join(name), "# changed\n");
        }
        save(&server.directory().join("m.py"), &app("'two'"));
        expect(&server, "two");
        let ended = server.stop();
        assert_eq!(reloads(ended.text()), 1, "{}", ended.text());
        assert!(
            ended.text().contains("/m.py modified\n"),
            "{}",
            ended.text()
        );
    }
}

/// A package outside of the app's directory, found as editable installs are: by an entry of
/// `sys.path`, or by a finder that knows the package's place.
#[test]
fn code_from_elsewhere_is_watched() {
    for (engine, by_path) in [("inotify", true), ("inotify", false), ("poll", true)] {
        let outside = TempDir::with_prefix("rcorn-outside-").unwrap();
        let file = outside.path().join("src/shared/__init__.py");
        save(&file, "text = 'one'\n");
        let source = outside.path().join("src");
        let finder = format!(
            "
import sys
from importlib.util import spec_from_file_location
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'shared':
            return spec_from_file_location(name, {:?}, submodule_search_locations=[{:?}])
sys.meta_path.append(Finder)
",
            file.to_str().unwrap(),
            file.parent().unwrap().to_str().unwrap(),
        );
        let code = format!(
            "
{}from shared import text
{}",
            if by_path { "" } else { &finder },
            app("text")
        );
        let mut builder = broken(reloading(engine, &code));
        if by_path {
            builder = builder.env("PYTHONPATH", &source);
        }
        // It is broken before it was ever loaded.
        save(&file, "text = 'one\n");
        let server = builder.start();
        expect_error(&server, "SyntaxError");
        save(&file, "text = 'one'\n");
        expect(&server, "one");
        save(&file, "from .part import text\n");
        expect_error(&server, "No module named 'shared.part'");
        save(&source.join("shared/part.py"), "text = 'two'\n");
        expect(&server, "two");
        save(&source.join("shared/part.py"), "text = 'three'\n");
        expect(&server, "three");
        server.stop();
    }
}

#[test]
fn links_are_followed_to_what_they_mean() {
    let outside = TempDir::with_prefix("rcorn-outside-").unwrap();
    let real = outside.path().join("real.py");
    save(&real, "text = 'one'\n");
    fs::create_dir(outside.path().join("package")).unwrap();
    let server = reloading("inotify", &app("''")).start();
    expect(&server, "");
    let link = |to: &Path, name: &str| {
        std::os::unix::fs::symlink(to, server.directory().join(name)).unwrap();
    };
    link(&real, "linked.py");
    link(&outside.path().join("package"), "package");
    // In a circle.
    link(server.directory(), "circle");
    server.write(
        "m.py",
        &format!(
            "
from linked import text
{}",
            app("text")
        ),
    );
    expect(&server, "one");
    save(&real, "text = 'two'\n");
    expect(&server, "two");
    save(&outside.path().join("package/part.py"), "text = 'three'\n");
    server.write(
        "m.py",
        &format!(
            "
from package.part import text
{}",
            app("text")
        ),
    );
    expect(&server, "three");
    save(&outside.path().join("package/part.py"), "text = 'four'\n");
    expect(&server, "four");
    server.stop();
}

#[test]
fn nothing_is_watched_without_it() {
    let listens = |server: &Server| {
        let folder = format!("/proc/{}/fd", server.pid());
        let entries = fs::read_dir(folder).unwrap().flatten();
        let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        let mut inotify = targets.filter(|target| target.to_string_lossy().contains("inotify"));
        inotify.next().is_some()
    };
    let plain = Server::app("m:app").file("m.py", app("'one'")).start();
    expect(&plain, "one");
    let watched = reloading("auto", &app("'one'")).start();
    expect(&watched, "one");
    assert!(!listens(&plain));
    assert!(listens(&watched));
    plain.stop();
    watched.stop();
}
