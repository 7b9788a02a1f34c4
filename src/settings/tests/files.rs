//! Configuration files: YAML as it is written, Python as its evaluator answers.

use std::fs;

use super::told;
use crate::{
    Error, Invocation, Origin, Preload, Resolved, Seconds, Size, Workers, collect, explain,
    print_config,
};

/// Resolves with a file of this name and text (for Python: the evaluator's answer) where rcorn is
/// started.
pub(super) fn with(
    name: &str,
    text: &str,
    variables: &[(&str, &str)],
    words: &[&str],
) -> Result<Resolved, Error> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    let environment = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    let words = words.iter().map(std::ffi::OsString::from);
    match collect(words, &environment, folder.path().to_owned())? {
        Invocation::Serve(sources) => {
            let answer = sources.python_file().map(|_file| text);
            sources.resolve(answer)
        }
        Invocation::Print(text) | Invocation::Generate(text) => panic!("{text}"),
    }
}

fn yaml(text: &str) -> Resolved {
    with(
        "rcorn.yaml",
        text,
        &[("GREETING", "hello"), ("EMPTY", "")],
        &["x"],
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

fn wrong(text: &str) -> (String, String, u8) {
    told(&with("rcorn.yaml", text, &[], &["x"]).expect_err(text))
}

/// One line for each kind of value, and a comment.
const EVERY_KIND: &str = "# a comment\n\
         workers: auto\n\
         timeout: 1m\n\
         'keepalive': 0.5\n\
         limit_request_field_size: 4KiB\n\
         preload_app: true\n\
         reuse_port: true\n\
         bind:\n  - 127.0.0.1:81\n  - unix:/run/x\n\
         raw_env:\n  A: b\n  N: 3\n\
         secure_scheme_headers: {X-Scheme: https}\n\
         forwarded_allow_ips: [10.0.0.0/8, '::1']\n\
         user:\n\
         umask: 0022\n\
         proc_name: !env \"${GREETING} ${EMPTY:-you} $$\"\n\
         logconfig_dict: {version: 1, loggers: {a: {level: INFO}}}\n";

#[test]
fn yaml_gives_every_kind_of_value() {
    let resolved = yaml(EVERY_KIND);
    let got = &resolved.settings;
    assert_eq!(
        (got.workers, got.timeout),
        (Workers::Auto, Seconds::new(60))
    );
    assert_eq!(
        got.keepalive,
        Seconds::from(std::time::Duration::from_millis(500))
    );
    assert_eq!(got.limit_request_field_size, Size::new(4096));
    assert!(got.preload_app == Preload::On && got.reuse_port);
    assert_eq!(got.bind.len(), 2);
    assert_eq!(
        got.raw_env,
        [
            ("A".to_owned(), "b".to_owned()),
            ("N".to_owned(), "3".to_owned())
        ]
    );
    assert_eq!(
        got.secure_scheme_headers,
        [("X-SCHEME".to_owned(), "https".to_owned())]
    );
    assert!(got.forwarded_allow_ips.allows("10.1.1.1".parse().unwrap()));
    assert_eq!((got.user.clone(), got.umask.bits()), (None, 0o22));
    assert_eq!(got.proc_name.as_deref(), Some("hello you $"));
    assert!(
        got.logconfig_dict
            .as_ref()
            .is_some_and(|mapping| mapping.json().is_some_and(|json| json.contains("INFO")))
    );
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    assert_eq!(yaml("").settings.workers, Workers::Count(1));
}

#[test]
fn a_value_of_yaml_knows_its_line() {
    let resolved = yaml(EVERY_KIND);
    for (name, line) in [
        ("workers", 2),
        ("keepalive", 4),
        ("bind", 8),
        ("proc_name", 18),
    ] {
        assert_eq!(
            resolved.origins.of(name),
            &Origin::File("rcorn.yaml".into(), Some(line)),
            "{name}"
        );
    }
}

/// A file, the beginning of the error, and a part of its hint.
const WRONG_YAML: &[(&str, &str, &str)] = &[
    (
        "timeout: 5\nworkers: four\n",
        "rcorn.yaml:2:10: workers: 'four' is not auto or a whole number",
        "The number of workers",
    ),
    (
        "timeout: 5\nwrokers: 4\n",
        "rcorn.yaml:2:1: unknown setting 'wrokers'",
        "did you mean workers?",
    ),
    (
        "workers: 1\nworkers: 2\n",
        "rcorn.yaml:2:1: 'workers' is set twice",
        "set it once",
    ),
    (
        "bind: [1, [2]]\n",
        "rcorn.yaml:1:7: bind: '[1,[2]]' has lists or mappings inside",
        "Listen on HOST:PORT",
    ),
    (
        "workers: [1, 2]\n",
        "rcorn.yaml:1:10: workers: '[1,2]' is a list",
        "The number of workers",
    ),
    (
        "timeout: {a: 1}\n",
        "rcorn.yaml:1:10: timeout: '{\"a\":1}' is a mapping",
        "Kill",
    ),
    (
        "post_fork: x\n",
        "rcorn.yaml:1:12: post_fork: 'post_fork' is a hook",
        "gunicorn.conf.py",
    ),
    (
        "strip_header_spaces: true\n",
        "rcorn.yaml:1: strip_header_spaces is not supported",
        "fix the client",
    ),
    ("- workers\n", "rcorn.yaml:1:1: ", "NAME: VALUE"),
    ("proc_name: \"a\nworkers: 1\n", "rcorn.yaml:", "NAME: VALUE"),
    (
        "proc_name: !env \"${NOBODY}\"\n",
        "rcorn.yaml:1:12: NOBODY is not set in the environment",
        "set it, or give a default: ${NOBODY:-VALUE}",
    ),
    (
        "raw_env: {A: !env \"x${NOBODY}\"}\n",
        "rcorn.yaml:1:14: NOBODY is not set",
        "${NOBODY:-VALUE}",
    ),
    (
        "bind:\n  - !env \"$NAME\"\n",
        "rcorn.yaml:2:5: a dollar in '$NAME' is not followed by {NAME}",
        "write $$ for a plain dollar",
    ),
    (
        "proc_name: !run ls\n",
        "rcorn.yaml:1:12: the tag !run is unknown",
        "there is no other tag",
    ),
    (
        "timeout: .inf\n",
        "rcorn.yaml:1:10: inf is not a finite number",
        "0 switches a limit off",
    ),
    ("raw_env: {A: 1, A: 2}\n", "rcorn.yaml:1:", "set it once"),
    (
        "preload: true\n",
        "rcorn.yaml:1:1: unknown setting 'preload'",
        "did you mean preload_app?",
    ),
    (
        "log_level: info\n",
        "rcorn.yaml:1:1: unknown setting 'log_level'",
        "did you mean loglevel?",
    ),
    (
        "pid: /run/x\n",
        "rcorn.yaml:1:1: unknown setting 'pid'",
        "did you mean pidfile?",
    ),
];

#[test]
fn what_is_wrong_in_yaml_is_one_line_with_its_place() {
    for (text, what, hint) in WRONG_YAML {
        let told = wrong(text);
        assert!(
            told.0.starts_with(what) && told.1.contains(hint) && told.2 == 2,
            "{text}: {told:?}"
        );
        assert!(!told.0.contains('\n'));
    }
}

#[test]
fn what_yaml_knows_and_rcorn_does_not() {
    for odd in ["timeout: .inf\n", "raw_env: {A: .nan}\n"] {
        assert!(wrong(odd).0.contains("is not a finite number"), "{odd}");
    }
    assert_eq!(
        yaml("\u{feff}proc_name: a\nworkers: 2\n").settings.workers,
        Workers::Count(2)
    );
    // Nothing is expanded unless it is asked for.
    assert_eq!(
        yaml("proc_name: ${GREETING}\n")
            .settings
            .proc_name
            .as_deref(),
        Some("${GREETING}")
    );
}

#[test]
fn python_gives_what_its_evaluator_found() {
    let answer = r#"{"names": [
        ["workers", {"data": 3.5}, 2], ["timeout", {"data": "40"}, 3], ["bind", {"data": ["127.0.0.1:81", "unix:/x"]}, 4],
        ["preload_app", {"data": false}, 5], ["umask", {"data": 18}, 6], ["raw_env", {"data": ["A=b"]}, null],
        ["secure_scheme_headers", {"data": {"X-A": "b"}}, 8], ["errorlog", {"data": null}, 9], ["os", {"live": "a module"}, 1],
        ["post_fork", {"function": [2, 2]}, 10], ["post_request", {"function": [2, 2]}, 11], ["certfile", {"data": null}, 12],
        ["logconfig_dict", {"live": "an object of type dict"}, 13], ["timeuot", {"data": 4}, 14], ["mine", {"data": 4}, 15],
        ["upgrade", {"function": [0, 0]}, 16], ["worker_class", {"data": "gunicorn.workers.sync.SyncWorker"}, 17],
        ["threads", {"data": 1}, 18], ["spew", {"data": true}, 19]]}"#;
    let resolved = with(
        "gunicorn.conf.py",
        answer,
        &[("WEB_CONCURRENCY", "2")],
        &["x", "--timeout", "50"],
    )
    .unwrap();
    let got = &resolved.settings;
    assert_eq!(
        (got.workers, got.timeout),
        (Workers::Count(2), Seconds::new(50))
    );
    assert_eq!(
        (got.preload_app, got.umask.bits(), got.bind.len()),
        (Preload::Off, 0o22, 2)
    );
    assert_eq!(got.worker_class, "sync");
    assert!(
        got.logconfig_dict
            .as_ref()
            .is_some_and(|mapping| mapping.json().is_none())
    );
    let place = |line| Origin::File("gunicorn.conf.py".into(), line);
    assert_eq!(resolved.origins.of("bind"), &place(Some(4)));
    assert_eq!(resolved.origins.of("raw_env"), &place(None));
    assert_eq!(
        resolved.warnings,
        [
            "gunicorn.conf.py:14: timeuot is not a setting; did you mean timeout?",
            "gunicorn.conf.py:19: spew has no effect: rcorn does not trace the lines of an app; python3 -m trace does",
            "WEB_CONCURRENCY in the environment takes precedence over workers in gunicorn.conf.py:2: 2, not 3",
        ]
    );
    let explained = explain("--timeout", Ok(resolved)).unwrap();
    assert!(
        explained.starts_with("timeout = 50  # command line\n  overrides 40  # gunicorn.conf.py:3\n  overrides 30  # default\n"),
        "{explained}"
    );
}

#[test]
fn what_is_wrong_in_python_has_the_code_of_gunicorn() {
    for (names, what) in [
        (
            r#"["workers", {"data": "x"}, 2]"#,
            "gunicorn.conf.py:2: workers: 'x' is not auto",
        ),
        (
            r#"["workers", {"live": "an object of type Z"}, 2]"#,
            "gunicorn.conf.py:2: workers: 'workers' is an object of type Z",
        ),
        (
            r#"["workers", {"function": [0, 0]}, 2]"#,
            "gunicorn.conf.py:2: workers: 'workers' is a function",
        ),
        (
            r#"["post_fork", {"function": [1, 1]}, 2]"#,
            "gunicorn.conf.py:2: post_fork: 'post_fork' takes other parameters",
        ),
        (
            r#"["post_fork", {"data": 1}, 2]"#,
            "gunicorn.conf.py:2: post_fork: 'post_fork' is not a function",
        ),
        (
            r#"["ssl_context", {"function": [2, 2]}, 2]"#,
            "gunicorn.conf.py:2: ssl_context … is not supported: rcorn's TLS is not that of Python",
        ),
        (
            r#"["worker_class", {"data": "uvicorn.workers.UvicornWorker"}, 2]"#,
            "gunicorn.conf.py:2: worker_class: worker class 'uvicorn.workers.UvicornWorker'",
        ),
    ] {
        let answer = format!("{{\"names\": [{names}]}}");
        let told = told(&with("gunicorn.conf.py", &answer, &[], &["x"]).expect_err(names));
        assert!(told.0.starts_with(what) && told.2 == 1, "{told:?}");
    }
    let raised = r#"{"raised": {"text": "NameError: x", "traceback": "Traceback\n", "line": 7}}"#;
    let error = with("gunicorn.conf.py", raised, &[], &["x"]).expect_err("raised");
    assert_eq!(
        error.to_string(),
        "Failed to read config file: gunicorn.conf.py:7: NameError: x"
    );
    assert_eq!(
        (error.detail(), error.exit_status().code()),
        (Some("Traceback\n"), 1)
    );
}

#[test]
fn one_file_is_read_and_the_nearest_source_names_it() {
    let both = tempfile::tempdir().unwrap();
    fs::write(both.path().join("rcorn.yaml"), "workers: 2\n").unwrap();
    fs::write(both.path().join("gunicorn.conf.py"), "").unwrap();
    fs::write(both.path().join("other.yml"), "workers: 5\nconfig: a\n").unwrap();
    let resolve = |variables: &'static [(&str, &str)], words: &[&str]| {
        let environment = move |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        let words = words.iter().map(std::ffi::OsString::from);
        match collect(words, &environment, both.path().to_owned()).unwrap() {
            Invocation::Serve(sources) => sources.resolve(None),
            Invocation::Print(text) | Invocation::Generate(text) => panic!("{text}"),
        }
    };
    let usual = resolve(&[], &["x"]).unwrap();
    assert_eq!(usual.settings.workers, Workers::Count(2));
    assert_eq!(
        usual.warnings,
        ["gunicorn.conf.py is not read, because there is rcorn.yaml"]
    );
    fs::rename(
        both.path().join("rcorn.yaml"),
        both.path().join("rcorn.yml"),
    )
    .unwrap();
    let usual = resolve(&[], &["x"]).unwrap();
    assert_eq!(usual.settings.workers, Workers::Count(2));
    let named = resolve(
        &[("GUNICORN_CMD_ARGS", "-c nothing.yaml")],
        &["x", "-c", "file:other.yml"],
    )
    .unwrap();
    assert_eq!(named.settings.workers, Workers::Count(5));
    assert_eq!(
        named.warnings,
        ["other.yml:2: config has no effect in a file"]
    );
    let missing =
        resolve(&[("GUNICORN_CMD_ARGS", "-c nothing.yaml")], &["x"]).expect_err("missing");
    assert_eq!(missing.exit_status().code(), 1);
    assert!(
        missing
            .to_string()
            .starts_with("Failed to read config file: nothing.yaml: "),
        "{missing}"
    );
    let text = print_config(&usual.settings);
    assert!(
        text.contains("\nworkers ")
            && text.lines().is_sorted()
            && text.contains("= ['127.0.0.1:8000']"),
        "{text}"
    );
}

/// The settings of gunicorn with their defaults.
const DEFAULTS: &str = include_str!("gunicorn_defaults.tsv");

#[test]
fn every_setting_of_gunicorn_is_accepted_at_its_default() {
    let rows = DEFAULTS.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<(&str, &str)> = rows.map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(rows.len(), 100);
    // What else gunicorn takes for the same.
    let also = [
        ("forwarded_allow_ips", r#"["127.0.0.1", "::1"]"#),
        ("proxy_allow_ips", r#"["127.0.0.1", "::1"]"#),
        ("forwarder_headers", r#"["SCRIPT_NAME", "PATH_INFO"]"#),
        ("http_protocols", r#"["h1"]"#),
        ("http_protocols", r#""H1""#),
        ("http2_cleartext", "false"),
        ("http2_cleartext", "null"),
        ("proxy_protocol", "false"),
        ("worker_class", r#""gthread""#),
        ("threads", "0"),
        ("ciphers", r#""""#),
        ("logger_class", "null"),
    ];
    for (name, value) in rows.into_iter().chain(also) {
        let warnings = |resolved: Result<Resolved, Error>| {
            resolved
                .unwrap_or_else(|error| panic!("{name}: {error}"))
                .warnings
        };
        let found = format!(r#"{{"names": [["{name}", {{"data": {value}}}, 1]]}}"#);
        let python = warnings(with("gunicorn.conf.py", &found, &[], &["x"]));
        let yaml = warnings(with(
            "rcorn.yaml",
            &format!("{name}: {value}\n"),
            &[],
            &["x"],
        ));
        if name == "config" {
            assert!(python[0].contains("has no effect in a file"), "{python:?}");
        } else {
            assert!(
                python.is_empty() && yaml.is_empty(),
                "{name}: {python:?} {yaml:?}"
            );
        }
    }
}

#[test]
fn names_of_flags_are_taken_for_mistakes_in_python() {
    let warnings = |name: &str, value: &str| {
        let found = format!(r#"{{"names": [["{name}", {{{value}}}, 2]]}}"#);
        with("gunicorn.conf.py", &found, &[], &["x"])
            .unwrap()
            .warnings
    };
    for (name, meant) in [
        ("preload", "preload_app"),
        ("access_logfile", "accesslog"),
        ("error_logfile", "errorlog"),
        ("log_file", "errorlog"),
        ("log_level", "loglevel"),
        ("keep_alive", "keepalive"),
        ("log_syslog", "syslog"),
    ] {
        assert_eq!(
            warnings(name, r#""data": "x""#),
            [format!(
                "gunicorn.conf.py:2: {name} is not a setting; did you mean {meant}?"
            )]
        );
        assert!(warnings(name, r#""function": [0, 0]"#).is_empty(), "{name}");
    }
    for own in ["name", "env", "pid", "host", "cpu_count", "app_dir"] {
        assert!(warnings(own, r#""data": "x""#).is_empty(), "{own}");
    }
}

#[test]
fn a_file_that_needs_gunicorn_is_told_where_to_get_it() {
    for text in [
        "ModuleNotFoundError: No module named 'gunicorn'",
        "ModuleNotFoundError: No module named 'gunicorn.glogging'; 'gunicorn' is not a package",
    ] {
        let answer = serde_json::json!({"raised": {"text": text, "traceback": "", "line": 1}});
        let answer = answer.to_string();
        let error = with("gunicorn.conf.py", &answer, &[], &["x"]).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("install gunicorn for the Python"), "{hint}");
    }
    let answer = r#"{"raised": {"text": "ModuleNotFoundError: No module named 'shop'", "traceback": "", "line": 1}}"#;
    let error = with("gunicorn.conf.py", answer, &[], &["x"]).unwrap_err();
    assert!(
        !error.hint().unwrap_or_default().contains("install"),
        "{error}"
    );
}

#[test]
fn an_empty_mapping_configures_no_loggers() {
    let answer = r#"{"names": [["logconfig_dict", {"data": {}}, 1]]}"#;
    for (name, text) in [
        ("gunicorn.conf.py", answer),
        ("rcorn.yaml", "logconfig_dict: {}\n"),
    ] {
        let resolved = with(name, text, &[], &["x"]).unwrap();
        assert_eq!(resolved.settings.logconfig_dict, None, "{name}");
    }
}
