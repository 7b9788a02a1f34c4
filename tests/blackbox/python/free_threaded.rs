//! CPython without the GIL: which module is loaded, and that the GIL stays off unless the app turns
//! it on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::interpreters::{reports_nothing, smoke};
use crate::support::{Once, Server, free_threaded_pythons};

/// Says whether there is a GIL, and which thread runs.
const ASKS: &str = "
import sys, threading
def app(environ, start_response):
    start_response('200 OK', [])
    return [f'GIL {sys._is_gil_enabled()}'.encode()]
";

#[test]
fn every_supported_python_without_the_gil_serves() {
    for (python, _) in &free_threaded_pythons("every_supported_python_without_the_gil_serves") {
        smoke(python, &[]);
        reports_nothing(python);
    }
}

#[test]
fn the_gil_stays_off() {
    for (python, (_, minor)) in &free_threaded_pythons("the_gil_stays_off") {
        for threads in ["1", "4"] {
            let server = Server::app("m:app").file("m.py", ASKS).python(python);
            let server = server.args(["--threads", threads]).start();
            assert_eq!(server.get("/").text(), "GIL False", "3.{minor}");
            server.stop();
        }
        let told = [
            "--version",
            "--verbose",
            "--python",
            python.to_str().unwrap(),
        ];
        let told = Once::rcorn(told).run().done();
        let abi = if *minor == 14 {
            "cp314t"
        } else {
            "abi3t-py315"
        };
        assert!(told.contains(", free-threaded in "), "{told}");
        assert!(told.contains(&format!("; it loads {abi}\n")), "{told}");
    }
}

#[test]
fn an_interpreter_whose_name_tells_nothing_is_asked() {
    for (python, _) in &free_threaded_pythons("an_interpreter_whose_name_tells_nothing_is_asked") {
        let folder = tempfile::TempDir::new().unwrap();
        let script = folder.path().join("python3");
        let text = format!("#!/bin/sh\nexec {} \"$@\"\n", python.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        smoke(&script, &[]);
    }
}

#[test]
fn a_module_that_turns_the_gil_on_is_named() {
    // CPython's own tests have one that says nothing of it.
    let module = "
import glob, importlib.machinery, importlib.util, sys
name = '_testmultiphase_null_slots'
[file] = [file for folder in sys.path for file in glob.glob(folder + '/_testmultiphase.*')]
loader = importlib.machinery.ExtensionFileLoader(name, file)
importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
";
    for (python, _) in &free_threaded_pythons("a_module_that_turns_the_gil_on_is_named") {
        let has_it = Once::new(python, ["-c", "import _testmultiphase"]).run();
        if !has_it.status.success() {
            continue;
        }
        let said = "_testmultiphase_null_slots has turned the GIL on again";
        let server = Server::app("m:app").file("m.py", format!("{module}{ASKS}"));
        let server = server.python(python).allow("GIL").start();
        server.log().expect(said);
        assert_eq!(server.get("/").text(), "GIL True");
        server.stop();
    }
}

#[test]
fn a_gil_that_is_turned_on_is_said_even_if_python_does_not_say_by_whom() {
    // As it looks to rcorn, in any Python.
    let module = "
import sys
sys._is_gil_enabled = lambda: True
def app(environ, start_response):
    start_response('200 OK', [])
    return []
";
    let said = "a module of the app has turned the GIL on again, so threads of a worker run Python one at a time";
    let server = Server::app("m:app")
        .file("m.py", module)
        .file(
            "sitecustomize.py",
            "import sys; sys._is_gil_enabled = lambda: False",
        )
        .env("PYTHONPATH", ".")
        .allow("GIL")
        .start();
    server.log().expect(said);
    server.stop();
}
