//! What is no Python, or none that rcorn can use: each is said in a line that names it and the way
//! out; and what is newer than this build serves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::{APPS, Once, Server, python, pythons};

/// A script instead of an interpreter.
fn script(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// The tests' Python, started by a script that ends with this. `$0` is the script.
fn wrapper(folder: &Path, start: &str) -> PathBuf {
    let python = python();
    let python = python.to_str().unwrap();
    script(
        &folder.join("python3"),
        &format!("#!/bin/sh\n{}\n", start.replace("INTERPRETER", python)),
    )
}

/// The tests' Python, which says of itself what these statements tell it.
fn disguised(folder: &Path, statements: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let text = format!("import sys\n{statements}\n");
    fs::write(folder.join("sitecustomize.py"), text).unwrap();
    let start = format!("PYTHONPATH='{}' exec INTERPRETER \"$@\"", folder.display());
    wrapper(folder, &start)
}

/// An environment whose Python is gone.
fn orphaned(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(folder.join("pyvenv.cfg"), "home = /nonexistent/bin\n").unwrap();
    symlink("/nonexistent/bin/python3.9", bin.join("python3.9")).unwrap();
    symlink("python3.9", bin.join("python3")).unwrap();
    bin.join("python3")
}

/// The name of a case, what makes its path in an empty folder, and what is said; `DIR` is the
/// folder.
type Case = (&'static str, fn(&Path) -> PathBuf, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "a path that there is not",
        |folder| folder.join("python3"),
        &[
            "cannot run DIR/python3 (the setting python): No such file or directory",
            "hint: give the path of a CPython 3.9 or later",
        ],
    ),
    (
        "a link that leads nowhere",
        |folder| {
            symlink("/nonexistent/python3", folder.join("python3")).unwrap();
            folder.join("python3")
        },
        &["it leads to /nonexistent/python3, which is not there; hint: give the path"],
    ),
    (
        "an environment whose Python is gone",
        orphaned,
        &[
            "it leads to /nonexistent/bin/python3.9, which is not there",
            "hint: make the virtual environment again, with its packages: python3 -m venv --clear DIR",
        ],
    ),
    (
        "a directory",
        Path::to_owned,
        &["it is a directory; hint: give the path of a CPython 3.9 or later"],
    ),
    (
        "an environment instead of its Python",
        |folder| {
            wrapper(&folder.join("bin"), "exec INTERPRETER \"$@\"");
            folder.to_owned()
        },
        &["it is a directory; hint: give --python DIR/bin/python3"],
    ),
    (
        "a file that may not be executed",
        |folder| {
            fs::write(folder.join("python3"), "").unwrap();
            folder.join("python3")
        },
        &["Permission denied; hint: let this user execute it: chmod +x DIR/python3"],
    ),
    (
        "a script whose interpreter is gone",
        |folder| script(&folder.join("python3"), "#!/nonexistent/sh\n"),
        &[
            "cannot start DIR/python3: the interpreter that its first line names, or its loader, is not there",
            "choose another with --python",
        ],
    ),
    (
        "a file that is no program",
        |folder| script(&folder.join("python3"), "\u{7f}ELF"),
        &[
            "DIR/python3 ended before rcorn was loaded: it is no CPython, or it is broken",
            "hint: see what this says: DIR/python3 -c 'import encodings'",
        ],
    ),
    (
        "another program",
        |folder| wrapper(folder, "exit 0"),
        &["DIR/python3 ended before rcorn was loaded: it is no CPython"],
    ),
    (
        "one that dies of a signal",
        |folder| wrapper(folder, "kill -SEGV $$"),
        &["DIR/python3 ended before rcorn was loaded: it is no CPython, or it is broken"],
    ),
    (
        "one without its library",
        |folder| wrapper(folder, "PYTHONHOME=/nonexistent exec INTERPRETER \"$@\""),
        &[
            "encodings",
            "DIR/python3 ended before rcorn was loaded: it is no CPython, or it is broken",
        ],
    ),
    (
        "one without ctypes and importlib",
        |folder| disguised(folder, "sys.modules['importlib.util'] = None"),
        &[
            "cannot load rcorn's module",
            "hint: rcorn needs a complete CPython",
        ],
    ),
    (
        "PyPy",
        |folder| {
            let change =
                "sys.implementation.name = 'pypy'; sys.version_info = (3, 11, 13, 'final', 0)";
            disguised(folder, change)
        },
        &[
            "is pypy, for Python 3.11; hint: rcorn needs CPython 3.9 or later; choose another with --python",
        ],
    ),
    (
        "GraalPy",
        |folder| disguised(folder, "sys.implementation.name = 'graalpy'"),
        &[
            "is graalpy, for Python 3",
            "rcorn needs CPython 3.9 or later",
        ],
    ),
    (
        "one that is too old",
        |folder| disguised(folder, "sys.version_info = (3, 8, 20, 'final', 0)"),
        &["is Python 3.8; hint: rcorn needs CPython 3.9 or later; choose another with --python"],
    ),
    (
        "one whose stable ABI is another",
        |folder| disguised(folder, "sys.version_info = (4, 0, 0, 'final', 0)"),
        &["is Python 4.0; hint: rcorn needs CPython 3;"],
    ),
    (
        "one of 32 bits",
        |folder| disguised(folder, "sys.maxsize = 2**31 - 1"),
        &["is a 32-bit build; hint: rcorn needs one of 64 bits"],
    ),
    (
        "one without the GIL that is too old",
        |folder| {
            let change = "sys.abiflags = 't'; sys.version_info = (3, 13, 1, 'final', 0)";
            disguised(folder, change)
        },
        &[
            "is a free-threaded build of Python 3.13; hint: without the GIL rcorn needs 3.14 or later; with it, python3.13 will do; choose another with --python",
        ],
    ),
];

#[test]
fn what_cannot_be_used_is_said_with_the_way_out() {
    for (name, make, said) in CASES {
        let folder = tempfile::TempDir::new().unwrap();
        let place = folder.path().to_str().unwrap();
        let path = make(folder.path());
        let path = path.to_str().unwrap();
        let ended = Server::app("cases:app")
            .python(path)
            .allow("")
            .start()
            .exit();
        let words = [
            "--check-config",
            "--chdir",
            APPS,
            "--python",
            path,
            "cases:app",
        ];
        let checked = Once::rcorn(words).run();
        assert!(
            matches!(ended.code(), Some(1 | 3)),
            "{name}: {:?}: {}",
            ended.code(),
            ended.text()
        );
        assert_eq!(checked.status.code(), Some(1), "{name}: {checked:?}");
        for text in [ended.text(), &checked.errors] {
            for said in *said {
                let said = said.replace("DIR", place);
                assert!(text.contains(&said), "{name}: no {said:?} in {text}");
            }
        }
    }
}

#[test]
fn a_real_python_that_is_too_old_is_said() {
    for (python, (major, minor)) in pythons() {
        if (major, minor) >= (3, 9) {
            continue;
        }
        let ended = Server::app("cases:app")
            .python(&python)
            .allow("")
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let said = format!("is Python {major}.{minor}; hint: rcorn needs CPython 3.9 or later");
        assert!(ended.text().contains(&said), "{said}: {}", ended.text());
    }
}

#[test]
fn a_damaged_executable_is_named_and_not_the_python() {
    let folder = tempfile::TempDir::new().unwrap();
    let damaged = folder.path().join("rcorn");
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_rcorn")).unwrap();
    let mark = b"rcorn module, RFC 1950:\n";
    let module = memchr::memmem::find(&bytes, mark).unwrap();
    // A single bit may stand for the same bytes elsewhere, and change nothing.
    for byte in &mut bytes[module + 100_000..][..64] {
        *byte = !*byte;
    }
    fs::write(&damaged, bytes).unwrap();
    fs::set_permissions(&damaged, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = Server::app("cases:app")
        .program([&damaged])
        .allow("")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let said = "the module for Python in this executable is damaged; hint: install rcorn again";
    assert!(ended.text().contains(said), "{}", ended.text());
}

#[test]
fn a_wrong_pythonhome_is_named() {
    let ended = Server::app("cases:app")
        .env("PYTHONHOME", "/nonexistent")
        .allow("")
        .start()
        .exit();
    let said = "ended before rcorn was loaded: it is no CPython, or it is broken; hint: PYTHONHOME is /nonexistent";
    assert!(ended.text().contains(said), "{}", ended.text());
}

#[test]
fn an_active_environment_whose_python_is_gone_is_not_passed_over_in_silence() {
    let folder = tempfile::TempDir::new().unwrap();
    orphaned(folder.path());
    let server = Server::app("cases:app")
        .env("VIRTUAL_ENV", folder.path())
        .allow("There is no ")
        .start();
    if std::env::var_os("RCORN_TEST_PYTHON").is_none() {
        server
            .log()
            .expect("/bin/python3 (it leads to /nonexistent/bin/python3.9, which is not there)");
    }
    server.wait_serving(1);
    server.stop();
}

#[test]
fn a_script_that_starts_a_python_serves_whether_it_waits_or_not() {
    for start in ["exec INTERPRETER \"$@\"", "INTERPRETER \"$@\""] {
        let folder = tempfile::TempDir::new().unwrap();
        let server = Server::app("cases:app")
            .python(wrapper(folder.path(), start))
            .args(["-w", "2"])
            .start();
        server.wait_serving(2);
        assert_eq!(server.get("/hello").text(), "OK\n", "{start}");
        server.stop();
    }
}

#[test]
fn a_python_that_is_newer_than_this_build_serves_with_a_warning() {
    let folder = tempfile::TempDir::new().unwrap();
    let new = disguised(folder.path(), "sys.version_info = (3, 16, 0, 'final', 0)");
    let warning = "Python 3.16 is newer than this rcorn, which was tried with up to 3.15";
    let server = Server::app("cases:app").python(new).allow(warning).start();
    server.wait_serving(1);
    server.log().expect(warning);
    assert_eq!(server.get("/hello").text(), "OK\n");
    server.stop();
    // Those that it was tried with are served without one: `every_supported_python_serves`.
}
