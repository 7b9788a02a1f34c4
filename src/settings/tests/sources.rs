//! The environment: variables, the order of the sources, and where rcorn was started.

use std::path::PathBuf;

use super::{error_in, served, served_in, told};
use crate::{Address, Origin, Seconds, Workers};

#[test]
fn each_source_counts_more_than_the_one_before() {
    let variables = [
        ("WEB_CONCURRENCY", "2"),
        ("PORT", "5000"),
        ("SENDFILE", "no"),
        ("FORWARDED_ALLOW_IPS", "*"),
        (
            "GUNICORN_CMD_ARGS",
            "--name 'from gunicorn' --timeout 1 --backlog 1 --worker-tmp-dir /x",
        ),
        ("RCORN_CMD_ARGS", "--timeout 2 --backlog 2"),
    ];
    let resolved = served_in(&variables, &["x", "--backlog", "3"]);
    let got = &resolved.settings;
    assert_eq!(got.workers, Workers::Count(2));
    assert_eq!(got.bind, [Address::tcp("0.0.0.0", 5000)]);
    assert!(!got.sendfile && got.forwarded_allow_ips.allows_all());
    assert_eq!(got.proc_name.as_deref(), Some("from gunicorn"));
    assert_eq!((got.timeout, got.backlog), (Seconds::new(2), 3));
    for (setting, origin) in [
        ("workers", Origin::Environment("WEB_CONCURRENCY")),
        ("bind", Origin::Environment("PORT")),
        ("proc_name", Origin::Environment("GUNICORN_CMD_ARGS")),
        ("timeout", Origin::Environment("RCORN_CMD_ARGS")),
        ("backlog", Origin::CommandLine),
        ("umask", Origin::Default),
    ] {
        assert_eq!(resolved.origins.of(setting), &origin, "{setting}");
    }
    assert_eq!(resolved.warnings.len(), 1);
    assert!(resolved.warnings[0].starts_with("GUNICORN_CMD_ARGS: --worker-tmp-dir"));
    assert_eq!(
        served_in(&variables, &["x", "-b", ":1"]).settings.bind,
        [Address::tcp("0.0.0.0", 1)]
    );
    assert!(served_in(&[("SENDFILE", "Yes")], &["x"]).settings.sendfile);
}

#[test]
fn an_empty_variable_says_nothing() {
    let names = [
        "WEB_CONCURRENCY",
        "PORT",
        "SENDFILE",
        "FORWARDED_ALLOW_IPS",
        "GUNICORN_CMD_ARGS",
    ];
    let resolved = served_in(&names.map(|name| (name, " ")), &["x"]);
    let plain = served(&["x"]);
    assert_eq!(resolved.settings, plain.settings);
    assert_eq!(resolved.origins, plain.origins);
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, text, what) in [
        (
            "WEB_CONCURRENCY",
            "many",
            "WEB_CONCURRENCY: 'many' is not auto or a whole number from 1 to 4096",
        ),
        ("PORT", "http", "PORT: 'http' has no valid port"),
        (
            "FORWARDED_ALLOW_IPS",
            "lan",
            "FORWARDED_ALLOW_IPS: 'lan' has something that is not an IP address: 'lan'",
        ),
        (
            "GUNICORN_CMD_ARGS",
            "-w 'a",
            "GUNICORN_CMD_ARGS has no closing single quote",
        ),
        (
            "GUNICORN_CMD_ARGS",
            "--nmae a",
            "GUNICORN_CMD_ARGS: unknown flag --nmae",
        ),
        (
            "RCORN_CMD_ARGS",
            "-k gevent",
            "RCORN_CMD_ARGS: worker class 'gevent' is not supported",
        ),
    ] {
        let told = told(&error_in(&[(variable, text)], &["x"]));
        assert!(told.0.starts_with(what) && !told.1.is_empty(), "{told:?}");
    }
}

#[test]
fn places_are_absolute_and_links_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (release, current) = (folder.path().join("r1"), folder.path().join("current"));
    std::fs::create_dir(&release).expect("made");
    std::os::unix::fs::symlink(&release, &current).expect("linked");
    let path = current.to_str().expect("text");
    let got = served(&[
        "x",
        "--chdir",
        &format!("{path}/./"),
        "--python",
        "venv/bin/python3",
    ])
    .settings;
    assert_eq!(got.chdir, current);
    assert_eq!(
        got.python,
        Some(
            std::env::current_dir()
                .expect("a directory")
                .join("venv/bin/python3")
        )
    );
    assert_eq!(
        served(&["x", "--python", "python3.12"]).settings.python,
        Some(PathBuf::from("python3.12"))
    );
    // A PWD that is not where we are is a leftover.
    let elsewhere = served_in(&[("PWD", path)], &["x"]).settings;
    assert_eq!(
        elsewhere.chdir,
        std::env::current_dir().expect("a directory")
    );
}
