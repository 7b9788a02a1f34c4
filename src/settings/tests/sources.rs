//! The environment: variables, the order of the sources, and where rcorn was started.

use std::path::PathBuf;

use super::files::with;
use super::{error_in, refusal, served, served_in, told};
use crate::{Address, Error, Origin, Resolved, Seconds, Workers};

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

/// Settings from a file, its name and its text; from the variable of gunicorn; from words.
fn from_three(
    (name, text): (&str, &str),
    arguments: &str,
    words: &[&str],
) -> Result<Resolved, Error> {
    let words: Vec<&str> = ["x"].iter().chain(words).copied().collect();
    with(name, text, &[("GUNICORN_CMD_ARGS", arguments)], &words)
}

/// For each setting that rcorn refuses or ignores, as for all others: only the last source counts.
#[test]
fn a_later_source_takes_back_what_rcorn_lacks() {
    for (text, arguments, words) in [
        ("threads: 4\n", "", &["--threads", "1"][..]),
        ("threads: 4\n", "--threads 1", &[]),
        ("", "--threads 4", &["--threads", "1"]),
        ("", "", &["--threads", "4", "--threads", "1"]),
        ("threads: 4\nworker_class: gthread\n", "", &["--threads=0"]),
        ("http_protocols: h2\n", "--http-protocols h1", &[]),
        ("http2_cleartext: both\n", "", &["--http2-cleartext", "off"]),
        ("certfile: /x\n", "", &["--certfile", ""]),
        ("statsd_host: a:1\n", "", &["--statsd-host="]),
        ("worker_class: gevent\n", "-k eventlet", &["-k", "sync"]),
    ] {
        let resolved = from_three(("rcorn.yaml", text), arguments, words);
        let resolved = resolved.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(
            resolved.warnings.is_empty(),
            "{text}: {:?}",
            resolved.warnings
        );
    }
}

#[test]
fn a_later_source_that_asks_for_what_rcorn_lacks_is_named() {
    for (text, arguments, words, what) in [
        (
            "threads: 1\n",
            "",
            &["--threads", "4"][..],
            "--threads 4 is not supported",
        ),
        (
            "threads: 1\n",
            "--threads 4",
            &[],
            "GUNICORN_CMD_ARGS: --threads 4 is not supported",
        ),
        (
            "threads: 4\n",
            "",
            &[],
            "rcorn.yaml:1: threads 4 is not supported",
        ),
        (
            "cert_reqs: 0\n",
            "--cert-reqs 2",
            &[],
            "GUNICORN_CMD_ARGS: --cert-reqs 2 is not supported",
        ),
        (
            "",
            "--certfile ''",
            &["--certfile", "/x"],
            "--certfile /x is not supported",
        ),
    ] {
        let error = from_three(("rcorn.yaml", text), arguments, words).unwrap_err();
        assert!(error.to_string().starts_with(what), "{text}: {error}");
    }
}

#[test]
fn the_hint_for_threads_counts_workers() {
    let python = r#"{"names": [["threads", {"data": 4}, 3], ["workers", {"data": 2}, 2]]}"#;
    let error = from_three(("gunicorn.conf.py", python), "", &[]).unwrap_err();
    assert_eq!(
        told(&error),
        (
            "gunicorn.conf.py:3: threads 4 is not supported: a worker of rcorn runs one request at a time".to_owned(),
            "--threads 1 --workers 8 serves as many requests at a time; workers share the memory of the app".to_owned(),
            1,
        )
    );
    assert!(from_three(("gunicorn.conf.py", python), "", &["--threads", "1"]).is_ok());
    let auto = ("rcorn.yaml", "threads: 4\nworkers: auto\n");
    let auto = from_three(auto, "", &[]).unwrap_err();
    assert!(auto.hint().unwrap().contains("raise --workers"), "{auto}");
}

#[test]
fn a_gthread_worker_with_one_thread_is_a_sync_worker() {
    for class in [
        "gthread",
        "gunicorn.workers.gthread.ThreadWorker",
        "egg:gunicorn#gthread",
    ] {
        let resolved = served(&["x", "-k", class]);
        assert!(resolved.warnings.is_empty());
        assert_eq!(resolved.settings.worker_class, "sync");
        let (what, hint, _) = refusal(&["x", "-k", class, "--threads", "2"]);
        assert!(what.starts_with("--threads 2 is not supported"), "{what}");
        assert!(hint.contains("--workers 2"), "{hint}");
    }
}

#[test]
fn what_follows_a_uwsgi_address_names_its_protocol() {
    for words in [
        &["-b", "uwsgi://127.0.0.1:1,127.0.0.1:2"][..],
        &["-b", "127.0.0.1:1,uwsgi://127.0.0.1:2,127.0.0.1:3"],
        &["-b", "uwsgi://127.0.0.1:1,unix:/run/x.sock"],
        &["-b", "uwsgi://127.0.0.1:1, :2"],
    ] {
        let words: Vec<&str> = ["x"].iter().chain(words).copied().collect();
        let (what, hint, code) = refusal(&words);
        assert!(what.contains("does not name the protocol of"), "{what}");
        assert!(hint.contains("write uwsgi://"), "{hint}");
        assert_eq!(code, 2);
    }
    let bind = |words: &[&str]| {
        let words: Vec<&str> = ["x"].iter().chain(words).copied().collect();
        let bind = served(&words).settings.bind;
        bind.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        bind(&["-b", "uwsgi://127.0.0.1:1,uwsgi://127.0.0.1:2"]),
        ["uwsgi://127.0.0.1:1", "uwsgi://127.0.0.1:2"]
    );
    assert_eq!(
        bind(&["-b", "127.0.0.1:2,uwsgi://127.0.0.1:1"]),
        ["127.0.0.1:2", "uwsgi://127.0.0.1:1"]
    );
    assert_eq!(
        bind(&["-b", "uwsgi://127.0.0.1:1,http://127.0.0.1:2"]),
        ["uwsgi://127.0.0.1:1", "127.0.0.1:2"]
    );
    assert_eq!(
        bind(&["-b", "uwsgi://127.0.0.1:1", "-b", "127.0.0.1:2"]),
        ["uwsgi://127.0.0.1:1", "127.0.0.1:2"]
    );
}
