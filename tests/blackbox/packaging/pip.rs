//! What pip installs: the wheel, into fresh environments of every Python of this machine, and the
//! sdist.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::build::{build, run};
use crate::support::{Need, ROOT, Server, lacks, pythons};

/// A Python without the variables of the machine or the test runner.
fn python(path: &Path) -> Command {
    let mut command = Command::new(path);
    for name in ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

/// The files below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

const APP: &str = r#"
import sys
import flask, rcorn.function
app = flask.Flask(__name__)
@app.get("/")
def index():
    return "%s %d.%d %s" % (sys.prefix, *sys.version_info[:2], rcorn.function.__file__)
"#;

/// Installs the wheel for this Python, serves Flask with it, and uninstalls it.
fn installs_serves_and_leaves(base: &Path, version: (u32, u32), wheel: &Path) {
    let scratch = tempfile::TempDir::with_prefix("rcorn-pip-").unwrap();
    let home = scratch.path().join("venv");
    run(python(base).args(["-m", "venv"]).arg(&home));
    let own = home.join("bin/python3");
    let pip = |words: &[&OsStr]| {
        run(python(&own)
            .args(["-m", "pip", "--quiet"])
            .args(words)
            .current_dir(scratch.path()))
    };
    let flask = fs::read_to_string(format!("{ROOT}/tests/requirements.txt")).unwrap();
    let pinned = |line: &&str| line.starts_with("Flask==") || line.starts_with("Werkzeug==");
    let mut words: Vec<&OsStr> = vec!["install".as_ref(), "--no-compile".as_ref()];
    words.extend(flask.lines().filter(pinned).map(OsStr::new));
    pip(&words);
    let before = files(&home);
    pip(&["install".as_ref(), "--no-index".as_ref(), wheel.as_ref()]);
    // Neither $VIRTUAL_ENV nor PATH names the environment: the executable finds it by its own path.
    let server = Server::app("m:app")
        .file("m.py", APP)
        .env("VIRTUAL_ENV", "")
        .program([home.join("bin/rcorn")])
        .patience(Duration::from_mins(2))
        .start();
    // The first import compiles all of Flask.
    server.wait_serving(1);
    let said = server.get("/").text();
    server.stop();
    let begins = format!(
        "{} {}.{} {}/lib",
        home.display(),
        version.0,
        version.1,
        home.display()
    );
    assert!(said.starts_with(&begins), "{said}");
    assert!(home.join("share/man/man1/rcorn.1").exists());
    pip(&["uninstall".as_ref(), "--yes".as_ref(), "rcorn".as_ref()]);
    let after = files(&home);
    // The folders of the manual pages stay: pip never removes folders outside site-packages.
    let left: Vec<_> = after
        .difference(&before)
        .filter(|path| !path.is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        !after
            .iter()
            .any(|path| path.ends_with("site-packages/rcorn"))
    );
}

#[test]
fn the_wheel_serves_in_an_environment_of_every_python_and_goes_without_a_trace() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let wheel = build("wheel", out.path());
    let mut seen = BTreeSet::new();
    let usable: Vec<_> = pythons()
        .into_iter()
        .filter(|(path, version)| *version >= (3, 9) && seen.insert(path.canonicalize().unwrap()))
        // Debian has these in a package of their own.
        .filter(|(path, _)| {
            let asked = python(path).args(["-c", "import ensurepip, venv"]).output();
            asked.unwrap().status.success()
        })
        .collect();
    assert!(!usable.is_empty(), "no Python can make an environment");
    // One at a time: other tests run at the same time, and have deadlines.
    for (path, version) in &usable {
        installs_serves_and_leaves(path, *version, &wheel);
    }
}

/// The newest version of glibc that the executable or its module names.
fn newest_glibc(program: &[u8]) -> u32 {
    let needle = b"GLIBC_2.";
    let places = memchr::memmem::find_iter(program, needle);
    places
        .filter_map(|at| {
            let rest = program[at..].strip_prefix(needle)?;
            let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
            // A name ends with a zero byte; 2.2.5 is older than anything that Rust asks for.
            let name = std::str::from_utf8(&rest[..end]).unwrap();
            (rest[end] == 0).then(|| name.parse().ok()).flatten()
        })
        .max()
        .unwrap()
}

#[test]
fn the_wheels_name_says_what_it_needs() {
    let out = tempfile::TempDir::new().unwrap();
    let wheel = build("wheel", out.path());
    let name = wheel.file_name().unwrap().to_str().unwrap().to_owned();
    let program = fs::read(env!("CARGO_BIN_EXE_rcorn")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let glibc = newest_glibc(&program);
    let machine = std::env::consts::ARCH;
    assert_eq!(
        name,
        format!("rcorn-{version}-py3-none-manylinux_2_{glibc}_{machine}.whl")
    );
    // A second build gives the same bytes.
    let other = tempfile::TempDir::new().unwrap();
    assert!(fs::read(build("wheel", other.path())).unwrap() == fs::read(&wheel).unwrap());
}

#[test]
fn the_sdist_has_what_a_build_needs_and_pip_builds_a_wheel_from_it() {
    let out = tempfile::TempDir::new().unwrap();
    let sdist = build("sdist", out.path());
    run(Command::new("tar")
        .arg("-xf")
        .arg(&sdist)
        .arg("-C")
        .arg(out.path()));
    let unpacked = out
        .path()
        .join(format!("rcorn-{}", env!("CARGO_PKG_VERSION")));
    for folder in ["src", "packaging", "man"] {
        for file in files(&Path::new(ROOT).join(folder)) {
            let place = unpacked.join(file.strip_prefix(ROOT).unwrap());
            let made = file
                .components()
                .any(|part| part.as_os_str() == "__pycache__");
            assert!(
                made || place.exists(),
                "{} is not in the sdist",
                file.display()
            );
        }
    }
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "pyproject.toml",
        "PKG-INFO",
        "LICENSE",
    ] {
        assert!(unpacked.join(file).exists(), "{file} is not in the sdist");
    }
    // As pip does it, but without compiling.
    let wheel = run(python(Path::new("python3")).current_dir(&unpacked).args([
        "-c",
        "import sys; sys.path.insert(0, 'packaging'); from building import backend; print(backend.build_wheel('.', {'executable': sys.argv[1]}))",
        env!("CARGO_BIN_EXE_rcorn"),
    ]));
    let direct = build("wheel", out.path());
    assert!(fs::read(unpacked.join(wheel.trim())).unwrap() == fs::read(direct).unwrap());
}
