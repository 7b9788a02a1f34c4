//! `gunicorn.conf.py` files as projects have them, unchanged, with the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::conf::{APP, with};
use crate::support::{Need, Place, Server, Wire, lacks, program, title, venv};

#[test]
fn computed_numbers() {
    let server = with(include_str!("../../apps/conf/computed.py"))
        .env("STAGE", "live")
        .env("TIMEOUT", "44")
        .start();
    server.wait_serving(3);
    assert!(title(server.pid()).contains("shop-live"));
    server.stop();
}

#[test]
fn prometheus_in_several_processes() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics");
    let app = "
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
import os
ASKED = Counter('asked', 'requests')
ALIVE = Gauge('alive', 'workers', multiprocess_mode='livesum')
def app(environ, start_response):
    ASKED.inc()
    ALIVE.set(1)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    start_response('200 OK', [])
    return [generate_latest(registry) if environ['PATH_INFO'] == '/metrics' else str(os.getpid()).encode()]
";
    let server = with(include_str!("../../apps/conf/prometheus.py"))
        .file("m.py", app)
        .env("PROMETHEUS_MULTIPROC_DIR", &metrics)
        .allow("was sent SIGKILL")
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
    // The counter outlives its worker, the gauge does not.
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
fn a_platform_with_its_own_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("web");
    let server = with(include_str!("../../apps/conf/platform.py"))
        .unbound()
        .env("BIND", format!("unix:{}", socket.display()))
        .env("STATSD", "127.0.0.1:1")
        .start();
    server.wait_serving(1);
    server.log().expect("worker_tmp_dir has no effect");
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
    if lacks(&[Need::Packages]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let server = with(include_str!("../../apps/conf/sentry.py"))
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
    let agent = r"
import os, sys
CALLS = []
def initialize(path): CALLS.append('init ' + str('m' in sys.modules))
def register_application(timeout): CALLS.append('register')
def shutdown_agent(timeout): sys.stderr.write('agent down\n')
class WSGIApplicationWrapper:
    def __init__(self, app): self.app = app
    def __call__(self, environ, start_response):
        environ['CALLS'] = ' '.join(CALLS)
        return self.app(environ, start_response)
";
    let server = with(include_str!("../../apps/conf/agent.py"))
        .file("agent.py", agent)
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/?CALLS").text(), "init False register");
    let ended = server.stop();
    assert!(ended.text().contains("agent down"), "{}", ended.text());

    let tracer = "
def patch_all(logging): pass
def start(uri, number): return '%s#%d' % (uri, number)
";
    let server = with(include_str!("../../apps/conf/tracer.py"))
        .file("tracer.py", tracer)
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.get("/a");
    wire.get("/b");
    server.log().expect("span /b#1 of True");
    server.log().expect("Worker spawned by ");
    server.stop();
}

#[test]
fn a_config_that_the_workers_user_cannot_read_is_read_before() {
    if lacks(&[Need::Root, program("/usr/bin/python3")]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("m.py"), APP).unwrap();
    let conf = "
import os
def post_fork(server, worker): os.environ['SECRET'] = 'read by %d' % os.getuid()
";
    fs::write(at("secret.py"), conf).unwrap();
    fs::set_permissions(at("secret.py"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::app("m:app")
        .unbound()
        .python("/usr/bin/python3")
        .args(["--chdir", &at(""), "-c", &at("secret.py")])
        .args([
            "--user",
            "65534",
            "--group",
            "65534",
            "--bind",
            &format!("unix:{}", at("web")),
        ])
        .start();
    server.wait_serving(1);
    let mut wire = Wire::connect(&Place::Unix(folder.path().join("web")));
    assert_eq!(wire.get("/?SECRET").text(), "read by 65534");
    server.stop();
}

/// Counts its executions, in a way that needs nothing of the process that executes it.
const COUNTING: &str = "open('count', 'a').write('x')\nworkers = 1\n";

fn executions(server: &Server) -> usize {
    let count = fs::read_to_string(server.directory().join("count"));
    count.unwrap_or_default().len()
}

/// Starts with this file, reloads once, and gives the number of executions after each.
fn executions_of(conf: &str) -> (usize, usize) {
    let server = with(conf).start();
    server.wait_serving(1);
    let started = executions(&server);
    let before = server.workers();
    server.signal(Signal::SIGHUP);
    server.wait_gone(before[0]);
    server.wait_serving(1);
    let reloaded = executions(&server);
    server.stop();
    (started, reloaded)
}

#[test]
fn a_file_of_settings_is_executed_once_at_a_start_and_at_a_reload() {
    assert_eq!(executions_of(COUNTING), (1, 2));
    // With a function of its own, a banner, and what else sets settings.
    let conf = format!(
        "import os\ndef number(name, default):\n    try:\n        return int(os.environ.get(name, default))\n    \
         except ValueError:\n        return default\nprint('starting', flush=True)\n\
         timeout = number('NO_SUCH', 30)\n{COUNTING}"
    );
    assert_eq!(executions_of(&conf), (1, 2));
}

#[test]
fn a_file_that_a_template_needs_is_executed_there_too() {
    let hook = format!("{COUNTING}def post_fork(server, worker):\n    pass\n");
    assert_eq!(executions_of(&hook), (2, 4));
    // What it does to its process reaches the app, as with gunicorn.
    for (effect, query, answer) in [
        (
            "import os\nos.environ['FROM_CONF'] = 'yes'\n",
            "FROM_CONF",
            "yes",
        ),
        (
            "import os\nos.environ.setdefault('FROM_CONF', 'yes')\n",
            "FROM_CONF",
            "yes",
        ),
        (
            "from os import environ as e\ne.update(FROM_CONF='yes')\n",
            "FROM_CONF",
            "yes",
        ),
        ("import own_module\n", "FROM_CONF", "own"),
    ] {
        let server = with(&format!("{effect}{COUNTING}"))
            .file(
                "own_module.py",
                "import os\nos.environ['FROM_CONF'] = 'own'\n",
            )
            .start();
        server.wait_serving(1);
        assert_eq!(server.get(&format!("/?{query}")).text(), answer, "{effect}");
        assert_eq!(executions(&server), 2, "{effect}");
        server.stop();
    }
}

/// Files that have no effect on the process that executes them, and files that have one.
#[test]
fn effects_of_a_file_are_found() {
    let plain = [
        "workers = 3",
        "import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1",
        "import os\nbind = f\"0.0.0.0:{os.environ.get('PORT', 8000)}\"\nloglevel = os.getenv('L', 'info').lower()",
        "from pathlib import Path\nraw = []\nraw.append('A=1')\nd = {}\nd['x'] = 1\nchdir = str(Path('.').resolve())",
        "import os\ne = os.environ\nx = e.get('A')\ny = 'A' in e\nn = 1\nn += 1",
        "import os\nif os.environ.get('A'):\n    workers = 2\nelse:\n    workers = 3",
        "accesslog = '-'\ntry:\n    x = int('a')\nexcept ValueError:\n    x = 1",
    ];
    let effects = [
        "import os\nos.environ['A'] = '1'",
        "import os\ne = os.environ\ne['A'] = '1'",
        "import os\ne = os.environ\ne.setdefault('A', '1')",
        "import os\ne = os.environ\ne |= {'A': '1'}",
        "import os\ndef f(e):\n    e['A'] = '1'\nf(os.environ)",
        "import os\ndel os.environ['PATH']",
        "import sys\nsys.path.insert(0, 'x')",
        "import sys\np = sys.path\np += ['x']",
        "import sys\nsys.dont_write_bytecode = True",
        "import os\nos.umask(0o22)",
        "import socket\nsocket.setdefaulttimeout(3)",
        "import logging\nlogging.basicConfig()",
        "import signal\nsignal.signal(signal.SIGUSR2, signal.SIG_IGN)",
        "import threading\nthreading.Timer(1, print).start()",
        "class Logger:\n    pass",
        "exec('import os')",
        "setattr(__builtins__, 'x', 1)",
        "import encodings.idna",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gunicorn.conf.py");
    let evaluator = include_str!("../../../src/settings/evaluate.py");
    let all = plain.iter().map(|text| (text, true));
    for (text, expected) in all.chain(effects.iter().map(|text| (text, false))) {
        fs::write(&path, text).unwrap();
        // Descriptor 1: the answer goes to standard output.
        let output = Command::new("python3")
            .args(["-c", evaluator, "1", "file"])
            .arg(&path)
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            answer.get("plain"),
            Some(&expected.into()),
            "{text}: {answer}"
        );
    }
}

/// What `import gunicorn` finds where it is installed.
const GUNICORN: &str = "
__version__ = '27.0.1'
SERVER = 'gunicorn'
SERVER_SOFTWARE = SERVER + '/' + __version__
";

#[test]
fn the_name_that_a_file_gives_gunicorn_has_no_effect_and_the_log_says_what_has() {
    let given = [
        (
            "import gunicorn\ngunicorn.SERVER = 'shop'",
            "gunicorn.conf.py:2: gunicorn.SERVER has no effect; set server_header instead",
        ),
        (
            "import gunicorn as g\ng.SERVER_SOFTWARE = 'shop'",
            "gunicorn.conf.py: gunicorn.SERVER_SOFTWARE has no effect",
        ),
        (
            "import gunicorn\nsetattr(gunicorn, 'SERVER', '')",
            "gunicorn.conf.py: gunicorn.SERVER has no effect",
        ),
        (
            "import sys, gunicorn\nif True:\n    sys.modules['gunicorn'].SERVER = 'shop'",
            "gunicorn.conf.py: gunicorn.SERVER has no effect",
        ),
    ];
    for (conf, warning) in given {
        let server = with(conf).file("gunicorn/__init__.py", GUNICORN).start();
        server.wait_serving(1);
        server.log().expect(warning);
        server.stop();
    }
    let server = with("import gunicorn")
        .file("gunicorn/__init__.py", GUNICORN)
        .start();
    server.wait_serving(1);
    assert_eq!(server.stop().text().matches("has no effect").count(), 0);
}

#[test]
fn a_file_that_imports_gunicorn_where_it_is_not_installed_is_told_what_to_do() {
    for conf in [
        "import gunicorn",
        "from gunicorn.glogging import Logger",
        "import gunicorn.arbiter as arbiter",
        "__import__('gunicorn').SERVER = 'shop'",
    ] {
        let ended = with(conf)
            .allow("No module named 'gunicorn'")
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let hint = "rcorn does not need gunicorn: take out the import";
        assert!(ended.text().contains(hint), "{}", ended.text());
    }
}

#[test]
fn an_app_that_imports_gunicorn_where_it_is_not_installed_is_told_what_to_do() {
    let hint = "rcorn does not need gunicorn, but the app imports it; hint: take out the import";
    for import in [
        "import gunicorn",
        "from gunicorn.app.base import BaseApplication",
        "import gunicorn.glogging",
        "import importlib\nimportlib.import_module('gunicorn.util')",
    ] {
        for way in ["--no-preload", "--preload"] {
            let server = Server::app("m:app").file("m.py", import).args([way]);
            let ended = server
                .allow("No module named 'gunicorn'")
                .allow(hint)
                .allow("Shutting down: Master")
                .allow("Reason: Worker failed to boot.")
                .start()
                .exit();
            assert_eq!(ended.code(), Some(3), "{}", ended.text());
            assert!(ended.text().contains(hint), "{}", ended.text());
        }
    }
    // Another missing module is not gunicorn's.
    let server = Server::app("m:app").file("m.py", "import gunicornx");
    let ended = server
        .allow("No module named 'gunicornx'")
        .allow("Shutting down: Master")
        .allow("Reason: Worker failed to boot.")
        .start()
        .exit();
    assert!(!ended.text().contains(hint), "{}", ended.text());
}

#[test]
fn an_app_that_looks_for_gunicorn_in_its_environment_can_be_told_of_it() {
    let module = "
import os
FOUND = 'gunicorn' in os.environ.get('SERVER_SOFTWARE', '')
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % FOUND]
";
    for (conf, found) in [
        ("raw_env = ['SERVER_SOFTWARE=gunicorn']", "1"),
        (
            "import os\nos.environ['SERVER_SOFTWARE'] = 'gunicorn/27.0'",
            "1",
        ),
        ("", "0"),
    ] {
        let server = with(conf).file("m.py", module).start();
        assert_eq!(server.get("/").text(), found, "{conf}");
        server.stop();
    }
}
