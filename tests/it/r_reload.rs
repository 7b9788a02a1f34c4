//! `--check-config`, `--print-config`, and what a reload does with a `gunicorn.conf.py` that is wrong.

use nix::sys::signal::Signal;

use crate::support::{Builder, Gate, Server};

use super::r_config::APP;

fn with(conf: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("gunicorn.conf.py", conf)
}

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
fn a_config_that_is_wrong_at_a_reload_changes_nothing() {
    let gate = Gate::new();
    let server = with("workers = 2\n")
        .file("gate.py", include_str!("../apps/gate.py"))
        .gate(&gate)
        .allow("Failed to read config file")
        .allow("is not auto or a whole number")
        .allow("NameError")
        .allow("was sent SIGKILL")
        .start();
    server.wait_serving(2);
    server.write("gunicorn.conf.py", "workers = nobody\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("gunicorn.conf.py:1: NameError: name 'nobody' is not defined"),
        "{}",
        told.refused()
    );
    server.write("gunicorn.conf.py", "workers = 'two'\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("gunicorn.conf.py:1: workers: 'two' is not auto or a whole number"),
        "{}",
        told.refused()
    );
    // One that hangs hangs nobody: a worker that dies meanwhile is replaced.
    server.write(
        "gunicorn.conf.py",
        "import os, gate\ngate.hold()\nworkers = 3\npidfile = '/nowhere'\n",
    );
    server.signal(Signal::SIGHUP);
    gate.expect(server.deadline());
    let worker = server.workers()[0];
    nix::sys::signal::kill(worker, Signal::SIGKILL).unwrap();
    server.wait_gone(worker);
    server.wait_serving(2);
    assert_eq!(server.get("/").status, 200);
    gate.open();
    // The template executes it too.
    gate.expect(server.deadline());
    gate.open();
    server
        .log()
        .expect("These settings keep their values until a restart: pidfile");
    server.wait_serving(3);
    server.stop();
}
