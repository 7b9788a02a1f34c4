//! Apps that cannot be loaded: exit codes, tracebacks, hanging imports, back-off.

use nix::sys::signal::{Signal, kill};

use crate::support::{APPS, Builder, Gate, OLD, Server};

/// An app that cannot be loaded, and all that is said of it.
fn broken(app: &str, module: &str) -> Builder {
    let builder = Server::app(app).file("m.py", module);
    [
        "Exception in worker process",
        "Failed to find attribute",
        "not callable",
        "Shutting down: Master",
        "Reason: Worker failed to boot.",
        "Reason: App failed to load.",
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
    let module = "
def deep():
    raise LookupError('on purpose')
deep()
";
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
    fails(
        "m:app",
        "
import sys
sys.exit(7)
",
        3,
        &["SystemExit: 7"],
    );
}

#[test]
fn a_worker_that_is_heard_before_its_template_says_why_it_failed() {
    // The template is late with its report of the fork.
    let late = format!(
        "
import os, sys
sys.path.insert(0, {APPS:?})
import gate
template = os.getpid()
os.register_at_fork(after_in_parent=lambda: os.getpid() == template and gate.hold())
"
    );
    let gate = Gate::new();
    let server = broken("m:app", "raise RuntimeError('broken on purpose')\n")
        .args(["-c", "late.py", "--no-preload"])
        .file("late.py", late)
        .gate(&gate)
        .start();
    gate.expect(server.deadline());
    server.log().expect("Worker exiting (pid: ");
    gate.open();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
}

#[test]
fn an_import_that_hangs_meets_its_boot_timeout() {
    let module = "
import gate
gate.hold()
";
    let gate = Gate::new();
    let server = Server::app("m:app")
        .file("m.py", module)
        .gate(&gate)
        .args(["--boot-timeout", "5", "--pythonpath", APPS])
        .allow("was not ready within boot_timeout")
        .allow("is hung: no request in hand")
        .allow("Reason: Worker failed to boot.")
        .allow("Shutting down: Master")
        .start();
    gate.expect(server.deadline());
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
    assert!(
        ended.text().contains("Worker failed to boot."),
        "{}",
        ended.text()
    );
}

#[test]
fn a_worker_killed_while_the_code_is_broken_and_not_preloaded_is_retried() {
    let server = Server::app("m:app")
        .args(["-w", "4", "--no-preload"])
        .file("m.py", OLD)
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("end too soon")
        .allow("was sent SIGKILL")
        .allow("exited with code 3")
        .start();
    server.wait_serving(4);
    let before = server.wait_workers(4);
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    kill(before[0], Signal::SIGKILL).unwrap();
    // Without preloading each new worker imports what is on the disk: back-off, while three serve.
    server
        .log()
        .expect_count("RuntimeError: broken on purpose", 3);
    server
        .log()
        .expect("Workers exit too soon after they start");
    assert_eq!(server.get("/").text(), "old");
    for survivor in &before[1..] {
        assert!(server.workers().contains(survivor));
    }
    server.write("m.py", OLD);
    server.wait_serving(4);
    server.stop();
}

#[test]
fn two_boot_failures_at_once_have_one_exit_code() {
    let server = Server::app("m:app")
        .args(["-w", "4", "--no-preload"])
        .file("m.py", "raise RuntimeError('broken on purpose')\n")
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("Reason: Worker failed to boot")
        .allow("Shutting down: Master")
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
}

#[test]
fn an_app_that_exits_at_its_import_is_no_respawn_storm() {
    let module = "
import os, sys
open('count', 'a').write('x')
if os.path.exists('bad'): sys.exit(7)
";
    let server = Server::app("m:app")
        .args(["-w", "2", "--no-preload"])
        .file("m.py", format!("{module}{OLD}"))
        .allow("was sent SIGKILL")
        .allow("Exception in worker process")
        .allow("end too soon")
        .start();
    server.wait_serving(2);
    let before = server.wait_workers(2);
    server.write("bad", "");
    kill(before[0], Signal::SIGKILL).unwrap();
    server
        .log()
        .expect_count("Workers exit too soon after they start", 3);
    let count = || {
        std::fs::read_to_string(server.directory().join("count"))
            .unwrap()
            .len()
    };
    // 0.1, 0.2, 0.4 s and so on: a handful of imports, while the other worker serves.
    assert!(count() < 10, "{} imports", count());
    assert_eq!(server.get("/").text(), "old");
    server.stop();
}

#[test]
fn a_hanging_import_says_where_it_hangs() {
    let gate = Gate::new();
    let server = Server::app("gated_import:app")
        .gate(&gate)
        .args(["--boot-timeout", "5"])
        .allow("was not ready within boot_timeout")
        .allow("is hung: no request in hand")
        .allow("Reason: Worker failed to boot.")
        .allow("Shutting down: Master")
        .start();
    gate.expect(server.deadline());
    server.log().expect("is hung: no request in hand");
    server.log().expect("in hold");
    assert_eq!(server.exit().code(), Some(3));
}

#[test]
fn a_hook_that_ends_the_template_ends_a_server_that_was_never_ready() {
    let hook = "
import os
def pre_fork(server, worker):
    os._exit(9)
";
    let app = "def app(environ, start_response): pass\n";
    let ended = broken("m:app", app)
        .file("gunicorn.conf.py", hook)
        .allow("Template (pid")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(3), "{}", ended.text());
    let deaths = ended.text().matches("Template (pid").count();
    assert_eq!(deaths, 1, "{}", ended.text());
}

#[test]
fn threads_that_cannot_be_started_are_a_failure_to_boot() {
    // More than there can be.
    let module = "
import threading
threading.stack_size(1 << 62)
def app(environ, start_response): pass
";
    for arguments in [&["-w", "2"][..], &["-w", "2", "--no-preload"]] {
        let broken = broken("m:app", module).args(["--threads", "2"]);
        let ended = broken
            .allow("cannot start its threads")
            .allow("Reason: The system refused")
            .args(arguments)
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let hint = "hint: lower threads, or raise the limit of processes";
        assert!(ended.text().contains(hint), "{}", ended.text());
    }
}
