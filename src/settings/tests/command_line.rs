//! Whole command lines.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::{Command, refusal, resolved_in, served};
use crate::{
    Address, HeaderMap, Level, LogTarget, Mode, Origin, Preload, Protocol, ProxyProtocol, Seconds,
    Settings, Size, Workers, collect,
};

#[test]
fn defaults_but_for_the_app() {
    let resolved = served(&["shop:app"]);
    let launch = std::env::current_dir().expect("a directory");
    let app = resolved.settings.wsgi_app.clone();
    assert_eq!(
        app.as_ref().map(ToString::to_string).as_deref(),
        Some("shop:app")
    );
    assert_eq!(
        resolved.settings,
        Settings {
            wsgi_app: app,
            chdir: launch,
            ..Settings::default()
        }
    );
    assert_eq!(resolved.origins.of("wsgi_app"), &Origin::CommandLine);
    assert_eq!(resolved.origins.of("workers"), &Origin::Default);
}

#[test]
fn a_long_line_of_gunicorn() {
    let words = "-w 4 -b 127.0.0.1:9000 -b unix:/run/x.sock,fd://3 shop:app -k sync -t 60 -g www -u 33 -m 007 \
        -e A=1 -e B=2,3 -n shop -p /run/x.pid --keep-alive=5 --max-requests 1000 --max-requests-jitter=50 \
        --graceful-timeout 2m --log-level WARNING --access-logfile - --error-logfile /var/log/x.log \
        --preload --no-sendfile --reuse-port --capture-output --initgroups --header-map refuse \
        --forwarded-allow-ips 10.0.0.0/8 --forwarder-headers remote_user,script_name --umask 0o22 \
        --limit-request-field_size 1k --no-require-host --backlog 64 --pythonpath lib,/opt/lib --threads 1";
    let words: Vec<&str> = words.split_whitespace().collect();
    let resolved = served(&words);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    let got = resolved.settings;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(got.workers, Workers::Count(4));
    let unix = Address::Unix(PathBuf::from("/run/x.sock"));
    assert_eq!(
        got.bind,
        [Address::tcp("127.0.0.1", 9000), unix, Address::Fd(3)]
    );
    assert_eq!(
        (got.timeout, got.keepalive),
        (Seconds::new(60), Seconds::new(5))
    );
    assert_eq!(
        (got.user.as_deref(), got.group.as_deref()),
        (Some("33"), Some("www"))
    );
    assert_eq!(got.raw_env, [pair("A", "1"), pair("B", "2,3")]);
    assert_eq!((got.max_requests, got.max_requests_jitter), (1000, 50));
    assert_eq!(got.graceful_timeout, Seconds::new(120));
    assert_eq!(got.loglevel, Level::Warning);
    assert_eq!(got.accesslog, Some(LogTarget::Standard));
    assert_eq!(
        got.errorlog,
        LogTarget::File(PathBuf::from("/var/log/x.log"))
    );
    assert_eq!(got.preload_app, Preload::On);
    assert!(
        got.reuse_port
            && got.capture_output
            && got.initgroups
            && !got.sendfile
            && !got.require_host
    );
    assert_eq!(got.header_map, HeaderMap::Refuse);
    assert_eq!(got.forwarded_allow_ips.to_string(), "10.0.0.0/8");
    assert_eq!(got.forwarder_headers, ["REMOTE_USER", "SCRIPT_NAME"]);
    assert_eq!(got.umask, Mode::new(0o22));
    assert_eq!(got.limit_request_field_size, Size::new(1024));
    assert_eq!(got.backlog, 64);
    assert_eq!(
        got.pythonpath,
        [got.chdir.join("lib"), PathBuf::from("/opt/lib")]
    );
}

#[test]
fn the_manner_of_argparse() {
    // Short forms joined, values after an equals sign, unambiguous beginnings, the last one counts.
    assert_eq!(served(&["-w4", "x"]).settings.workers, Workers::Count(4));
    assert_eq!(
        served(&["--workers=4", "x"]).settings.workers,
        Workers::Count(4)
    );
    assert_eq!(served(&["--back", "64", "x"]).settings.backlog, 64);
    assert_eq!(
        served(&["--log-fi", "-", "x"]).settings.errorlog,
        LogTarget::Standard
    );
    assert_eq!(
        served(&["x", "-w", "2", "--workers", "3"]).settings.workers,
        Workers::Count(3)
    );
    assert_eq!(
        served(&["-w", "2", "--", "x"]).settings.workers,
        Workers::Count(2)
    );
    assert_eq!(
        served(&["x", "--no-preload", "--preload", "--no-preload"])
            .settings
            .preload_app,
        Preload::Off
    );
    assert!(
        served(&["x", "--reuse-port", "--reuse-port"])
            .settings
            .reuse_port
    );
    assert_eq!(refusal(&["x", "-w", "two", "-w", "2"]).2, 2);
    assert_eq!(served(&["x", "--pid="]).settings.pidfile, None);
    // Each gets a port of its own from the kernel.
    let ports = served(&["-b", "127.0.0.1:0", "-b", "127.0.0.1:0", "x"]);
    assert_eq!(ports.settings.bind.len(), 2);
}

const WRONG: &[(&str, &str, &str, u8)] = &[
    (
        "--wrokers 3 x",
        "unknown flag --wrokers",
        "did you mean --workers?",
        2,
    ),
    ("-x x", "unknown flag -x", "all flags: rcorn --help", 2),
    (
        "--work 4 x",
        "ambiguous flag --work",
        "it could mean --workers, --worker-class",
        2,
    ),
    ("x -w", "--workers needs a value", "--workers=VALUE", 2),
    (
        "-w --preload x",
        "--workers needs a value",
        "--workers=VALUE",
        2,
    ),
    (
        "x --preload=1",
        "--preload takes no value",
        "write --preload alone",
        2,
    ),
    (
        "x y",
        "two apps are named, 'x' and 'y'",
        "one rcorn serves one app",
        2,
    ),
    (
        "-w -3 x",
        "--workers: '-3' is not auto or a whole number from 1 to 4096",
        "The default is 1.",
        2,
    ),
    (
        "-w 0 x",
        "--workers: '0' is not auto or a whole number from 1 to 4096",
        "The number of workers",
        2,
    ),
    (
        "-t -1 x",
        "--timeout: '-1' is not a time such as",
        "The default is 30.",
        2,
    ),
    (
        "-b 8000 x",
        "--bind: '8000' has a number for a host",
        "write :8000",
        2,
    ),
    (
        "--bind= x",
        "--bind: '' is not an address to listen on",
        "leave it out",
        2,
    ),
    (
        "-b 127.0.0.1:80 -b http://:80,uwsgi://127.0.0.1:80 x",
        "--bind: '127.0.0.1:80' is given twice",
        "each address once",
        2,
    ),
    (
        "x/y.py:app",
        "APP_MODULE: 'x/y.py:app' is the path of a file",
        "--chdir x y:app",
        2,
    ),
    (
        "--log-level loud x",
        "--log-level: 'loud' is not a log level",
        "choose one of",
        2,
    ),
    (
        "",
        "No application module specified.",
        "rcorn shop.wsgi:app",
        1,
    ),
    (
        "x -k uvicorn.workers.UvicornWorker",
        "--worker-class: worker class 'uvi",
        "ASGI server",
        1,
    ),
    (
        "x -k my.Worker",
        "--worker-class: worker class 'my.Worker'",
        "-k sync",
        1,
    ),
    (
        "x --chdir /nowhere/at/all",
        "cannot change to the directory /nowhere/at/all: ",
        "--chdir",
        1,
    ),
    (
        "x --chdir /dev/null",
        "cannot change to the directory /dev/null: ",
        "--chdir",
        1,
    ),
];

#[test]
fn what_cannot_be_understood() {
    for &(words, what, hint, code) in WRONG {
        let told = refusal(&words.split_whitespace().collect::<Vec<_>>());
        assert!(
            told.0.starts_with(what) && told.1.contains(hint) && told.2 == code,
            "{words:?}: {told:?}"
        );
        assert!(!told.0.contains('\n'), "{told:?}");
    }
}

const NOT_OURS: &[(&str, &str, &str)] = &[
    (
        "--http-protocols h3",
        "--http-protocols h3 is not supported: rcorn speaks HTTP/1.1, and HTTP/2 over TLS",
        "http2",
    ),
    (
        "--paster a.ini",
        "--paste a.ini is not supported: ",
        "loadapp",
    ),
    (
        "--strip-header-spaces",
        "--strip-header-spaces is not supported: ",
        "client",
    ),
    (
        "--http-protocols h1,h3",
        "--http-protocols h1,h3 is not supported: ",
        "leave this out",
    ),
];

#[test]
fn flags_of_gunicorn_that_rcorn_has_not() {
    for &(words, what, hint) in NOT_OURS {
        let told = refusal(
            &["x"]
                .into_iter()
                .chain(words.split_whitespace())
                .collect::<Vec<_>>(),
        );
        assert!(
            told.0.starts_with(what) && told.1.contains(hint) && told.2 == 2,
            "{words:?}: {told:?}"
        );
    }
    let silent = [
        "x",
        "--threads",
        "1",
        "--http-protocols=h1",
        "--dirty-workers",
        "0",
    ];
    assert!(served(&silent).warnings.is_empty());
    let told = served(&[
        "x",
        "--worker-tmp-dir",
        "/dev/shm",
        "--do-handshake-on-connect",
        "--do-handshake-on-connect",
    ])
    .warnings;
    assert_eq!(
        told,
        [
            "--worker-tmp-dir has no effect: heartbeats are kept in shared memory, not in files",
            "--do-handshake-on-connect has no effect: handshakes are made as they arrive, and no worker waits for one",
        ]
    );
    let resolved = served(&["x", "--limit-request-line", "9000"]);
    assert_eq!(resolved.settings.limit_request_line, Size::new(8190));
    assert_eq!(resolved.warnings.len(), 1);
}

#[test]
fn help_and_version_come_first() {
    let Ok(Command::Print(help)) =
        resolved_in(&[("WEB_CONCURRENCY", "many")], &["--help", "--nonsense"])
    else {
        panic!("no help")
    };
    assert!(
        help.starts_with("usage: rcorn [OPTIONS] [APP_MODULE]\n"),
        "{help}"
    );
    for part in [
        "-w, --workers <COUNT>",
        "[env: WEB_CONCURRENCY]",
        "[default: 1]",
        "\nSockets:\n",
        "--no-preload",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for absent in ["--spew", "--http-protocols", "...\n", "`"] {
        assert!(!help.contains(absent), "{absent} is in {help}");
    }
    let Ok(Command::Print(version)) = resolved_in(&[], &["x", "-v"]) else {
        panic!("no version")
    };
    assert_eq!(
        version,
        format!("rcorn (version {})\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn words_must_be_text() {
    let word = std::ffi::OsString::from_vec(b"--name=\xff".to_vec());
    let error =
        collect(["x".into(), word].into_iter(), &|_name| None, "/".into()).expect_err("not text");
    assert!(
        error.to_string().starts_with("--name is not valid UTF-8"),
        "{error}"
    );
    assert_eq!(
        (error.exit_status().code(), error.hint().is_some()),
        (2, true)
    );
}

#[test]
fn front_ends_are_chosen() {
    let settings = |words: &[&str]| served(words).settings;
    let plain = settings(&["x"]);
    assert_eq!(
        (plain.protocol, plain.proxy_protocol),
        (Protocol::Http, ProxyProtocol::Off)
    );
    let got = settings(&[
        "x",
        "--protocol",
        "uwsgi",
        "--uwsgi-allow-from",
        "10.0.0.0/8",
        "--proxy-allow-from=*",
        "--proxy-protocol",
    ]);
    assert_eq!(
        (got.protocol, got.proxy_protocol),
        (Protocol::Uwsgi, ProxyProtocol::Auto)
    );
    assert_eq!(got.uwsgi_allow_ips.to_string(), "10.0.0.0/8");
    assert!(got.proxy_allow_ips.allows_all());
    for (text, mode) in [
        ("off", ProxyProtocol::Off),
        ("false", ProxyProtocol::Off),
        ("V1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
        ("auto", ProxyProtocol::Auto),
        ("True", ProxyProtocol::Auto),
    ] {
        let got = settings(&["--proxy-protocol", text, "x"]);
        assert_eq!(got.proxy_protocol, mode, "{text}");
    }
    let told = refusal(&["x", "--proxy-protocol", "v3"]);
    assert!(told.0.contains("off, v1, v2 or auto"), "{told:?}");
}
