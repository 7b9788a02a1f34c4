//! `--reload`: every way in which a developer's files change, with both engines; and apps that cannot be loaded.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::support::{Builder, Gate, Server, wait_until};

const ENGINES: [&str; 2] = ["inotify", "poll"];

/// An app that answers with what the expression is at import.
fn app(expression: &str) -> String {
    format!(
        "TEXT = {expression}\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [TEXT.encode()]\n"
    )
}

/// A server that reloads, for `m:app`.
fn reloading(engine: &str, code: &str) -> Builder {
    Server::app("m:app")
        .args(["--reload", "--reload-engine", engine, "-w", "2"])
        .file("m.py", code)
}

/// Expects what broken apps leave in the log.
fn broken(builder: Builder) -> Builder {
    builder
        .allow("Exception in worker process")
        .allow("Failed to find")
        .allow("not callable")
}

/// Waits until the app answers so.
fn expect(server: &Server, text: &str) {
    wait_until(server.deadline(), &format!("the app says {text:?}"), || {
        server.get("/").text() == text
    });
}

/// Waits until the answer is an error that shows this.
fn expect_error(server: &Server, text: &str) {
    let what = format!("the answer shows {text:?}");
    wait_until(server.deadline(), &what, || {
        let reply = server.get("/");
        let is_plain = reply.field("content-type") == Some("text/plain; charset=utf-8");
        reply.status == 500 && is_plain && reply.text().contains(text)
    });
}

/// Saves a file as simple editors do: into the file that there is.
fn save(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn reloads(text: &str) -> usize {
    text.matches("Worker reloading: ").count()
}

#[test]
fn saves_of_all_kinds_are_served() {
    for (engine, preload) in [("inotify", "--preload"), ("poll", "--no-preload")] {
        let server = reloading(engine, &app("'one'")).args([preload]).start();
        server
            .log()
            .expect("[WARNING] Reloader is on. Use in development only!");
        server.log().expect(&format!("Watching by {engine} "));
        expect(&server, "one");
        let module = server.directory().join("m.py");
        save(&module, &app("'two'"));
        server
            .log()
            .expect(&format!("Worker reloading: {} modified", module.display()));
        server.log().expect("Reloaded: generation ");
        expect(&server, "two");
        // By another file that takes its place, as most editors do.
        server.write("m.py", &app("'three'"));
        expect(&server, "three");
        // A package within a package that were not there before.
        server.write("new/__init__.py", "");
        server.write("new/deep/__init__.py", "text = 'four'\n");
        server.write(
            "m.py",
            &format!("from new.deep import text\n{}", app("text")),
        );
        expect(&server, "four");
        save(
            &server.directory().join("new/deep/__init__.py"),
            "text = 'five'\n",
        );
        expect(&server, "five");
        server.stop();
    }
}

#[test]
fn extra_files_are_watched_also_those_to_come() {
    for engine in ENGINES {
        let code = "from glob import glob\nfrom os.path import dirname, join\nhere = dirname(__file__)\nfiles = sorted(glob(join(here, 'conf', '**'), recursive=True) + [join(here, '.env')])\ndef read(path):\n    try:\n        return open(path).read()\n    except OSError:\n        return ''\n";
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

/// A package outside of the app's directory, found as editable installs are: by an entry of `sys.path`, or by a
/// finder that knows the package's place.
#[test]
fn code_from_elsewhere_is_watched() {
    for (engine, by_path) in [("inotify", true), ("inotify", false), ("poll", true)] {
        let outside = TempDir::with_prefix("rcorn-outside-").unwrap();
        let file = outside.path().join("src/shared/__init__.py");
        save(&file, "text = 'one'\n");
        let source = outside.path().join("src");
        let finder = format!(
            "import sys\nfrom importlib.util import spec_from_file_location\nclass Finder:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n        if name == 'shared':\n            return spec_from_file_location(name, {:?}, submodule_search_locations=[{:?}])\nsys.meta_path.append(Finder)\n",
            file.to_str().unwrap(),
            file.parent().unwrap().to_str().unwrap(),
        );
        let code = format!(
            "{}from shared import text\n{}",
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
fn a_broken_app_shows_why_and_is_mended_by_the_next_save() {
    for preload in ["--preload", "--no-preload"] {
        // From the very first start on.
        let server = broken(reloading("inotify", "def app(:\n"))
            .args([preload])
            .start();
        expect_error(&server, "SyntaxError");
        for (code, shown) in [
            ("import nowhere\n", "No module named 'nowhere'"),
            (
                "def other(): pass\n",
                "Failed to find attribute 'app' in 'm'.",
            ),
            ("app = 5\n", "not callable"),
            (
                "def deep():\n    raise LookupError('<on> purpose')\ndeep()\n",
                "in deep\n    raise LookupError('<on> purpose')\nLookupError: <on> purpose\n",
            ),
            ("import sys\nsys.exit('enough')\n", "SystemExit: enough"),
            ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ] {
            server.write("m.py", code);
            expect_error(&server, shown);
        }
        server.log().expect("LookupError: <on> purpose");
        server.write("m.py", &app("'mended'"));
        expect(&server, "mended");
        server.write("m.py", "1 / 0\n");
        expect_error(&server, "Traceback (most recent call last):");
        server.write("m.py", &app("'again'"));
        expect(&server, "again");
        server.stop();
    }
}

#[test]
fn an_app_that_takes_its_process_along_is_waited_for() {
    let server = reloading("inotify", "import os\nos._exit(9)\n")
        .args(["--reload-probe", "/nowhere"])
        .allow("Template (pid")
        .allow("eload failed")
        .start();
    server.log().expect("exited with code 9");
    server.write("m.py", &app("'mended'"));
    expect(&server, "mended");
    // The probe asks nothing here: a developer wants to see the answer, whatever it is.
    server.write(
        "m.py",
        "def app(environ, start_response):\n    start_response('404 Not Found', [])\n    return [b'new']\n",
    );
    expect(&server, "new");
    server.stop();
}

#[test]
fn a_save_during_a_reload_wins() {
    let gate = Gate::new();
    let server = reloading("inotify", &app("'one'"))
        .args([
            "--pythonpath",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        ])
        .gate(&gate)
        .start();
    expect(&server, "one");
    server.write(
        "m.py",
        &format!("import gate\ngate.hold()\n{}", app("'two'")),
    );
    gate.expect(server.deadline());
    assert_eq!(server.get("/").text(), "one");
    server.write("m.py", &app("'three'"));
    server.log().expect("takes the place of the one");
    expect(&server, "three");
    // Nobody waits for `reload_watch`: the next save finds everything in place.
    server.log().expect("Reloaded: generation 3 serves.");
    server.stop();
}

/// Bytecode belongs to a source by its size and the second of its time: here nothing else differs.
#[test]
fn a_second_save_within_a_second_is_not_mistaken_for_the_first() {
    let moment = SystemTime::now();
    let save = |path: &Path, text: &str, moment: SystemTime| {
        // Complete before it is there, so that no look comes in between.
        let draft = path.with_extension("draft");
        fs::write(&draft, text).unwrap();
        let file = File::options().write(true).open(&draft).unwrap();
        file.set_modified(moment).unwrap();
        fs::rename(&draft, path).unwrap();
    };
    let server = reloading("inotify", &format!("import part\n{}", app("part.text")))
        .file("part.py", "text = 'none'\n")
        .env("PYTHONDONTWRITEBYTECODE", "")
        .start();
    expect(&server, "none");
    let part = server.directory().join("part.py");
    for (time, one, two) in [
        (moment, "one_", "two_"),
        (moment - Duration::from_hours(1), "thre", "four"),
    ] {
        save(&part, &format!("text = '{one}'\n"), time);
        expect(&server, one);
        // A test runner beside us does not know of our doubts and leaves its bytecode.
        let compiled = Command::new("python3")
            .args(["-m", "py_compile"])
            .arg(&part)
            .status()
            .unwrap();
        assert!(compiled.success());
        save(&part, &format!("text = '{two}'\n"), time);
        expect(&server, two);
    }
    // Code that rests is kept compiled: reloads shall be quick.
    let cache = server.directory().join("__pycache__");
    wait_until(server.deadline(), "the app's own bytecode is kept", || {
        let entries = fs::read_dir(&cache).unwrap().flatten();
        let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        if names.any(|name| name.starts_with("m.")) {
            return true;
        }
        self::save(&server.directory().join("more.py"), "");
        server.log().expect("/more.py modified");
        server.log().expect("Reloaded: generation ");
        false
    });
    server.stop();
}

#[test]
fn a_checkout_is_one_reload_or_two() {
    for engine in ENGINES {
        let mut builder = broken(reloading(
            engine,
            &format!("from many.part49 import text\n{}", app("text")),
        ));
        for number in 0..50 {
            builder = builder.file(format!("many/part{number}.py"), "text = 'main'\n");
        }
        let server = builder.start();
        expect(&server, "main");
        for number in 0..50 {
            save(
                &server.directory().join(format!("many/part{number}.py")),
                "text = 'branch'\n",
            );
        }
        expect(&server, "branch");
        let reloaded = reloads(&server.log().text());
        assert!((1..=2).contains(&reloaded), "{}", server.log().text());
        // Away and back at once, with other contents.
        let (many, away) = (
            server.directory().join("many"),
            server.directory().join("other"),
        );
        fs::rename(&many, &away).unwrap();
        save(&away.join("part49.py"), "text = 'back'\n");
        fs::rename(&away, &many).unwrap();
        expect(&server, "back");
        // Away for good, until it is missed.
        fs::rename(&many, &away).unwrap();
        expect_error(&server, "No module named 'many'");
        fs::rename(&away, &many).unwrap();
        expect(&server, "back");
        save(&many.join("part49.py"), "text = 'end'\n");
        expect(&server, "end");
        let ended = server.stop();
        assert!(reloads(ended.text()) <= 8, "{}", ended.text());
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
    server.write("m.py", &format!("from linked import text\n{}", app("text")));
    expect(&server, "one");
    save(&real, "text = 'two'\n");
    expect(&server, "two");
    save(&outside.path().join("package/part.py"), "text = 'three'\n");
    server.write(
        "m.py",
        &format!("from package.part import text\n{}", app("text")),
    );
    expect(&server, "three");
    save(&outside.path().join("package/part.py"), "text = 'four'\n");
    expect(&server, "four");
    server.stop();
}

#[test]
fn without_inotify_files_are_looked_at() {
    for (limit, value, named) in [
        ("max_inotify_instances", 0, "fs.inotify.max_user_instances"),
        ("max_inotify_watches", 1, "fs.inotify.max_user_watches"),
    ] {
        // A user namespace has limits of its own.
        let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let server = reloading("auto", &app("'one'"))
            .file("package/__init__.py", "")
            .program([
                "unshare",
                "--user",
                "--map-root-user",
                "sh",
                "-c",
                &script,
                env!("CARGO_BIN_EXE_rcorn"),
            ])
            .start();
        let line = server.log().expect("Cannot use inotify: ");
        assert!(
            line.contains(named) && line.ends_with("watching by poll"),
            "{line}"
        );
        server.log().expect("Watching by poll");
        expect(&server, "one");
        server.write("m.py", &app("'two'"));
        expect(&server, "two");
        server.stop();
    }
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
