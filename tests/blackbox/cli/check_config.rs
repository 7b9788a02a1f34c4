//! `--check-config` and `--print-config`.

use crate::support::conf::APP;

use crate::support::conf::with;
use crate::support::{Ended, Server};

fn check(conf: &str, app: &str, flag: &str) -> Ended {
    Server::app("m:app")
        .file("m.py", app)
        .file("gunicorn.conf.py", conf)
        .args([flag])
        .allow("Exception in worker process")
        .allow("Failed to read config file")
        .start()
        .exit()
}

#[test]
fn check_config_imports_the_app_and_names_what_is_wrong() {
    let good = check("workers = 3", APP, "--check-config");
    assert_eq!((good.code(), good.text()), (Some(0), ""));
    let broken = check("workers = 3", "import nowhere", "--check-config");
    assert_eq!(broken.code(), Some(1));
    assert!(
        broken.text().contains("No module named 'nowhere'"),
        "{}",
        broken.text()
    );
    let raising = check(
        "import json\n\nworkers = json.loads('{')\n",
        APP,
        "--check-config",
    );
    assert_eq!(raising.code(), Some(1));
    assert!(raising.text().contains("rcorn: error: Failed to read config file: gunicorn.conf.py:3: json.decoder.JSONDecodeError"), "{}", raising.text());
    assert!(
        raising
            .text()
            .contains("Traceback (most recent call last):"),
        "{}",
        raising.text()
    );
    let wrong = check("workers = -3", APP, "--check-config");
    assert_eq!(wrong.code(), Some(1));
    assert!(
        wrong
            .text()
            .contains("gunicorn.conf.py:1: workers: '-3' is not"),
        "{}",
        wrong.text()
    );
}

#[test]
fn print_config_is_gunicorns() {
    let printed = check(
        "workers = 3\ndef on_exit(server): pass",
        APP,
        "--print-config",
    );
    assert_eq!(printed.code(), Some(0));
    for line in [
        "\nworkers ",
        "= 3\n",
        "\nkeyfile ",
        "= None\n",
        "= {'X-FORWARDED-PROTOCOL': 'ssl', ",
    ] {
        assert!(
            printed.text().contains(line),
            "no {line:?} in {}",
            printed.text()
        );
    }
}

#[test]
fn a_check_believes_only_an_app_that_was_loaded() {
    for (app, words) in [
        (
            "
import os
os._exit(0)
",
            "cannot import the app: it ended its process with exit code 0",
        ),
        (
            "
import os
os.kill(os.getpid(), 9)
",
            "cannot import the app: its process was ended by SIGKILL",
        ),
    ] {
        let ended = with("")
            .file("m.py", app)
            .args(["--check-config"])
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        assert!(ended.text().contains(words), "{}", ended.text());
    }
}

#[test]
fn a_check_says_of_sharing_what_the_server_does() {
    let thread = "
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
";
    let app = format!("{thread}{APP}");
    let hook = "def post_fork(server, worker): pass\n";
    let has_hook = "Not preloading: the config file has post_fork, which runs before the import";
    for (flags, conf, app, expected) in [
        (&[][..], "", APP, &[][..]),
        (&[], hook, APP, &[has_hook]),
        (
            &[],
            thread,
            APP,
            &["Not preloading: a hook of the config file has started a thread"],
        ),
        (
            &[],
            hook,
            &app,
            &[has_hook, "Not preloading: m.py:3 starts a thread at import"],
        ),
        (
            &["--preload"],
            hook,
            &app,
            &["Preloading as ordered, although m.py:3 starts a thread at import"],
        ),
        (&["--no-preload"], hook, &app, &[]),
    ] {
        says(flags, conf, app, expected);
    }
}

#[test]
fn a_check_says_when_there_are_no_spare_workers() {
    let thread =
        format!("import threading\nthreading.Thread(target=len, args=['']).start()\n{APP}");
    let shared = "No spare workers: the import is shared, and a worker is forked as quickly";
    let not_shared = "Not preloading: m.py:2 starts a thread at import";
    let ordered =
        "spare_workers has no effect beside preload_app: on; a worker is forked as quickly";
    says(&["--spare-workers", "1"], "", APP, &[shared]);
    says(&["--spare-workers", "1"], "", &thread, &[not_shared]);
    says(&["--spare-workers", "1", "--preload"], "", APP, &[ordered]);
}

/// Checks an app: the log has exactly lines with these ends.
fn says(flags: &[&str], conf: &str, app: &str, expected: &[&str]) {
    let checked = Server::app("m:app")
        .file("m.py", app)
        .file("gunicorn.conf.py", conf)
        .args([&["--check-config"], flags].concat())
        .allow("Preloading as ordered")
        .allow("spare_workers has no effect")
        .start()
        .exit();
    assert_eq!(checked.code(), Some(0), "{}", checked.text());
    let lines: Vec<&str> = checked.text().lines().collect();
    assert_eq!(lines.len(), expected.len(), "{flags:?} {conf:?}: {lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.ends_with(expected), "{flags:?} {conf:?}: {lines:?}");
    }
}
