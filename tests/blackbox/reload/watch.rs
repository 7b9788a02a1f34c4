//! `--reload`: every way in which a developer's files change, with both engines; and apps that
//! cannot be loaded.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{APPS, Builder, Gate, Need, Server, lacks, wait_until};

pub(crate) const ENGINES: [&str; 2] = ["inotify", "poll"];

/// An app that answers with what the expression is at import.
pub(crate) fn app(expression: &str) -> String {
    format!(
        "
TEXT = {expression}
def app(environ, start_response):
    start_response('200 OK', [])
    return [TEXT.encode()]
"
    )
}

/// A server that reloads, for `m:app`.
pub(crate) fn reloading(engine: &str, code: &str) -> Builder {
    Server::app("m:app")
        .args(["--reload", "--reload-engine", engine, "-w", "2"])
        .file("m.py", code)
}

/// Expects what broken apps leave in the log.
pub(crate) fn broken(builder: Builder) -> Builder {
    builder
        .allow("Exception in worker process")
        .allow("Failed to find")
        .allow("not callable")
}

/// Waits until the app answers so.
pub(crate) fn expect(server: &Server, text: &str) {
    wait_until(server.deadline(), &format!("the app says {text:?}"), || {
        server.get("/").text() == text
    });
}

/// Waits until the answer is an error that shows this.
pub(crate) fn expect_error(server: &Server, text: &str) {
    let what = format!("the answer shows {text:?}");
    wait_until(server.deadline(), &what, || {
        let reply = server.get("/");
        let is_plain = reply.field("content-type") == Some("text/plain; charset=utf-8");
        reply.status == 500 && is_plain && reply.text().contains(text)
    });
}

/// Saves a file as simple editors do: into the file that there is.
pub(crate) fn save(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn reloads(text: &str) -> usize {
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
            &format!(
                "
from new.deep import text
{}",
                app("text")
            ),
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
                "
def deep():
    raise LookupError('<on> purpose')
deep()
",
                "in deep\n    raise LookupError('<on> purpose')\nLookupError: <on> purpose\n",
            ),
            (
                "
import sys
sys.exit('enough')
",
                "SystemExit: enough",
            ),
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
    let server = reloading(
        "inotify",
        "
import os
os._exit(9)
",
    )
    .args(["--reload-probe", "/nowhere"])
    .allow("exited with code 9")
    .allow("Reload failed")
    .start();
    server.log().expect("exited with code 9");
    server.write("m.py", &app("'mended'"));
    expect(&server, "mended");
    // The probe asks nothing here: a developer wants to see the answer, whatever it is.
    server.write(
        "m.py",
        "
def app(environ, start_response):
    start_response('404 Not Found', [])
    return [b'new']
",
    );
    expect(&server, "new");
    server.stop();
}

#[test]
fn a_save_during_a_reload_wins() {
    let gate = Gate::new();
    let server = reloading("inotify", &app("'one'"))
        .args(["--pythonpath", APPS])
        .gate(&gate)
        .start();
    expect(&server, "one");
    server.write(
        "m.py",
        &format!(
            "
import gate
gate.hold()
{}",
            app("'two'")
        ),
    );
    gate.expect(server.deadline());
    assert_eq!(server.get("/").text(), "one");
    server.write("m.py", &app("'three'"));
    server.log().expect("replaces the one");
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
    let server = reloading(
        "inotify",
        &format!(
            "
import part
{}",
            app("part.text")
        ),
    )
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
            &format!(
                "
from many.part49 import text
{}",
                app("text")
            ),
        ));
        for number in 0..50 {
            builder = builder.file(format!("many/part{number}.py"), "text = 'main'\n");
        }
        let server = builder.start();
        expect(&server, "main");
        let begun = Instant::now();
        for number in 0..50 {
            save(
                &server.directory().join(format!("many/part{number}.py")),
                "text = 'branch'\n",
            );
        }
        // A checkout that pauses for longer than 60 ms is over for those who watch.
        let pauses = usize::try_from(begun.elapsed().as_millis() / 60).unwrap();
        expect(&server, "branch");
        let reloaded = reloads(&server.log().text());
        assert!(
            (1..=2 + pauses).contains(&reloaded),
            "{}",
            server.log().text()
        );
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
fn without_inotify_files_are_looked_at() {
    if lacks(&[Need::UserNamespaces]) {
        return;
    }
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
