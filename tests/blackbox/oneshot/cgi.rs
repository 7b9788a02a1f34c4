//! `rcorn cgi`: one request from the environment and standard input, and the unit tests of its
//! Python part, on every Python.

use tempfile::TempDir;

use super::cgi;
use crate::support::once::Left;
use crate::support::{APPS, EXAMPLES, Once, pythons};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/python");

/// Head and body of a CGI response.
fn split(left: &Left) -> (String, Vec<u8>) {
    let end = left.output.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {left:?}"));
    let end = end.saturating_add(4);
    let head = String::from_utf8_lossy(&left.output[..end]).into_owned();
    assert!(head.starts_with("Status: "), "{left:?}");
    (head, left.output[end..].to_vec())
}

fn body(left: &Left) -> String {
    String::from_utf8(split(left).1).unwrap()
}

#[test]
fn the_python_part_passes_its_unit_tests_on_every_python() {
    let mut tried = 0;
    for (python, version) in pythons().iter().filter(|(_, version)| *version >= (3, 9)) {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
        let left = Once::new(
            python,
            ["-W", "error", "-m", "unittest", "discover", "-s", tests],
        )
        .env("PYTHONPATH", SOURCES)
        .run();
        assert!(left.status.success(), "{version:?}: {}", left.errors);
        let ran = left.errors.lines().find(|line| line.starts_with("Ran "));
        assert!(
            ran.is_some_and(|line| !line.starts_with("Ran 0")),
            "{}",
            left.errors
        );
        tried += 1;
    }
    assert!(tried > 0, "no CPython of 3.9 or later on this machine");
}

#[test]
fn a_request_is_answered_in_cgis_form_on_every_python() {
    for (python, version) in pythons().iter().filter(|(_, version)| *version >= (3, 9)) {
        let left = cgi("oneshot:app", "GET", "/where")
            .env("RCORN_CMD_ARGS", format!("--python {}", python.display()))
            .run();
        let expected = format!("{APPS} {}.{} cgi", version.0, version.1);
        assert_eq!(
            left.done(),
            format!(
                "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{expected}",
                expected.len()
            )
        );
        assert_eq!(left.errors, "");
    }
}

#[test]
fn all_forms_of_app_names_are_understood() {
    let answer = |app: &str| {
        let words = [
            "cgi",
            "-e",
            "VALIDATED=x:logic",
            "--pythonpath",
            APPS,
            "--chdir",
            EXAMPLES,
            app,
        ];
        body(&Once::rcorn(words).env("REQUEST_METHOD", "GET").run())
    };
    assert_eq!(answer("x:logic"), "OK\n");
    assert_eq!(answer("callable_object:create(\"Hi\", mark='!')"), "Hi!\n");
    assert_eq!(answer("validated:app"), "OK\n");
    assert_eq!(answer("callable_object:app.__call__"), "Hello.\n");
}

#[test]
fn what_cannot_be_loaded_is_said_as_by_the_server_and_the_client_is_told_500() {
    let broken = TempDir::new().unwrap();
    std::fs::write(
        broken.path().join("broken.py"),
        "
import oneshot
1 / 0
",
    )
    .unwrap();
    let case = |app: &str, code: i32, words: &[&str]| {
        let left = cgi(app, "GET", "/").env("PYTHONPATH", broken.path()).run();
        assert_eq!(left.status.code(), Some(code), "{left:?}");
        let (head, page) = split(&left);
        assert!(
            head.starts_with("Status: 500 Internal Server Error\r\n"),
            "{head}"
        );
        assert_eq!(page, b"Internal Server Error\n");
        for word in words {
            assert!(left.errors.contains(word), "no {word:?} in {}", left.errors);
        }
        assert!(!left.errors.contains("_rcorn"), "{}", left.errors);
    };
    case(
        "nowhere:app",
        3,
        &["ModuleNotFoundError: No module named 'nowhere'"],
    );
    case("broken:app", 3, &["broken.py", "ZeroDivisionError"]);
    case(
        "oneshot:wrong",
        4,
        &["Failed to find attribute 'wrong' in 'oneshot'. Callables there: Closing, app, peak."],
    );
    case(
        "oneshot:PLAIN",
        4,
        &["'oneshot.PLAIN' is a list, which is not callable"],
    );
    case("oneshot:peak(1)", 3, &["TypeError", "peak()"]);
}

#[test]
fn wrong_use_is_explained() {
    let refused = |once: Once, code: i32, words: &[&str]| {
        let left = once.run();
        assert_eq!(left.status.code(), Some(code), "{left:?}");
        assert_eq!(left.text(), "");
        for word in words {
            assert!(left.errors.contains(word), "no {word:?} in {}", left.errors);
        }
    };
    let typed = Once::rcorn(["cgi", "x:logic"]);
    refused(
        typed,
        2,
        &[
            "REQUEST_METHOD is not set",
            "a web server starts",
            "hint: to try it: REQUEST_METHOD=GET",
        ],
    );
    refused(Once::rcorn(["cgi"]), 2, &["APP_MODULE", "rcorn cgi --help"]);
    refused(
        Once::rcorn(["cgi", "--workers", "4", "x:logic"]),
        2,
        &["'--workers'", "rcorn cgi --help"],
    );
    refused(
        Once::rcorn(["cgi", "x:f(g())"]),
        2,
        &["character 5", "names are not looked up"],
    );
    refused(
        Once::rcorn(["cgi", "--chdir", "/nonexistent", "x:logic"]),
        1,
        &["/nonexistent", "hint:"],
    );
    let old = pythons().into_iter().find(|(_, version)| *version < (3, 9));
    if let Some((python, version)) = old {
        let left = cgi("x:logic", "GET", "/")
            .env("RCORN_CMD_ARGS", format!("--python {}", python.display()));
        refused(
            left,
            1,
            &[
                &format!("is Python {}.{}", version.0, version.1),
                "hint: rcorn needs Python 3.9",
            ],
        );
    }
    let help = Once::rcorn(["cgi", "--help"]).run().done();
    assert!(
        help.contains("RFC 3875") && help.contains("--chdir <DIR>"),
        "{help}"
    );
}

/// RFC 3875 section 4.4: a query without `=` also comes as arguments of the command line.
#[test]
fn a_clients_query_cannot_become_an_option() {
    let with = |words: &[&str]| {
        let words = ["cgi", "--chdir", APPS, "oneshot:app"].iter().chain(words);
        Once::rcorn(words)
            .env("REQUEST_METHOD", "GET")
            .env("PATH_INFO", "/x")
            .run()
    };
    let refused = with(&["--python=/bin/false"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        refused
            .errors
            .contains("--python=/bin/false follows the app"),
        "{refused:?}"
    );
    // The arguments of a script that names rcorn in its first line.
    assert_eq!(
        body(&with(&[
            "/srv/cgi-bin/app",
            "--python=/bin/false",
            "--help"
        ])),
        "/x"
    );
    assert_eq!(body(&with(&["word"])), "/x");
}

#[test]
fn a_server_without_a_path_and_with_foreign_variables_is_served() {
    let left = cgi("oneshot:app", "GET", "/x")
        .without("PATH")
        .env("PORT", "no number")
        .env("WEB_CONCURRENCY", "many")
        .run();
    assert_eq!(body(&left), "/x");
}

#[test]
fn the_environ_is_that_of_pep_3333() {
    let left = cgi("environ:app", "POST", "/caf\u{e9}")
        .env("SCRIPT_NAME", "/cgi-bin/shop")
        .env("CONTENT_LENGTH", "5")
        .env("CONTENT_TYPE", "text/plain")
        .env("HTTP_CONTENT_LENGTH", "5")
        .env("HTTPS", "on")
        .env("HTTP_PROXY", "http://evil")
        .env("REQUEST_URI", "/cgi-bin/shop/caf%C3%A9?a")
        .input("hello, and what is not ours")
        .run();
    let shown: serde_json::Value = serde_json::from_slice(&split(&left).1).unwrap();
    for (key, expected) in [
        ("PATH_INFO", "'/caf\u{c3}\u{a9}'"),
        ("SCRIPT_NAME", "'/cgi-bin/shop'"),
        ("QUERY_STRING", "''"),
        ("RAW_URI", "'/cgi-bin/shop/caf%C3%A9?a'"),
        ("wsgi.url_scheme", "'https'"),
        ("wsgi.run_once", "True"),
        ("wsgi.multiprocess", "True"),
        ("wsgi.multithread", "False"),
        ("wsgi.version", "(1, 0)"),
        ("(body)", "b'hello'"),
    ] {
        assert_eq!(shown[key][1], expected, "{key}");
    }
    for key in ["HTTP_PROXY", "HTTP_CONTENT_LENGTH"] {
        assert!(shown.get(key).is_none(), "{key}");
    }
    let left = cgi("oneshot:app", "GET", "/proxy")
        .env("HTTP_PROXY", "http://evil")
        .run();
    assert_eq!(body(&left), "[None, None]");
}

#[test]
fn the_validator_has_nothing_to_say() {
    for (app, method) in [
        ("x:logic", "GET"),
        ("function:app", "GET"),
        ("middleware:app", "HEAD"),
        ("iterator_class:Countdown", "GET"),
    ] {
        let words = [
            "cgi",
            "--pythonpath",
            APPS,
            "--chdir",
            EXAMPLES,
            "validated:app",
        ];
        let left = Once::rcorn(words)
            .env("VALIDATED", app)
            .env("REQUEST_METHOD", method)
            .env("PATH_INFO", "/hello")
            .run();
        assert!(
            split(&left).0.starts_with("Status: 200 OK\r\n"),
            "{app}: {left:?}"
        );
        assert_eq!(left.errors, "", "{app}");
    }
}

#[test]
fn apps_that_fail_get_a_500_or_are_cut_off() {
    let ask = |path: &str| cgi("cases:app", "GET", path).run();
    for (path, words) in [
        ("/raises", "ValueError: raised on purpose"),
        ("/raises_before_first_part", "ValueError: raised on purpose"),
        ("/exits", "SystemExit: on purpose"),
        ("/returns_str", "text.encode"),
        ("/never_starts", "without calling start_response"),
        ("/bad_header_crlf", "bad header"),
    ] {
        let left = ask(path);
        assert_eq!(left.status.code(), Some(0), "{path}: {left:?}");
        assert!(
            split(&left).0.starts_with("Status: 500 "),
            "{path}: {left:?}"
        );
        assert!(left.errors.contains(words), "{path}: {left:?}");
    }
    for (path, part) in [
        ("/raises_midway", "half"),
        ("/exc_info_after", "sent"),
        ("/too_short", "short"),
    ] {
        let left = ask(path);
        assert_eq!(left.status.code(), Some(1), "{path}: {left:?}");
        assert_eq!(body(&left), part, "{path}");
        assert!(
            left.errors.contains("the response was cut off"),
            "{path}: {left:?}"
        );
    }
    for (path, expected) in [
        ("/write", "one two three"),
        ("/exc_info_before", "mended"),
        ("/file_offset", &"0123456789".repeat(1000)[5..]),
        ("/too_long", "long"),
        ("/no_content", ""),
    ] {
        let left = ask(path);
        assert_eq!(left.status.code(), Some(0), "{path}: {left:?}");
        assert_eq!(body(&left), expected, "{path}");
    }
    let left = cgi("cases:app", "HEAD", "/hello").run();
    assert_eq!(split(&left).1, b"");
}

#[test]
fn what_the_app_prints_does_not_tear_the_response() {
    let left = cgi("oneshot:app", "POST", "/prints")
        .env("CONTENT_LENGTH", "4")
        .input("body")
        .run();
    assert_eq!(body(&left), "''");
    assert!(left.errors.contains("printed by the app\n"), "{left:?}");
    assert!(left.errors.contains("printed by a child\n"), "{left:?}");
}

#[test]
fn bodies_keep_to_their_length() {
    let read = |length: &str, input: &str| {
        cgi("cases:app", "POST", "/read_then_report")
            .env("CONTENT_LENGTH", length)
            .input(input)
            .run()
    };
    for (length, input) in [("3", "abc"), ("3", "abcdef"), ("0", "x"), ("", "x")] {
        let left = read(length, input);
        assert_eq!(left.errors, "reading gave a whole body\n", "{length:?}");
    }
    let torn = read("9", "abc");
    assert!(
        torn.errors
            .contains("reading raised ConnectionResetError: the request body ended 6 bytes early"),
        "{torn:?}"
    );
    for length in ["many", "-1", "1,1"] {
        let left = read(length, "abc");
        assert!(
            split(&left).0.starts_with("Status: 400 Bad Request\r\n"),
            "{left:?}"
        );
        assert_eq!(left.status.code(), Some(0));
        assert!(left.errors.contains("CONTENT_LENGTH"), "{left:?}");
    }
    let left = cgi("cases:app", "POST", "/read_all")
        .env("HTTP_TRANSFER_ENCODING", "chunked")
        .input("taken apart by the web server")
        .run();
    assert_eq!(body(&left), "taken apart by the web server");
}
