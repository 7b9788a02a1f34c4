//! From the command to the first answer: start lines, app forms, and apps that cannot be loaded.

use nix::sys::signal::Signal;

use crate::support::{Builder, Server};

#[test]
fn start_and_stop_lines_are_gunicorns() {
    let server = Server::app("hello:app").args(["-w", "4"]).start();
    server.log().expect("[INFO] Starting rcorn 0.");
    server
        .log()
        .expect("[INFO] Listening at: http://127.0.0.1:");
    server.log().expect("[INFO] Using worker: sync");
    server
        .log()
        .expect_count("[INFO] Booting worker with pid: ", 4);
    let workers = server.wait_workers(4);
    assert_eq!(server.get("/").status, 200);
    let log = server.log().text();
    for pid in &workers {
        assert!(
            log.contains(&format!("Booting worker with pid: {pid}")),
            "{log}"
        );
    }
    // [2026-11-21 01:25:05 +0000] [19314] [INFO] …
    let first = log
        .lines()
        .find(|line| line.contains("Starting rcorn"))
        .unwrap();
    let stamp: Vec<char> = first.chars().take(28).collect();
    assert!(
        stamp.first() == Some(&'[') && stamp.get(27) == Some(&' '),
        "{first}"
    );
    server.signal(Signal::SIGINT);
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0));
    assert!(
        ended.text().contains("[INFO] Handling signal: int"),
        "{}",
        ended.text()
    );
    assert_eq!(
        ended.text().matches("Worker exiting (pid: ").count(),
        4,
        "{}",
        ended.text()
    );
    assert!(
        ended.text().contains("[INFO] Shutting down: Master"),
        "{}",
        ended.text()
    );
}

fn answers(app: &str, module: &str) -> String {
    let server = Server::app(app).file("m.py", module).start();
    let text = server.get("/").text();
    server.stop();
    text
}

#[test]
fn every_form_of_an_app_is_found() {
    let body = "def make(text):\n    def app(environ, start_response):\n        start_response('200 OK', [])\n        return [text.encode()]\n    return app\n";
    assert_eq!(
        answers("m", &format!("{body}application = make('plain')\n")),
        "plain"
    );
    let dotted =
        format!("{body}class a:\n    class b:\n        c = staticmethod(make('dotted'))\n");
    assert_eq!(answers("m:a.b.c", &dotted), "dotted");
    let factory = format!(
        "{body}def create(name='none', k=0, *, more=None):\n    return make(f'{{name}} {{k}} {{more}}')\n"
    );
    assert_eq!(answers("m:create()", &factory), "none 0 None");
    assert_eq!(
        answers("m:create(\"a b\", k=1, more=[1, {'x': (2,)}])", &factory),
        "a b 1 [1, {'x': (2,)}]"
    );
    let instance = "class App:\n    def __call__(self, environ, start_response):\n        start_response('200 OK', [])\n        return [b'instance']\napp = App()\n";
    assert_eq!(answers("m:app", instance), "instance");
    let class = "class App:\n    def __init__(self, environ, start_response):\n        self.start = start_response\n    def __iter__(self):\n        self.start('200 OK', [])\n        yield b'class'\n";
    assert_eq!(answers("m:App", class), "class");
}

/// An app that cannot be loaded, and all that is said of it.
fn broken(app: &str, module: &str) -> Builder {
    let builder = Server::app(app).file("m.py", module);
    [
        "Exception in worker process",
        "Traceback",
        "Shutting down",
        "Reason",
        "Failed to find",
        "callable",
    ]
    .into_iter()
    .fold(builder, Builder::allow)
}

fn fails(app: &str, module: &str, code: i32, words: &[&str]) {
    for arguments in [&["-w", "2"][..], &["-w", "2", "--no-preload"]] {
        let ended = broken(app, module).args(arguments).start().exit();
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {}", ended.text());
        for word in words {
            assert!(
                ended.text().contains(word),
                "{arguments:?}: no {word:?} in {}",
                ended.text()
            );
        }
        // The app's frames and none of ours.
        assert!(
            !ended.text().contains("importlib") && !ended.text().contains("<string>"),
            "{}",
            ended.text()
        );
    }
}

#[test]
fn an_import_that_raises_is_exit_3_with_its_traceback() {
    let module = "def deep():\n    raise LookupError('on purpose')\ndeep()\n";
    fails(
        "m:app",
        module,
        3,
        &[
            "in deep",
            "LookupError: on purpose",
            "Reason: Worker failed to boot.",
        ],
    );
    fails(
        "nowhere:app",
        "",
        3,
        &[
            "ModuleNotFoundError: No module named 'nowhere'",
            "Worker failed to boot.",
        ],
    );
    fails("m:app", "def broken(:\n", 3, &["SyntaxError", "m.py"]);
}

#[test]
fn a_wrong_name_or_thing_is_exit_4() {
    fails(
        "m:nope",
        "def other(): pass\n",
        4,
        &[
            "Failed to find attribute 'nope' in 'm'.",
            "other",
            "App failed to load.",
        ],
    );
    fails(
        "m:app",
        "app = 5\n",
        4,
        &["int", "not callable", "App failed to load."],
    );
}

#[test]
fn an_app_that_exits_at_import_does_not_respawn_for_ever() {
    fails("m:app", "import sys\nsys.exit(7)\n", 3, &["SystemExit: 7"]);
}

#[test]
fn a_worker_that_is_heard_before_its_template_says_why_it_failed() {
    // The template is late with its report of the fork.
    let late = "import os, time\nos.register_at_fork(after_in_parent=lambda: time.sleep(0.5))\n";
    let server = broken("m:app", "raise RuntimeError('broken on purpose')\n")
        .args(["-c", "late.py", "--no-preload"])
        .file("late.py", late)
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
}
