//! One build of rcorn for every CPython from 3.9 to 3.15, shared and static, in and out of virtual
//! environments.

use std::path::Path;

use crate::support::{Need, Server, lacks, supported_pythons, venv};

/// Serves, reloads and stops; returns the log.
pub(super) fn smoke(python: &Path, environment: &[(&str, &str)]) -> String {
    let server = Server::app("cases:app").python(python).args(["-w", "2"]);
    let given = environment.iter();
    let server = given.fold(server, |server, (name, value)| server.env(*name, *value));
    let server = server.start();
    let mut wire = server.connect();
    for target in [
        "/hello",
        "/write",
        "/generator",
        "/file_offset",
        "/lazy_start",
        "/exc_info_before",
        "/types",
    ] {
        let reply = wire.get(target);
        assert!(
            reply.status == 200 || target.starts_with("/exc"),
            "{}: {target}: {}",
            python.display(),
            reply.text()
        );
    }
    wire.send(
        "POST /read_mixed HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nfirst\nsecond\nthird\nx",
    );
    assert_eq!(wire.read_reply().status, 200, "{}", python.display());
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.log().expect_count("Worker exiting", 2);
    assert_eq!(server.get("/hello").text(), "OK\n", "{}", python.display());
    server.stop().text().to_owned()
}

#[test]
fn every_supported_python_serves() {
    let found = supported_pythons("every_supported_python_serves");
    assert!(
        !found.is_empty(),
        "no CPython of 3.9 to 3.15 on this machine"
    );
    for (python, _) in &found {
        smoke(python, &[]);
    }
}

/// `-W error`, `-X dev` and a memory allocator that checks; from 3.13 on also the specialising JIT,
/// where it was built.
const STRICT: &[(&str, &str)] = &[
    ("PYTHONWARNINGS", "error"),
    ("PYTHONDEVMODE", "1"),
    ("PYTHONMALLOC", "debug"),
    ("PYTHON_JIT", "1"),
];

#[test]
fn a_strict_python_has_nothing_to_report() {
    for (python, _) in &supported_pythons("a_strict_python_has_nothing_to_report") {
        reports_nothing(python);
    }
}

pub(super) fn reports_nothing(python: &Path) {
    let text = smoke(python, STRICT);
    let foreign: Vec<&str> = text
        .lines()
        .filter(|line| !(line.starts_with("[20") && line.contains(" [INFO] ")))
        .collect();
    assert!(foreign.is_empty(), "{}: {foreign:#?}", python.display());
}

#[test]
fn a_virtual_environment_is_used_with_its_packages() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let module = "
import sys, bottle
def app(environ, start_response):
    start_response('200 OK', [])
    return [f'{sys.prefix} {sys.executable} {bottle.__version__}'.encode()]
";
    let python = venv::python();
    let home = python.parent().unwrap().parent().unwrap().to_owned();
    let check = |server: Server| {
        let said = server.get("/").text();
        assert!(said.starts_with(&format!("{} ", home.display())), "{said}");
        server.stop();
    };
    check(
        Server::app("m:app")
            .file("m.py", module)
            .python(&python)
            .start(),
    );
    check(
        Server::app("m:app")
            .file("m.py", module)
            .env("VIRTUAL_ENV", &home)
            .start(),
    );
}
