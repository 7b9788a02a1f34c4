//! The wheel for all machines, which zig links: what it is and what it needs, that it serves where
//! pip installs it without a compiler, and in the oldest Debian.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::build::run;
use crate::support::{Need, ROOT, Server, lacks, program, supported_pythons};

/// The largest size of the wheel, in bytes.
const LARGEST_WHEEL: u64 = 6_000_000;

/// The largest size of the executable with all modules, without symbols, in bytes.
const LARGEST_EXECUTABLE: u64 = 6_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("portable")
}

fn wheel() -> PathBuf {
    let mut entries = fs::read_dir(folder()).unwrap().flatten();
    let wheel = entries.find(|entry| entry.path().extension().is_some_and(|of| of == "whl"));
    wheel.unwrap().path()
}

/// The executable, unpacked. That of fronts lies beside it, as pip installs them.
pub(crate) fn executable(out: &Path) -> PathBuf {
    let unpack = "
import pathlib, sys, zipfile
zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])
for program in pathlib.Path(sys.argv[2]).glob('*.data/scripts/*'):
    program.chmod(0o755)
";
    run(Command::new("python3")
        .args(["-c", unpack])
        .arg(wheel())
        .arg(out));
    let data = format!("rcorn-{}.data", env!("CARGO_PKG_VERSION"));
    out.join(data).join("scripts/rcorn")
}

#[test]
fn it_is_for_every_glibc_from_2_17_on() {
    if lacks(&[Need::PortableWheel]) {
        return;
    }
    let machine = std::env::consts::ARCH;
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("rcorn-{version}-py3-none-manylinux_2_17_{machine}.whl");
    assert_eq!(wheel().file_name().unwrap().to_str().unwrap(), name);
    let said = fs::read_to_string(folder().join("auditwheel.txt")).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let tag = format!("consistent with the following platform tag: \"manylinux_2_17_{machine}\"");
    assert!(said.contains(&tag), "{said}");
    let size = wheel().metadata().unwrap().len();
    assert!(size < LARGEST_WHEEL, "{size}");
}

#[test]
fn the_stripped_executable_is_small() {
    if lacks(&[Need::PortableWheel, program("strip")]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let stripped = out.path().join("stripped");
    run(Command::new("strip")
        .args(["--strip-all", "-o"])
        .arg(&stripped)
        .arg(executable(out.path())));
    let size = stripped.metadata().unwrap().len();
    assert!(size < LARGEST_EXECUTABLE, "{size}");
}

/// auditwheel looks at the executable only: the modules are in it as bytes.
#[test]
fn executable_and_modules_need_nothing_but_the_c_library() {
    if lacks(&[Need::PortableWheel]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let program = executable(out.path());
    let script = "
import sys
sys.path.insert(0, sys.argv[1])
from building import elf
for program in sys.argv[2:]:
    data = open(program, 'rb').read()
    print(len(elf.images(data)), *elf.glibc(data))
    for image in elf.images(data):
        print(*sorted(image.libraries()))
";
    let said = run(Command::new("python3")
        .args(["-c", script])
        .arg(format!("{ROOT}/packaging"))
        .arg(&program)
        .arg(program.with_file_name("rcorn-front")));
    let mut lines: Vec<&str> = said.lines().collect();
    // The executable with three modules, and that of fronts.
    let front = lines.remove(5);
    assert_eq!((lines.remove(0), front), ("4 2 17", "1 2 17"), "{said}");
    let known = BTreeSet::from([
        "ld-linux-aarch64.so.1",
        "ld-linux-x86-64.so.2",
        "libc.so.6",
        "libdl.so.2",
        "libgcc_s.so.1",
        "libm.so.6",
        "libpthread.so.0",
        "librt.so.1",
    ]);
    for line in lines {
        let needed: BTreeSet<&str> = line.split_whitespace().collect();
        assert!(needed.is_subset(&known), "{said}");
    }
}

const APP: &str = "
import sys
def app(environ, start_response):
    start_response('200 OK', [])
    return [sys.prefix.encode()]
";

#[test]
fn pip_installs_it_without_a_compiler_and_it_serves() {
    if lacks(&[Need::PortableWheel]) {
        return;
    }
    for (python, version) in supported_pythons("pip_installs_it_without_a_compiler_and_it_serves") {
        let made = tempfile::TempDir::new().unwrap();
        let home = made.path().join("venv");
        let venv = Command::new(&python)
            .args(["-m", "venv"])
            .arg(&home)
            .output()
            .unwrap();
        if !venv.status.success() {
            // Debian has ensurepip in a package of its own.
            continue;
        }
        run(Command::new(home.join("bin/python3"))
            .args(["-m", "pip", "install", "--quiet", "--no-index"])
            .arg("--disable-pip-version-check")
            .arg(wheel())
            .env("PATH", "/nonexistent"));
        for words in [
            vec![home.join("bin/rcorn")],
            vec![home.join("bin/python3"), "-m".into(), "rcorn".into()],
        ] {
            let server = Server::app("m:app")
                .file("m.py", APP)
                .program(words)
                .start();
            let said = server.get("/").text();
            assert_eq!(said, home.to_str().unwrap(), "{version:?}");
            server.stop();
        }
    }
}
