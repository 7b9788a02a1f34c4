//! `gunicorn.conf.py` files as projects have them, unchanged, with the real binary.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Builder, Place, Server, Wire, title, venv};

pub(crate) const APP: &str = "import os\ndef app(environ, start_response):\n    if environ['PATH_INFO'] == '/raise': raise KeyError('x')\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    name = environ['QUERY_STRING']\n    return [os.environ.get(name, environ.get(name, 'nothing')).encode()]\n";

fn with(conf: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("gunicorn.conf.py", conf)
}

#[test]
fn computed_numbers() {
    let server = with(include_str!("../apps/conf/computed.py"))
        .env("STAGE", "live")
        .env("TIMEOUT", "44")
        .start();
    server.wait_serving(3);
    assert!(title(server.pid()).contains("shop-live"));
    server.stop();
}

#[test]
fn every_hook_is_called_at_its_moment() {
    let server = with(include_str!("../apps/conf/hooks.py")).start();
    server.wait_serving(1);
    let log = server.log();
    let mut wire = server.connect();
    wire.send("GET /a?b HTTP/1.1\r\nHost: a\r\nX-Asked: yes\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    log.expect("pre_request GET /a yes");
    log.expect("post_request 200 OK /a 7");
    server.signal(Signal::SIGTTIN);
    log.expect("nworkers_changed 2 1");
    server.wait_serving(2);
    server.signal(Signal::SIGHUP);
    log.expect("on_reload in");
    log.expect_count("child_exit", 2);
    let ended = server.stop();
    let text = ended.text();
    let mut at = 0;
    for next in [
        "on_starting with 1 workers",
        "nworkers_changed 1 None",
        "Server is ready. Spawning workers",
        "pre_fork [booting] age 1",
        "Booting worker with pid",
        "Worker spawned (pid: ",
        "post_worker_init True True",
        "pre_request",
        "on_reload",
        "worker_exit",
        "child_exit",
        "on_exit []",
        "Shutting down: Master",
    ] {
        let found = text[at..].find(next);
        at += found.unwrap_or_else(|| panic!("no {next:?} after {}", &text[..at]));
    }
    for once in ["on_starting", "Server is ready", "on_reload", "on_exit"] {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
    assert_eq!(
        text.matches("child_exit").count(),
        text.matches("Worker spawned").count(),
        "{text}"
    );
}

#[test]
fn a_quick_stop_calls_worker_int_and_an_upgrade_pre_exec() {
    let mut server = with(include_str!("../apps/conf/hooks.py")).start();
    server.wait_serving(1);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Forked child, re-executing.");
    let beside = server.log().expect("Started a new arbiter (pid:");
    let pid: i32 = beside
        .split("(pid:")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    server.log().expect_count("post_worker_init", 2);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT).unwrap();
    server.log().expect("worker received INT or QUIT signal");
    server.log().expect("The new arbiter");
    server.signal(Signal::SIGINT);
    server.wait_exit();
    let ended = server.finish();
    assert!(
        ended
            .text()
            .matches("worker received INT or QUIT signal")
            .count()
            >= 2,
        "{}",
        ended.text()
    );
}

#[test]
fn prometheus_in_several_processes() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics");
    let app = "from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess\nimport os\nASKED = Counter('asked', 'requests')\nALIVE = Gauge('alive', 'workers', multiprocess_mode='livesum')\ndef app(environ, start_response):\n    ASKED.inc()\n    ALIVE.set(1)\n    registry = CollectorRegistry()\n    multiprocess.MultiProcessCollector(registry)\n    start_response('200 OK', [])\n    return [generate_latest(registry) if environ['PATH_INFO'] == '/metrics' else str(os.getpid()).encode()]\n";
    let server = with(include_str!("../apps/conf/prometheus.py"))
        .file("m.py", app)
        .env("PROMETHEUS_MULTIPROC_DIR", &metrics)
        .allow("was sent SIGKILL")
        // It was answered, but the worker may not have come to note that.
        .allow("In hand when worker")
        .python(venv::python())
        .start();
    server.wait_serving(2);
    let mut wire = server.connect();
    let first: i32 = wire.get("/").text().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), Signal::SIGKILL).unwrap();
    server.log().expect(&format!("marked {first} dead"));
    let second = server.get("/").text();
    assert_ne!(second, first.to_string());
    let text = server.get("/metrics").text();
    // The counter outlives its worker, the gauge of the dead does not.
    assert!(text.contains("asked_total 3.0"), "{text}");
    let alive: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("alive "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        alive <= 2.0 && !metrics.join(format!("gauge_livesum_{first}.db")).exists(),
        "{text}"
    );
    server.stop();
}

#[test]
fn loggers_are_shaped_and_the_access_log_goes_through_them() {
    let app = "import logging\nlogging.getLogger('shop').info('imported')\ndef app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'ok']\n";
    let server = with(include_str!("../apps/conf/logging_dict.py"))
        .file("m.py", app)
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET /a%20b?c HTTP/1.1\r\nHost: a\r\nUser-Agent: \"me\"\r\nX-Asked: yes\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    server
        .log()
        .expect(r#"{"level": "INFO", "logger": "shop", "message": "imported"}"#);
    let line = server.log().expect(r#""logger": "gunicorn.access""#);
    for part in [
        r#""message": "127.0.0.1 \"GET /a%20b?c HTTP/1.1\" 200 2 yes -""#,
        r#""status": 200"#,
        r#""path": "/a b""#,
        r#""agent": "\"me\"""#,
        r#""micros": true"#,
        r#""type": "text/plain""#,
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    server.stop();
}

#[test]
fn loggers_by_ini_and_json_files() {
    let ini = "[loggers]\nkeys=root\n[handlers]\nkeys=out\n[formatters]\nkeys=plain\n[logger_root]\nlevel=INFO\nhandlers=out\n[handler_out]\nclass=StreamHandler\nformatter=plain\nargs=(sys.stdout,)\n[formatter_plain]\nformat=INI %(name)s %(message)s\n";
    let json = r#"{"version": 1, "formatters": {"p": {"format": "JSON %(name)s %(message)s"}}, "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "p"}}, "root": {"level": "INFO", "handlers": ["out"]}, "loggers": {}}"#;
    for (flag, file, text, word) in [
        ("--log-config", "l.ini", ini, "INI"),
        ("--log-config-json", "l.json", json, "JSON"),
    ] {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .file(file, text)
            .args([flag, file])
            .start();
        server.wait_serving(1);
        assert_eq!(server.get("/").status, 200);
        server
            .log()
            .expect(&format!("{word} gunicorn.access 127.0.0.1"));
        server.stop();
    }
    let ended = Server::app("m:app")
        .file("m.py", APP)
        .file("l.ini", "nonsense")
        .args(["--log-config", "l.ini"])
        .allow("The loggers cannot be configured")
        .allow("Shutting down: Master")
        .allow("Reason: The host refused")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
}

#[test]
fn a_platform_with_its_own_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("web");
    let server = with(include_str!("../apps/conf/platform.py"))
        .unbound()
        .env("BIND", format!("unix:{}", socket.display()))
        .env("STATSD", "127.0.0.1:1")
        .start();
    server.wait_serving(1);
    server.log().expect("worker_tmp_dir has no effect");
    server.log().expect("statsd_host has no effect");
    let ask = |head: &str| {
        let mut wire = Wire::connect(&Place::Unix(socket.clone()));
        wire.send(format!(
            "GET /?{head}\r\nHost: a\r\nX-Scheme: https\r\nRemote_User: eve\r\n\r\n"
        ));
        wire.read_reply().text()
    };
    assert_eq!(ask("STAGE HTTP/1.1"), "production");
    assert_eq!(ask("STARTED_BY HTTP/1.1"), "gunicorn.conf.py");
    assert_eq!(ask("wsgi.url_scheme HTTP/1.1"), "https");
    assert_eq!(ask("REMOTE_USER HTTP/1.1"), "eve");
    server.stop();
}

#[test]
fn sentry_hears_of_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let server = with(include_str!("../apps/conf/sentry.py"))
        .env("SENTRY_FILE", &file)
        .python(venv::python())
        .allow("Error handling request")
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/raise").status, 500);
    assert_eq!(fs::read_to_string(&file).unwrap(), "shop@1 KeyError True\n");
    server.stop();
}

#[test]
fn an_agent_wraps_the_app_and_a_tracer_follows_requests() {
    let agent = "import os, sys\nCALLS = []\ndef initialize(path): CALLS.append('init ' + str('m' in sys.modules))\ndef register_application(timeout): CALLS.append('register')\ndef shutdown_agent(timeout): sys.stderr.write('agent down\\n')\nclass WSGIApplicationWrapper:\n    def __init__(self, app): self.app = app\n    def __call__(self, environ, start_response):\n        environ['CALLS'] = ' '.join(CALLS)\n        return self.app(environ, start_response)\n";
    let server = with(include_str!("../apps/conf/agent.py"))
        .file("agent.py", agent)
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/?CALLS").text(), "init False register");
    let ended = server.stop();
    assert!(ended.text().contains("agent down"), "{}", ended.text());

    let tracer =
        "def patch_all(logging): pass\ndef start(uri, number): return '%s#%d' % (uri, number)\n";
    let server = with(include_str!("../apps/conf/tracer.py"))
        .file("tracer.py", tracer)
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.get("/a");
    wire.get("/b");
    server.log().expect("span /b#2 of True");
    server.log().expect("Worker spawned by ");
    server.stop();
}

#[test]
fn stacks_are_dumped_when_a_worker_is_aborted() {
    let app = "import time\ndef stuck(): time.sleep(100)\ndef app(environ, start_response):\n    stuck()\n";
    let server = with(include_str!("../apps/conf/dumps.py"))
        .file("m.py", app)
        .allow("WORKER TIMEOUT")
        .allow("(pid:")
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.log().expect("WORKER TIMEOUT");
    server.log().expect("worker received SIGABRT signal");
    server.log().expect(", in stuck");
    drop(wire);
    server.stop();
}

#[test]
fn every_variable_is_a_setting() {
    let server = with(include_str!("../apps/conf/variables.py"))
        .env("GUNICORN_WORKERS", "2")
        .env("GUNICORN_TIMEOUT", "33")
        .env("GUNICORN_CMD_ARGS", "--name listed")
        .start();
    server.wait_serving(2);
    assert!(title(server.pid()).contains("listed"));
    server.stop();
}

#[test]
fn hooks_run_on_every_python() {
    for (python, version) in super::k_pythons::pythons() {
        if version < (3, 9) {
            continue;
        }
        let server = with(include_str!("../apps/conf/hooks.py"))
            .python(&python)
            .start();
        server.wait_serving(1);
        assert_eq!(server.get("/").status, 200);
        server.log().expect("post_request 200 OK / 7");
        let ended = server.stop();
        assert!(
            ended.text().contains("on_exit []"),
            "{}: {}",
            python.display(),
            ended.text()
        );
    }
}
