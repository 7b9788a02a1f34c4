//! The loggers `gunicorn.error` and `gunicorn.access`, as apps and hooks use them.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::conf::{APP, with};
use crate::support::{Server, wait_until};

/// The recipe of many Flask guides, and everything that a process may log from.
const RECIPE: &str = "
import atexit, logging, os, sys, threading
server = logging.getLogger('gunicorn.error')
log = logging.getLogger('shop')
log.handlers = server.handlers
log.setLevel(server.level)
log.info('imported')
atexit.register(log.info, 'leaves')
def app(environ, start_response):
    log.debug('a debug line')
    log.info('an info line')
    log.log(35, 'a level of its own')
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception('a caught %s', 'error')
    thread = threading.Thread(target=log.warning, args=('from a thread',))
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        log.warning('from a child')
        os._exit(0)
    os.waitpid(pid, 0)
    start_response('200 OK', [])
    return [str([server.level, server.propagate, len(server.handlers)]).encode()]
";

fn wait_for_line(server: &Server, file: &Path, text: &str) {
    wait_until(server.deadline(), &format!("{text:?} is logged"), || {
        fs::read_to_string(file).is_ok_and(|log| log.contains(text))
    });
}

#[test]
fn an_app_that_takes_the_handlers_of_gunicorn_error_is_in_the_error_log() {
    for preload in ["--preload", "--no-preload"] {
        let server = Server::app("m:app")
            .file("m.py", RECIPE)
            .args([preload, "--error-logfile", "error.log"])
            .start();
        assert_eq!(server.get("/").text(), "[20, False, 1]");
        let file = server.directory().join("error.log");
        let log = fs::read_to_string(&file).unwrap();
        for line in [
            "[INFO] imported\n",
            "[INFO] an info line\n",
            "[Level 35] a level of its own\n",
            "[ERROR] a caught error\nTraceback (most recent call last):\n",
            "ZeroDivisionError: division by zero\n",
            "[WARNING] from a thread\n",
            "[WARNING] from a child\n",
        ] {
            assert!(log.contains(line), "no {line:?} in {log}");
        }
        assert!(!log.contains("a debug line"), "{log}");
        let worker = server.workers()[0];
        assert!(
            log.contains(&format!(" +0000] [{worker}] [INFO] an info line")),
            "{log}"
        );
        // Rotated.
        let moved = server.directory().join("error.log.1");
        fs::rename(&file, moved).unwrap();
        server.signal(Signal::SIGUSR1);
        wait_until(server.deadline(), "the new file is used", || {
            assert_eq!(server.get("/").status, 200);
            fs::read_to_string(&file).is_ok_and(|log| log.contains("an info line"))
        });
        server.signal(Signal::SIGTERM);
        wait_for_line(&server, &file, "[INFO] leaves\n");
        assert_eq!(server.exit().code(), Some(0));
    }
}

#[test]
fn records_of_gunicorn_error_are_json_where_the_log_is() {
    let server = Server::app("m:app")
        .file("m.py", RECIPE)
        .args(["--error-logfile", "error.log", "--log-format", "json"])
        .start();
    assert_eq!(server.get("/").status, 200);
    let log = fs::read_to_string(server.directory().join("error.log")).unwrap();
    let records = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records: Vec<Value> = records
        .filter(|record| record["logger"] == "shop")
        .collect();
    let has = |level: &str, message: &str| {
        records.iter().any(|record| {
            let said = record["message"].as_str().unwrap();
            record["level"] == level && said.starts_with(message)
        })
    };
    assert!(has("INFO", "an info line"), "{log}");
    assert!(has("ERROR", "a caught error\nTraceback"), "{log}");
    server.stop();
}

#[test]
fn the_level_of_the_settings_is_that_of_the_loggers() {
    for (level, number, debug) in [("debug", 10, true), ("warning", 30, false)] {
        let server = Server::app("m:app")
            .file("m.py", RECIPE)
            .args(["--error-logfile", "error.log", "--log-level", level])
            .start();
        let told = format!("[{number}, False, 1]");
        assert_eq!(server.get("/").text(), told);
        let log = fs::read_to_string(server.directory().join("error.log")).unwrap();
        assert_eq!(log.contains("[DEBUG] a debug line"), debug, "{log}");
        assert_eq!(log.contains("[INFO] an info line"), debug, "{log}");
        server.stop();
    }
}

/// Filters health checks out; where it is added differs.
const FILTER: &str = "
import logging
def no_health_checks(record):
    return record.args['U'] != '/health' and record.args['{x-skip}i'] == '-'
def add():
    logging.getLogger('gunicorn.access').addFilter(no_health_checks)
";

/// Gets pages of which only `/page` is to be logged, and gives the access log.
fn access_log(server: &Server) -> String {
    assert_eq!(server.get("/health").status, 200);
    let mut wire = server.connect();
    wire.send("GET /skipped HTTP/1.1\r\nHost: a\r\nX-Skip: yes\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    assert_eq!(server.get("/page").status, 200);
    let file = server.directory().join("access.log");
    wait_for_line(server, &file, "GET /page");
    fs::read_to_string(file).unwrap()
}

#[test]
fn filters_of_gunicorn_access_are_obeyed_wherever_they_are_added() {
    let app = format!("{FILTER}{APP}");
    let conf = |hook: &str| format!("{FILTER}\ndef {hook}:\n    add()\n");
    let places = [
        (format!("{app}\nadd()"), String::new()),
        (app.clone(), FILTER.to_owned() + "\nadd()"),
        (app.clone(), conf("on_starting(server)")),
        (app.clone(), conf("post_fork(server, worker)")),
        (app.clone(), conf("post_worker_init(worker)")),
    ];
    for (app, conf) in places {
        let server = with(&conf)
            .file("m.py", app)
            .args(["--access-logfile", "access.log"])
            .start();
        let log = access_log(&server);
        assert_eq!(log.lines().count(), 1, "{conf}: {log}");
        let line = r#" "GET /page HTTP/1.1" 200 7 "-" "-""#;
        assert!(log.trim_end().ends_with(line), "{log}");
        server.stop();
    }
}

/// Changes `gunicorn.access` by the path of the request.
const CHANGES: &str = "
import logging
access = logging.getLogger('gunicorn.access')
mine = logging.FileHandler('mine.log', delay=True)
mine.setFormatter(logging.Formatter('mine %(message).40s'))
ours = access.handlers[0]
plain = ours.formatter
no = lambda record: False
ACTS = {
    '/add-handler': lambda: access.addHandler(mine),
    '/remove-handler': lambda: access.removeHandler(mine),
    '/append': lambda: access.handlers.append(mine),
    '/clear': lambda: access.handlers.clear(),
    '/assign': lambda: setattr(access, 'handlers', [ours]),
    '/level': lambda: access.setLevel('WARNING'),
    '/level-back': lambda: access.setLevel('INFO'),
    '/disable': lambda: logging.disable(logging.INFO),
    '/enable': lambda: logging.disable(logging.NOTSET),
    '/filter': lambda: ours.addFilter(no),
    '/no-filter': lambda: ours.removeFilter(no),
    '/format': lambda: ours.setFormatter(logging.Formatter('formatted %(message)s')),
    '/no-format': lambda: ours.setFormatter(plain),
}
def app(environ, start_response):
    ACTS.get(environ['PATH_INFO'], int)()
    start_response('200 OK', [])
    return [b'ok']
";

/// What is asked for.
const PAGES: [&str; 25] = [
    "/one",
    "/add-handler",
    "/two",
    "/remove-handler",
    "/three",
    "/append",
    "/four",
    "/clear",
    "/five",
    "/assign",
    "/six",
    "/level",
    "/seven",
    "/level-back",
    "/eight",
    "/disable",
    "/nine",
    "/enable",
    "/ten",
    "/filter",
    "/eleven",
    "/no-filter",
    "/format",
    "/twelve",
    "/no-format",
];

#[test]
fn what_changes_gunicorn_access_while_it_serves_is_noticed() {
    let server = Server::app("m:app")
        .file("m.py", CHANGES)
        .args([
            "--access-logfile",
            "access.log",
            "--access-logformat",
            "%(U)s",
        ])
        .start();
    let read = |name: &str| fs::read_to_string(server.directory().join(name)).unwrap_or_default();
    let mut wire = server.connect();
    for page in PAGES {
        assert_eq!(wire.get(page).status, 200);
    }
    // The line of a request is written after the app's code has run.
    let expected = "/one /add-handler /two /remove-handler /three /append /four /assign /six \
                    /level-back /eight /enable /ten /no-filter formatted /format \
                    formatted /twelve /no-format";
    wait_for_line(
        &server,
        &server.directory().join("access.log"),
        "/no-format",
    );
    let log = read("access.log");
    assert_eq!(
        log.split_whitespace().collect::<Vec<_>>().join(" "),
        expected
    );
    let mine: Vec<String> = read("mine.log").lines().map(str::to_owned).collect();
    assert_eq!(
        mine,
        ["/add-handler", "/two", "/append", "/four"].map(|page| format!("mine {page}"))
    );
    server.stop();
}

#[test]
fn a_logger_that_propagates_gives_its_lines_to_the_root_logger() {
    let app = format!(
        "
import logging, sys
logging.basicConfig(stream=sys.stdout, format='ROOT %(name)s %(message)s')
logging.getLogger('gunicorn.access').propagate = True
logging.getLogger('gunicorn.error').propagate = True
logging.getLogger('gunicorn.error').info('said')
{APP}"
    );
    let server = Server::app("m:app")
        .file("m.py", app)
        .args(["--access-logfile", "-", "--access-logformat", "%(m)s %(U)s"])
        .start();
    assert_eq!(server.get("/page").status, 200);
    server.log().expect("ROOT gunicorn.access GET /page");
    server.log().expect("ROOT gunicorn.error said");
    server.log().expect("[INFO] said");
    assert_eq!(server.stop().text().matches("GET /page").count(), 2);
}

#[test]
fn a_configuration_that_disables_all_loggers_leaves_the_logs_of_the_server() {
    let app = format!(
        "
import logging.config
logging.config.dictConfig({{'version': 1}})
logging.getLogger('gunicorn.error').info('said')
{APP}"
    );
    let server = Server::app("m:app")
        .file("m.py", app)
        .args(["--access-logfile", "access.log"])
        .start();
    let log = access_log(&server);
    assert_eq!(log.lines().count(), 3, "{log}");
    server.log().expect("[INFO] said");
    server.stop();
}

#[test]
fn usr1_reopens_the_files_of_the_apps_handlers() {
    let app = "
import logging
log = logging.getLogger('shop')
log.addHandler(logging.FileHandler('shop.log'))
def app(environ, start_response):
    log.warning(environ['PATH_INFO'])
    start_response('200 OK', [])
    return [b'ok']
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .args(["--no-preload"])
        .start();
    assert_eq!(server.get("/one").status, 200);
    let file = server.directory().join("shop.log");
    fs::rename(&file, server.directory().join("shop.log.1")).unwrap();
    server.signal(Signal::SIGUSR1);
    wait_until(server.deadline(), "the new file is used", || {
        assert_eq!(server.get("/two").status, 200);
        file.exists()
    });
    let old = fs::read_to_string(server.directory().join("shop.log.1")).unwrap();
    assert!(old.starts_with("/one\n"), "{old}");
    server.stop();
}

#[test]
fn who_looks_logging_up_before_its_import_does_not_lose_the_loggers() {
    let app = format!(
        "
import importlib.util, sys
assert 'logging' not in sys.modules
class Old:
    def find_module(self, name, path=None):
        return None
class Asking:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, 'find_spec'):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
sys.meta_path[1:1] = [Old(), Asking()]
spec = importlib.util.find_spec('logging')
assert 'getLogger' in spec.loader.get_source('logging')
copy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(copy)
assert 'logging' not in sys.modules
import logging
assert type(logging.__loader__).__module__ != '_rcorn_loggers'
logging.getLogger('gunicorn.error').info('said')
{APP}"
    );
    let server = Server::app("m:app")
        .file("m.py", app)
        .args(["--no-preload"])
        .start();
    server.log().expect("[INFO] said");
    assert_eq!(server.get("/").status, 200);
    server.stop();
}
