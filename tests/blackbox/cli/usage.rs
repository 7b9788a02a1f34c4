//! The command line: help, version, wrong use, and what each says.

use crate::support::Server;

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
    refused(&["-k", "gevent", "x:y"], 1, &["gevent", "sync"]);
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
