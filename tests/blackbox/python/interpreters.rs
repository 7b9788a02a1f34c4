//! One build of rcorn for every CPython from 3.9 on, shared and static, in and out of virtual
//! environments; and a clear message for those it cannot use.

use std::path::Path;

use crate::support::{Need, ROOT, Server, lacks, pythons, venv};

fn smoke(python: &Path, app: &str) {
    let server = Server::app(app).python(python).args(["-w", "2"]).start();
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
    wire.send("POST /read_mixed HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nfirst\nsecond\nthird\nx\n");
    assert_eq!(wire.read_reply().status, 200, "{}", python.display());
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.log().expect_count("Worker exiting", 2);
    assert_eq!(server.get("/hello").text(), "OK\n", "{}", python.display());
    server.stop();
}

#[test]
fn every_supported_python_serves() {
    let found = pythons();
    let usable: Vec<_> = found
        .iter()
        .filter(|(_, version)| *version >= (3, 9))
        .collect();
    assert!(
        !usable.is_empty(),
        "no CPython of 3.9 or later on this machine"
    );
    for (python, _) in usable {
        smoke(python, "cases:app");
    }
}

#[test]
fn a_python_that_is_too_old_is_said() {
    // A stand-in is on every machine; real old ones differ in other ways, and are tried where they
    // are installed.
    let stand_in = Path::new(ROOT).join("tests/support/python38/python3");
    let mut old = pythons();
    old.retain(|(_, version)| *version < (3, 9));
    old.push((stand_in, (3, 8)));
    for (python, version) in &old {
        let ended = Server::app("cases:app")
            .python(python)
            .allow("Template (pid:")
            .allow("Shutting down: Master")
            .allow("Reason: ")
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{version:?}: {}", ended.text());
        let said = format!("is Python {}.{}", version.0, version.1);
        assert!(ended.text().contains(&said), "{said}: {}", ended.text());
        assert!(
            ended
                .text()
                .contains("hint: rcorn needs CPython 3.9 or later"),
            "{}",
            ended.text()
        );
    }
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
