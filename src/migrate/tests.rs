//! Whole files, what is refused, and that YAML gives back every text.

use std::path::Path;

use proptest::prelude::*;
use serde_yaml::Value;

use super::{MigrateError, rules, yaml};
use rcorn_settings::TABLE;

/// Each file and what it becomes.
macro_rules! samples {
    ($($name:literal),+) => {
        [$((
            $name,
            include_str!(concat!("samples/", $name)),
            include_str!(concat!("samples/", $name, ".yaml")),
        )),+]
    };
}

const SAMPLES: [(&str, &str, &str); 10] = samples![
    "small.ini",
    "django.ini",
    "flask.ini",
    "large.ini",
    "odd.ini",
    "empire.ini",
    "tls.ini",
    "plain.conf.py",
    "hooks.conf.py",
    "refused.conf.py"
];

/// Translates without any variable of the environment.
fn translate(path: &Path, text: &str) -> Result<String, MigrateError> {
    super::translate(path, text, &|_| None)
}

fn migrated(name: &str, text: &str) -> String {
    translate(&Path::new("/srv").join(name), text)
        .unwrap_or_else(|refused| panic!("{name}: {refused}"))
}

/// The settings of a text in a file of this name.
fn values(name: &str, text: &str) -> serde_yaml::Mapping {
    let yaml = migrated(name, text);
    serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error} in {yaml}"))
}

#[test]
fn whole_files_become_what_is_written_beside_them() {
    let bless = std::env::var_os("RCORN_BLESS").is_some();
    for (name, text, yaml) in SAMPLES {
        let fresh = migrated(name, text);
        if bless {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
            std::fs::write(folder.join(format!("{name}.yaml")), &fresh).unwrap();
        } else {
            assert_eq!(
                fresh, yaml,
                "RCORN_BLESS=1 cargo test -p rcorn-migrate writes {name}.yaml"
            );
        }
    }
}

#[test]
fn whole_files_are_settings_in_plain_values() {
    for (name, text, _) in SAMPLES {
        for (key, value) in values(name, text) {
            let key = key.as_str().unwrap_or_default().to_owned();
            assert!(TABLE.iter().any(|row| row.name == key), "{name}: {key}");
            assert!(!value.is_null(), "{name}: {key}");
        }
    }
}

#[test]
fn every_line_leaves_a_trace() {
    for (name, text, yaml) in SAMPLES
        .into_iter()
        .filter(|(name, ..)| name.contains(".ini"))
    {
        let lines: Vec<&str> = text.lines().collect();
        let mut ours = false;
        for (number, line) in lines.iter().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['[', '#', ';']) {
                ours = if line.starts_with('[') {
                    line == "[uwsgi]"
                } else {
                    ours
                };
                continue;
            }
            let mut without = lines.clone();
            without[number] = "";
            let path = Path::new("/srv").join(name);
            let same = translate(&path, &without.join("\n")).is_ok_and(|without| without == yaml);
            assert_eq!(same, !ours, "{name}: {line}");
        }
    }
}

#[test]
fn what_is_no_such_file_is_refused() {
    let refused = |name: &str, text: &str| {
        let refused = translate(&Path::new("/srv").join(name), text);
        let refused = refused.expect_err(text);
        assert!(!refused.hint.is_empty());
        refused.what
    };
    assert_eq!(refused("a.ini", " \n"), "is empty");
    assert!(refused("a.ini", "[nginx]\nx = 1\n").contains("no section [uwsgi]"));
    assert!(refused("a.ini", "[uwsgi]\n# nothing\n").contains("nothing in its section"));
    assert!(refused("a.xml", "<uwsgi><master/></uwsgi>").contains("XML"));
    assert!(refused("a.yaml", "uwsgi:\n  master: true\n").contains("YAML"));
    assert!(refused("a.json", "{}").contains("JSON"));
    assert!(refused("notes.txt", "hello\n").contains("neither"));
    // Whatever its name, this is an ini file.
    assert!(translate(Path::new("/srv/shop"), "[uwsgi]\nmodule = x\n").is_ok());
}

#[test]
fn texts_that_yaml_misreads_are_in_quotes() {
    let env = |value: &str| {
        let values = values("a.ini", &format!("[uwsgi]\nenv = A={value}\n"));
        values.get("raw_env").and_then(|map| map.get("A")).cloned()
    };
    for text in [
        "on",
        "off",
        "Yes",
        "n",
        "null",
        "~",
        "0022",
        "0x1f",
        "1e3",
        ".5",
        "12:30:45",
        "*",
        "&a",
        "!x",
        "a: b",
        "a #b",
        "- a",
        "[1]",
        "{a}",
        "@x",
        "`x`",
        "%x",
        "\"x\"",
        "'x'",
        "a:",
        "2026-01-01",
        "",
        "é",
        "a\u{85}b",
        "=",
    ] {
        // uWSGI takes blanks off, and `%x` is no name of its own.
        assert_eq!(env(text), Some(Value::String(text.to_owned())), "{text}");
    }
}

#[test]
fn numbers_stay_numbers_and_names_stay_names() {
    let conf = values(
        "a.py",
        "timeout = 0.5\nworkers = 3\nproc_name = '7'\nuser = 0\nrequest_buffer = '64KiB'\n",
    );
    assert_eq!(conf.get("timeout").and_then(Value::as_f64), Some(0.5));
    assert_eq!(conf.get("workers").and_then(Value::as_u64), Some(3));
    assert_eq!(conf.get("proc_name").and_then(Value::as_str), Some("7"));
    assert_eq!(conf.get("user").and_then(Value::as_str), Some("0"));
    assert_eq!(
        conf.get("request_buffer").and_then(Value::as_str),
        Some("64KiB")
    );
}

#[test]
fn a_dict_loses_nothing() {
    let text = "raw_env = {'A': 1, 'B': True, 'C': 'c', 'D': None}\n";
    let yaml = migrated("a.py", text);
    for line in [
        "  A: \"1\"\n",
        "  B: \"true\"\n",
        "  C: c\n",
        "'D': None is no text",
    ] {
        assert!(yaml.contains(line), "no {line} in {yaml}");
    }
}

#[test]
fn variables_become_tagged_texts() {
    let python = values("a.ini", "[uwsgi]\nhome = $(VENV)/$(NAME)\n")
        .get("python")
        .cloned();
    let Some(Value::Tagged(tagged)) = python else {
        panic!("{python:?}")
    };
    assert_eq!(tagged.tag, "env");
    assert_eq!(tagged.value.as_str(), Some("${VENV}/${NAME}/bin/python3"));
    let yaml = migrated("a.ini", "[uwsgi]\nenv = A=$5$(B)$\n");
    assert!(yaml.contains("  A: !env \"$$5${B}$$\"\n"), "{yaml}");
}

#[test]
fn the_files_own_name_is_put_in() {
    let text = "[uwsgi]\nchdir = %d\npidfile = /run/%n.%e.pid\nprocname = %c\nlogto = 100%%.log\nenv = H=%h\n";
    let yaml = translate(Path::new("/srv/shop/app.ini"), text).unwrap();
    for line in [
        "chdir: /srv/shop/\n",
        "pidfile: /run/app.ini.pid\n",
        "proc_name: shop\n",
        "errorlog: \"100%.log\"\n",
    ] {
        assert!(yaml.contains(line), "no {line} in {yaml}");
    }
    assert!(yaml.contains("%h is known to uWSGI only"), "{yaml}");
}

#[test]
fn a_file_becomes_the_module_that_it_is() {
    let app = |text: &str| {
        let values = values("a.ini", &format!("[uwsgi]\n{text}\n"));
        let text = |key: &str| values.get(key).and_then(Value::as_str).map(str::to_owned);
        (text("wsgi_app").unwrap_or_default(), text("pythonpath"))
    };
    assert_eq!(
        app("wsgi-file = a/b.py"),
        ("a.b:application".to_owned(), None)
    );
    assert_eq!(
        app("chdir = /srv/a\nwsgi-file = /srv/a/b/c.py"),
        ("b.c:application".to_owned(), None)
    );
    assert_eq!(
        app("wsgi-file = /opt/a/b.py\ncallable = app"),
        ("b:app".to_owned(), Some("/opt/a".to_owned()))
    );
    assert_eq!(app("module = a:b\ncallable = c").0, "a:b");
    assert_eq!(app("mount = /x=a.py").0, "a:application");
}

#[test]
fn permissions_of_a_socket_file_become_a_mask() {
    let mask = |mode: &str| {
        let values = values(
            "a.ini",
            &format!("[uwsgi]\nsocket = /run/a.sock\nchmod-socket = {mode}\n"),
        );
        values.get("umask").map(|mask| {
            mask.as_str()
                .map_or_else(|| mask.as_u64().unwrap_or(9).to_string(), str::to_owned)
        })
    };
    assert_eq!(mask("666").as_deref(), Some("0"));
    assert_eq!(mask("").as_deref(), Some("0"));
    assert_eq!(mask("660").as_deref(), Some("0o007"));
    assert_eq!(mask("664").as_deref(), Some("0o002"));
    assert_eq!(mask("600").as_deref(), Some("0o077"));
    assert_eq!(mask("777").as_deref(), Some("0"));
    assert_eq!(mask("9").as_deref(), None);
}

/// The comment of a line in a migrated file: the first list that names it, and what it says.
fn listed(yaml: &str, line: &str) -> Option<(&'static str, String)> {
    let titles = ["Not translated", "Not needed"];
    let mut title = "";
    let mut lines = yaml.lines();
    while let Some(text) = lines.next() {
        title = titles
            .into_iter()
            .find(|title| text.starts_with(&format!("# {title}")))
            .unwrap_or(title);
        if text.starts_with("#   ") && text.ends_with(&format!(": {line}")) {
            let why = lines.next().unwrap_or_default();
            return Some((title, why.trim_start_matches(['#', ' ']).to_owned()));
        }
    }
    None
}

#[test]
fn loggers_are_files_streams_or_listed() {
    let logs = |line: &str| {
        let yaml = migrated("a.ini", &format!("[uwsgi]\nmodule = x\n{line}\n"));
        let values: serde_yaml::Mapping = serde_yaml::from_str(&yaml).unwrap();
        let text = |key: &str| values.get(key).and_then(Value::as_str).map(str::to_owned);
        (text("errorlog"), text("accesslog"), yaml)
    };
    let file = |path: &str| (Some(path.to_owned()), Some(path.to_owned()));
    for (line, expected) in [
        ("logger = file:/x.log", file("/x.log")),
        ("logger = file:logfile=/x,maxsize=2000000", file("/x")),
        ("logger = main file:logfile=/x,backupname=/y", file("/x")),
        ("logger = stdio", file("-")),
        ("logger = stdio:", file("-")),
        ("logger = systemd", file("-")),
        ("logto = /var/log/a:b.log", file("/var/log/a:b.log")),
        ("logto = systemd", file("systemd")),
    ] {
        let (errors, accesses, yaml) = logs(line);
        assert_eq!((errors, accesses), expected, "{line}: {yaml}");
    }
    assert!(
        logs("logger = file:logfile=/x,maxsize=9")
            .2
            .contains("does not rotate")
    );
    for line in [
        "logger = syslog:app,local0",
        "logger = main syslog:app",
        "logger = rsyslog:127.0.0.1:514,app",
        "logger = socket:127.0.0.1:1717",
        "logger = redislog",
        "logger = /no/plugin",
        "logto = 10.0.0.1:5000",
    ] {
        let (errors, _, yaml) = logs(line);
        assert_eq!(errors, None, "{line}: {yaml}");
        assert_eq!(listed(&yaml, line).unwrap().0, "Not translated", "{line}");
    }
    assert_eq!(logs("req-logger = file:/a").1.as_deref(), Some("/a"));
    assert_eq!(logs("req-logger = systemd").1.as_deref(), Some("-"));
}

#[test]
fn sections_of_the_same_file_are_followed() {
    let base = "[base]\nprocesses = 3\nharakiri = 5\n[other]\nlisten = 9\n";
    for line in [
        "ini = :base",
        "ini = a.ini:base",
        "ini = %p:base",
        "ini = %da.ini:base",
        "inherit = :base",
        "include = :base",
    ] {
        let text = format!("[uwsgi]\n{line}\nmodule = x\nharakiri = 7\n{base}");
        let yaml = migrated("a.ini", &text);
        let read: serde_yaml::Mapping = serde_yaml::from_str(&yaml).unwrap();
        let number = |key: &str| read.get(key).and_then(Value::as_u64);
        assert_eq!(number("workers"), Some(3), "{line}: {yaml}");
        assert_eq!(number("timeout"), Some(7), "the later one counts: {yaml}");
        assert_eq!(number("backlog"), None, "{yaml}");
        assert!(yaml.contains("Not read: its sections [other]."), "{yaml}");
        assert_eq!(listed(&yaml, line).unwrap().0, "Not needed", "{yaml}");
    }
    // Sections that include each other, one that is not there, and another file.
    let text =
        "[uwsgi]\nmodule = x\nini = :a\n[a]\nini = :b\nprocesses = 2\n[b]\nini = :a\nlisten = 7\n";
    let read = values("a.ini", text);
    assert_eq!(read.get("workers").and_then(Value::as_u64), Some(2));
    assert_eq!(read.get("backlog").and_then(Value::as_u64), Some(7));
    for line in ["ini = :nowhere", "ini = base.ini", "ini = base.ini:a"] {
        let yaml = migrated(
            "a.ini",
            &format!("[uwsgi]\nmodule = x\n{line}\n[a]\nprocesses = 2\n"),
        );
        assert_eq!(listed(&yaml, line).unwrap().0, "Not translated", "{yaml}");
        assert!(!yaml.contains("workers:"), "{yaml}");
    }
}

#[test]
fn names_that_another_file_defines_are_listed() {
    for line in [
        "chdir = %(base)/app",
        "env = ROOT=%(base)",
        "home = %(base)/venv",
        "pythonpath = %(base)/lib",
        "socket = %(base)/app.sock",
        "pidfile = /run/%(name).pid",
        "uid = %(user)",
        "logto = %(logs)/uwsgi.log",
        "procname = %(name)",
        "wsgi-file = %(base)/wsgi.py",
        "processes = %(count)",
    ] {
        let yaml = migrated("a.ini", &format!("[uwsgi]\nmodule = x\n{line}\n"));
        let (title, why) = listed(&yaml, line).unwrap_or_else(|| panic!("{line}: {yaml}"));
        assert_eq!(title, "Not translated", "{line}");
        assert!(why.contains("is not defined in this file"), "{line}: {why}");
    }
    // Names of the log format are not placeholders, and where the value does not matter, the advice
    // is better.
    let text = "[uwsgi]\nmodule = x\nlog-format = %(addr) %(method)\nspooler = %(base)/s\noffload-threads = %k\n";
    let yaml = migrated("a.ini", text);
    let (_, why) = listed(&yaml, "offload-threads = %k").unwrap();
    assert!(why.contains("occupies no worker"), "{why}");
    assert!(
        yaml.contains("access_log_format: \"%(h)s %(m)s\""),
        "{yaml}"
    );
    assert!(
        listed(&yaml, "spooler = %(base)/s")
            .unwrap()
            .1
            .contains("task queue")
    );
}

#[test]
fn blocks_of_if_env_are_translated_for_the_present_environment() {
    let text = "[uwsgi]\nmodule = x\nif-env = PROXY\nsocket = :9009\nendif =\nif-not-env = PROXY\n\
                http-socket = :9010\nend-if\nif-env = MODE=fast\nharakiri = 5\nendif =\n\
                if-env = VENV\n  virtualenv = %(_)\nendif\n";
    let with = |variables: &[(&str, &str)]| {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        super::translate(Path::new("/srv/a.ini"), text, &environment).unwrap()
    };
    let yaml = with(&[]);
    assert!(yaml.contains("bind: \":9010\""), "{yaml}");
    assert!(yaml.contains("for the environment of this call"), "{yaml}");
    assert!(!yaml.contains("python:"), "{yaml}");
    assert_eq!(listed(&yaml, "socket = :9009").unwrap().0, "Not translated");
    assert_eq!(
        listed(&yaml, "if-env = PROXY").unwrap(),
        (
            "Not translated",
            "PROXY is not set: its block is not translated".to_owned()
        )
    );
    let yaml = with(&[("PROXY", ""), ("MODE", "slow"), ("VENV", "/v")]);
    assert!(yaml.contains("bind: uwsgi://:9009"), "{yaml}");
    assert!(
        yaml.contains("python: !env \"${VENV}/bin/python3\""),
        "{yaml}"
    );
    assert!(
        listed(&yaml, "if-env = MODE=fast")
            .unwrap()
            .1
            .contains("another value")
    );
    let yaml = with(&[("MODE", "fast")]);
    assert!(yaml.contains("timeout: 5\n"), "{yaml}");
    // Other conditions are not decided.
    let yaml = migrated(
        "a.ini",
        "[uwsgi]\nmodule = x\nif-file = /x\nlisten = 5\nendif =\n",
    );
    assert!(!yaml.contains("for the environment of this call"), "{yaml}");
    assert_eq!(listed(&yaml, "listen = 5").unwrap().0, "Not translated");
}

#[test]
fn a_graceful_stop_needs_no_hook() {
    let of = |line: &str| {
        let yaml = migrated("a.ini", &format!("[uwsgi]\nmodule = x\n{line}\n"));
        listed(&yaml, line).unwrap()
    };
    let (title, why) = of("hook-master-start = unix_signal:15 gracefully_kill_them_all");
    assert_eq!(
        (title, why.as_str()),
        ("Not needed", "TERM is a graceful stop")
    );
    assert_eq!(
        of("hook-master-start = unix_signal:15  gracefully_kill").0,
        "Not needed"
    );
    for line in [
        "hook-master-start = unix_signal:2 gracefully_kill_them_all",
        "hook-master-start = unix_signal:1 reload",
    ] {
        let (title, why) = of(line);
        assert_eq!(title, "Not translated");
        assert!(why.contains("rcorn-signals(7)"), "{why}");
    }
    assert!(
        of("hook-pre-app = exec:./manage.py migrate")
            .1
            .contains("systemd")
    );
}

#[test]
fn a_class_becomes_threads() {
    let of = |text: &str| {
        let values = values("a.py", text);
        let workers = values.get("workers").and_then(Value::as_u64);
        (workers, values.get("threads").and_then(Value::as_u64))
    };
    for (class, threads, expected) in [
        ("sync", "", None),
        ("sync", "threads = 8", Some(8)),
        ("gthread", "threads = 8", Some(8)),
        (
            "gunicorn.workers.gthread.ThreadWorker",
            "threads = 1",
            Some(1),
        ),
        ("gevent", "", Some(32)),
        ("eventlet", "threads = 8", Some(8)),
        ("tornado", "threads = 4", Some(4)),
        ("uvicorn.workers.UvicornWorker", "threads = 8", None),
    ] {
        let text = format!("worker_class = '{class}'\nworkers = 3\n{threads}\n");
        assert_eq!(of(&text), (Some(3), expected), "{text}");
    }
    let yaml = migrated("a.py", "worker_class = 'gevent'\n");
    assert!(
        yaml.contains("# worker class 'gevent' is served by threads"),
        "{yaml}"
    );
    let yaml = migrated("a.py", "worker_class = 'gthread'\n");
    assert!(yaml.contains("\nworker_class: gthread\n"), "{yaml}");
    let yaml = migrated(
        "a.py",
        "worker_class = 'uvicorn.workers.UvicornWorker'\nthreads = 8\n",
    );
    assert_eq!(listed(&yaml, "threads = 8").unwrap().0, "Not needed");
    assert!(
        yaml.contains("serve an ASGI app with an ASGI server"),
        "{yaml}"
    );
}

#[test]
fn greenlets_of_uwsgi_become_threads() {
    for (lines, expected) in [
        ("gevent = 100", 32),
        ("gevent = 8", 8),
        ("threads = 4\ngevent = 100", 4),
        ("threads = 4\nprocesses = 2", 4),
    ] {
        let values = values("a.ini", &format!("[uwsgi]\nmodule = x\n{lines}\n"));
        let threads = values.get("threads").and_then(Value::as_u64);
        assert_eq!(threads, Some(expected), "{lines}");
    }
}

#[test]
fn rules_lead_to_settings() {
    let missing: Vec<&str> = rules::settings()
        .filter(|name| !TABLE.iter().any(|row| row.name == *name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_key_is_claimed_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for key in rules::keys() {
        assert!(seen.insert(key), "{key} has two rules");
    }
}

proptest! {
    #[test]
    fn yaml_gives_back_every_text(text in "\\PC{0,12}", wild in any::<String>()) {
        for text in [text, wild] {
            let row = TABLE.iter().find(|row| row.name == "proc_name").unwrap();
            let written = yaml::entry(row, &yaml::Node::list(vec![text.clone()]));
            let read: serde_yaml::Mapping = serde_yaml::from_str(&written).unwrap();
            prop_assert_eq!(read.get("proc_name").and_then(Value::as_str), Some(text.as_str()));
        }
    }

    #[test]
    fn whatever_a_file_says_yaml_comes_out(lines in proptest::collection::vec("[a-z-]{1,12} ?=? ?\\PC{0,20}", 1..8)) {
        let text = format!("[uwsgi]\n{}\n", lines.join("\n"));
        if let Ok(yaml) = translate(Path::new("/srv/a.ini"), &text) {
            prop_assert!(serde_yaml::from_str::<serde_yaml::Mapping>(&yaml).is_ok(), "{}", yaml);
        }
        let yaml = translate(Path::new("/srv/a.py"), &lines.join("\n"));
        if let Ok(yaml) = yaml {
            prop_assert!(serde_yaml::from_str::<serde_yaml::Mapping>(&yaml).is_ok(), "{}", yaml);
        }
    }
}

#[test]
fn static_files_of_uwsgi_stay_before_the_app() {
    let text = "[uwsgi]\nmodule = x\nstatic-map = /static=/srv/static\nstatic-map2 = /media=/srv\n\
                check-static = /srv/public\nstatic-index = index.html\nstatic-map = /bad\n";
    let values = values("a.ini", text);
    let map = values.get("static_files").unwrap();
    for (prefix, directory) in [
        ("/static", "/srv/static"),
        ("/media", "/srv/media"),
        ("/", "/srv/public"),
    ] {
        assert_eq!(
            map.get(prefix).and_then(|value| value.as_str()),
            Some(directory),
            "{prefix}"
        );
    }
    assert_eq!(values.get("static_fallthrough"), Some(&true.into()));
    assert_eq!(values.get("static_index"), Some(&"index.html".into()));
    let yaml = migrated("a.ini", text);
    let (_, why) = listed(&yaml, "static-map = /bad").unwrap();
    assert!(why.contains("PREFIX=DIRECTORY"), "{why}");
}
