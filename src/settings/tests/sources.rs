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
            "-k uvicorn.workers.UvicornWorker",
            "RCORN_CMD_ARGS: worker class 'uvicorn.workers.UvicornWorker' is not supported",
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
        ("http_protocols: h2\n", "--http-protocols h1", &[][..]),
        ("http2_cleartext: both\n", "", &["--http2-cleartext", "off"]),
        ("certfile: /x\n", "", &["--certfile", ""]),
        ("worker_tmp_dir: /x\n", "", &["--worker-tmp-dir="]),
        (
            "worker_class: gevent\n",
            "-k uvicorn.workers.UvicornWorker",
            &["-k", "sync"],
        ),
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
            "http_protocols: h1\n",
            "--http-protocols h2",
            &[][..],
            "GUNICORN_CMD_ARGS: --http-protocols h2 is not supported",
        ),
        (
            "",
            "--http2-cleartext off",
            &["--http2-cleartext", "both"],
            "--http2-cleartext both is not supported",
        ),
    ] {
        let error = from_three(("rcorn.yaml", text), arguments, words).unwrap_err();
        assert!(error.to_string().starts_with(what), "{text}: {error}");
    }
}

#[test]
fn threads_are_taken_from_each_source() {
    for (text, arguments, words, expected) in [
        ("threads: 4\n", "", &[][..], ("gthread", 4)),
        ("threads: 4\n", "--threads 8", &[], ("gthread", 8)),
        (
            "threads: 4\n",
            "--threads 8",
            &["--threads", "1"],
            ("sync", 1),
        ),
        ("worker_class: gthread\n", "", &[], ("gthread", 1)),
        (
            "worker_class: gthread\n",
            "",
            &["--threads", "3"],
            ("gthread", 3),
        ),
        ("threads: 3\n", "-k gevent", &[], ("gthread", 3)),
        ("", "-k gevent", &[], ("gthread", 32)),
        (
            "worker_class: eventlet\n",
            "",
            &["--threads=0"],
            ("gthread", 1),
        ),
        ("worker_class: gevent\n", "", &["-k", "sync"], ("sync", 1)),
    ] {
        let resolved = from_three(("rcorn.yaml", text), arguments, words).unwrap();
        let got = (
            resolved.settings.worker_class.as_str(),
            resolved.settings.threads,
        );
        assert_eq!(got, expected, "{text} {arguments} {words:?}");
    }
    let python = r#"{"names": [["threads", {"data": 4}, 3], ["workers", {"data": 2}, 2]]}"#;
    let resolved = from_three(("gunicorn.conf.py", python), "", &[]).unwrap();
    assert_eq!(resolved.settings.threads, 4);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    let (what, _, _) = refusal(&["x", "--threads", "1025"]);
    assert!(what.contains("from 0 to 1024"), "{what}");
}

#[test]
fn a_class_of_the_file_is_known_by_its_bases() {
    let answer = |bases: &str| {
        format!(
            r#"{{"names": [["worker_class", {{"data": "__config__.Worker"}}, 1]], "worker_bases": {bases}}}"#
        )
    };
    let with = |bases: &str, words: &[&str]| with("gunicorn.conf.py", &answer(bases), &[], words);
    let thread_worker = r#"["gunicorn.workers.gthread.ThreadWorker", "object"]"#;
    let resolved = with(thread_worker, &["x"]).unwrap();
    assert_eq!(resolved.settings.worker_class, "gthread");
    let says = "worker class '__config__.Worker' is served by rcorn's own workers, with one thread";
    assert!(resolved.warnings[0].starts_with(says), "{resolved:?}");
    let error = with(r#"["object"]"#, &["x"]).unwrap_err();
    assert!(error.to_string().contains("does not know"), "{error}");
    // They say nothing of a class that is named elsewhere.
    let error = with(thread_worker, &["x", "-k", "shop.Worker"]).unwrap_err();
    assert!(error.to_string().contains("'shop.Worker'"), "{error}");
    let asgi = with(r#"["uvicorn.workers.UvicornWorker"]"#, &["x"]).unwrap_err();
    assert!(asgi.hint().unwrap().contains("ASGI server"), "{asgi}");
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
