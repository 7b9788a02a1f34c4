//! The command line: help, version, wrong use, and what each says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{self, Once, Server};

#[test]
fn version_and_help_go_to_standard_output() {
    let ended = Server::without_app()
        .args(["--version"])
        .unbound()
        .start()
        .exit();
    assert_eq!(ended.code(), Some(0));
    assert!(
        ended.text().contains("rcorn (version 0."),
        "{}",
        ended.text()
    );
    let ended = Server::without_app()
        .args(["--help"])
        .unbound()
        .start()
        .exit();
    assert_eq!(ended.code(), Some(0));
    for word in [
        "APP_MODULE",
        "--workers",
        "--bind",
        "--max-requests-jitter",
        "WEB_CONCURRENCY",
    ] {
        assert!(ended.text().contains(word), "no {word} in {}", ended.text());
    }
}

/// The build, and which Python would run the app, and why that one.
#[test]
fn the_version_in_full_tells_the_build_and_the_python() {
    let folder = tempfile::TempDir::new().unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let python = bin.join("python3");
    let path = std::env::var("PATH").unwrap();
    let ours = support::python();
    let ours = ours.to_str().unwrap();
    let text = format!("#!/bin/sh\nPATH='{path}' exec {ours} \"$@\"\n");
    fs::write(&python, text).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let home = folder.path().to_str().unwrap();
    let python = python.to_str().unwrap();
    let ask = || Once::rcorn(["--version", "--verbose"]);
    for (asked, place) in [
        (ask(), "the first python3 on PATH".to_owned()),
        (
            Once::rcorn(["--python", python, "--verbose", "-v"]),
            format!("python     {python}: the setting python\n"),
        ),
        (
            Once::rcorn(["--version", "x:logic", "--verbose"]).env("VIRTUAL_ENV", home),
            format!("python     {python}: the virtual environment in VIRTUAL_ENV\n"),
        ),
        (
            ask().env("PATH", format!("{}:{path}", bin.display())),
            format!("python     {python}: the first python3 on PATH\n"),
        ),
    ] {
        let said = asked.run().done();
        for part in [
            "rcorn (version 0.",
            "\nbuild      ",
            ", sources ",
            // Builds for speed have those for interpreters without the GIL, too.
            "\nmodules    abi3-py39, ",
            "for CPython 3.9 to 3.15, and later ones with the GIL\n",
            &place,
            "\n           CPython 3.",
            "; it loads abi3-py39\n",
        ] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
    // One that cannot be used is named, too, with what is wrong about it.
    fs::write(folder.path().join("bin/python3"), "#!/bin/sh\nexit 1\n").unwrap();
    let left = Once::rcorn(["--version", "--verbose", "--python", python]).run();
    assert_eq!(left.status.code(), Some(1), "{left:?}");
    assert!(left.text().contains("the setting python"), "{left:?}");
    let said = format!("{python} ended before rcorn was loaded");
    assert!(left.errors.contains(&said), "{left:?}");
}

fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = Server::without_app()
        .args(arguments)
        .unbound()
        .start()
        .exit();
    assert_eq!(ended.code(), Some(code), "{arguments:?}: {}", ended.text());
    for word in words {
        assert!(
            ended.text().contains(word),
            "{arguments:?}: no {word:?} in {}",
            ended.text()
        );
    }
}

#[test]
fn wrong_use_names_the_thing_and_the_way_out() {
    refused(&["--wokers", "4", "x:y"], 2, &["--wokers", "--workers"]);
    refused(
        &["--workers", "many", "x:y"],
        2,
        &["--workers", "many", "hint:"],
    );
    refused(
        &["-b", "127.0.0.1:http", "x:y"],
        2,
        &["127.0.0.1:http", "hint:"],
    );
    refused(
        &["-k", "uvicorn.workers.UvicornWorker", "x:y"],
        1,
        &["uvicorn", "ASGI"],
    );
    refused(&["x:y z"], 2, &["hint:"]);
    refused(
        &["x:f(g())"],
        2,
        &["character 5", "names are not looked up"],
    );
}

#[test]
fn a_missing_python_or_directory_is_said() {
    let app = ["hello:app"];
    let bad = |arguments: &[&str], words: &[&str]| {
        let all: Vec<&str> = arguments.iter().chain(&app).copied().collect();
        refused(&all, 1, words);
    };
    bad(
        &["--python", "/nonexistent/python3"],
        &["/nonexistent/python3", "--python", "hint:"],
    );
    bad(
        &["--chdir", "/nonexistent/folder"],
        &["/nonexistent/folder", "hint:"],
    );
    for file in ["/nonexistent/conf.py", "/nonexistent/conf.yaml"] {
        bad(
            &["-c", file],
            &["No such file", file, "hint: -c must name a file"],
        );
    }
}
