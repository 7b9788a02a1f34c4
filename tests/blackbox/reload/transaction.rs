//! A reload as a transaction, seen through `rcorn ctl reload --wait`.

use nix::sys::signal::Signal;

use crate::support::{APPS, Gate, OLD, Server, wait_until};

#[test]
fn a_reload_that_is_waited_for_tells_how_it_ended() {
    let server = Server::app("m:app")
        .args(["-w", "2", "--reload-watch", "0.2"])
        .file("m.py", OLD)
        .allow("Exception in worker process")
        .allow("broken on purpose")
        .allow("Reload failed")
        .start();
    server.wait_serving(2);
    server.write("m.py", &OLD.replace("old", "new"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.done().contains("generation 2 serves"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    server.write("m.py", "raise RuntimeError('broken on purpose')\n");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.refused().contains("broken on purpose"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    assert!(
        server.status()["last_reload"]
            .as_str()
            .unwrap()
            .contains("generation 2 keeps serving")
    );
    server.stop();
}

#[test]
fn a_probe_must_be_answered_before_anybody_is_replaced() {
    let app = "
import os
def app(environ, start_response):
    status = '500 No' if environ['PATH_INFO'] == '/ready' and os.path.exists('bad') else '200 OK'
    start_response(status, [])
    return [environ['PATH_INFO'].encode()]
";
    let server = Server::app("m:app")
        .args(["--reload-watch", "0.2", "--reload-probe", "/ready"])
        .file("m.py", app)
        .allow("Reload failed")
        .start();
    server.wait_serving(1);
    let before = server.wait_workers(1);
    server.write("bad", "");
    let told = server.ctl(&["reload", "--wait"]);
    assert!(
        told.refused()
            .contains("reload_probe /ready was answered with 500"),
        "{told:?}"
    );
    assert_eq!(server.wait_workers(1), before);
    std::fs::remove_file(server.directory().join("bad")).unwrap();
    server.ctl(&["reload", "--wait"]).done();
    server.log().expect("Probe /ready was answered with 200");
    assert_ne!(server.wait_workers(1), before);
    server.stop();
}

/// What an exception says can be longer than a report.
#[test]
fn a_reload_says_why_it_failed_however_long_the_reason_is() {
    for preload in ["--no-preload", "--preload", "--reload-watch=1"] {
        let server = Server::app("m:app")
            .args([preload])
            .file("m.py", OLD)
            .allow("Exception in worker process")
            .allow("RuntimeError: so ")
            .allow("Reload failed")
            .start();
        server.wait_serving(1);
        for text in [
            "'so x' + 'x' * 100000",
            "'so x' + '\\u00e9' * 9000",
            "'so x' + '\\1' * 9000",
        ] {
            server.write("m.py", &format!("raise RuntimeError({text})\n"));
            let told = server.ctl(&["reload", "--wait"]);
            assert!(told.refused().contains("RuntimeError: so x"), "{told:?}");
        }
        assert_eq!(server.log().count("cannot read a report"), 0);
        assert_eq!(server.get("/").text(), "old");
        server.stop();
    }
}

#[test]
fn a_new_reload_replaces_one_whose_import_hangs() {
    let gate = Gate::new();
    let server = Server::app("m:app")
        .args(["--reload-watch", "0.2"])
        .env("PYTHONPATH", APPS)
        .file("m.py", OLD)
        .gate(&gate)
        .start();
    server.wait_serving(1);
    server.write(
        "m.py",
        "
import gate
gate.hold()
",
    );
    server.signal(Signal::SIGHUP);
    gate.expect(server.deadline());
    assert_eq!(server.get("/").text(), "old");
    server.write("m.py", &OLD.replace("old", "new"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.done().contains("serves"), "{told:?}");
    assert_eq!(server.get("/").text(), "new");
    server
        .log()
        .expect("replaces the one that was not ready yet");
    server.stop();
}

#[test]
fn an_app_that_dies_after_its_boot_is_taken_back() {
    let server = Server::app("m:app")
        .args(["-w", "2"])
        .file("m.py", OLD)
        .allow("exited with code 7")
        .allow("Reload rolled back")
        .allow("end too soon")
        .start();
    server.wait_serving(2);
    let dies = "
import os, threading
threading.Timer(0.5, os._exit, [7]).start()
";
    server.write("m.py", &format!("{dies}{OLD}"));
    let told = server.ctl(&["reload", "--wait"]);
    assert!(told.refused().contains("rolled back"), "{told:?}");
    assert_eq!(server.get("/").text(), "old");
    wait_until(server.deadline(), "the old template's workers", || {
        server.workers().len() == 2 && server.serving_ids().len() == 2
    });
    server.stop();
}
