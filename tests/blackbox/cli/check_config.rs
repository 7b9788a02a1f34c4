//! `--check-config` and `--print-config`.

use crate::support::conf::APP;

use crate::support::Server;
use crate::support::conf::with;

#[test]
fn check_config_imports_the_app_and_print_config_is_gunicorns() {
    let check = |conf: &str, app: &str, flag: &str| {
        Server::app("m:app")
            .file("m.py", app)
            .file("gunicorn.conf.py", conf)
            .args([flag])
            .allow("Exception in worker process")
            .allow("Failed to read config file")
            .start()
            .exit()
    };
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
