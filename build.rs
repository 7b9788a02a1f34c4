//! Builds the native modules (the workspace member `rcorn-native`, an extension module, for each
//! ABI) and tells the executable where they are, to be embedded. The executable itself has no pyo3
//! in its dependencies, and no Python is needed to build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use zlib_rs::{DeflateConfig, ReturnCode, compress_bound, compress_slice};

#[path = "src/driver/changes.rs"]
mod changes;

/// A native module: those interpreters that have its ABI can import it.
struct Module {
    /// The variable by which the executable finds it, after `RCORN_MODULE_`.
    name: &'static str,
    /// Names one that was built before, for packagers who build the parts themselves.
    prebuilt: &'static str,
    /// The feature of `rcorn-native`.
    feature: Option<&'static str>,
    /// What PyO3 would otherwise ask an interpreter for (`PYO3_CONFIG_FILE`); without it the stable
    /// ABI with the GIL.
    interpreter: Option<&'static str>,
}

const MODULES: [Module; 3] = [
    Module {
        name: "ABI3",
        prebuilt: "RCORN_NATIVE",
        feature: None,
        interpreter: None,
    },
    Module {
        name: "CP314T",
        prebuilt: "RCORN_NATIVE_CP314T",
        feature: Some("cp314t"),
        interpreter: Some("version=3.14\ntarget_abi=CPython-free_threaded-3.14\nshared=false\n"),
    },
    Module {
        name: "ABI3T",
        prebuilt: "RCORN_NATIVE_ABI3T",
        feature: Some("abi3t"),
        interpreter: Some("version=3.15\ntarget_abi=CPython-abi3t-3.15\nshared=false\n"),
    },
];

/// What stands before a compressed module, with the number of its bytes after it: so tools find it
/// in the executable (`packaging/building/elf.py`).
const WHOLE: &[u8; 24] = b"rcorn module, RFC 1950:\n";

/// What stands before the compressed executable of fronts, in the same way.
const FRONT_PROGRAM: &[u8; 24] = b"rcorn front, RFC 1950: \n";

/// Names an executable of fronts that was built before. An empty name embeds none: then it must lie
/// beside this one.
const FRONT: &str = "RCORN_FRONT";

/// What stands before the changes that make another module of it (`src/driver/changes.rs`), in the
/// same way.
const CHANGES: &[u8; 24] = b"rcorn change, RFC 1950:\n";

/// What is said instead of building for musl: a Python of glibc could not load the module.
const NO_MUSL: &str = "musl (Alpine Linux) is not supported: rcorn's module is loaded into a Python that uses glibc; \
                       hint: build with --target x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu, and run it \
                       where Python uses glibc, such as Debian or the image python:3-slim";

/// 1 or 0: whether the modules for interpreters without the GIL are built. Otherwise they are in
/// release builds: each takes as long as the usual module.
const FREE_THREADED: &str = "RCORN_FREE_THREADED";

fn main() {
    for path in ["src", "Cargo.toml", "Cargo.lock", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed={FREE_THREADED}");
    println!("cargo::rerun-if-env-changed={FRONT}");
    for module in MODULES {
        println!("cargo::rerun-if-env-changed={}", module.prebuilt);
    }
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "musl") {
        println!("cargo::error={NO_MUSL}");
        return;
    }
    let [usual, others @ ..] = &MODULES;
    let base = built(usual);
    embed(usual, &image(WHOLE, &base));
    for module in others {
        let built = built(module);
        if built.is_empty() {
            embed(module, &[]);
        } else {
            embed(module, &image(CHANGES, &changes(&base, &built)));
        }
    }
    embed_front();
    tell_build();
}

/// Tells the executable where the file is that it is to contain.
fn embed(module: &Module, image: &[u8]) {
    let file = variable("OUT_DIR").join(module.name);
    let written = std::fs::write(&file, image);
    assert!(written.is_ok(), "{}: {written:?}", file.display());
    println!(
        "cargo::rustc-env=RCORN_MODULE_{}={}",
        module.name,
        file.display()
    );
}

/// The same for the executable of fronts; empty if this build is to have none.
fn embed_front() {
    let built = match env::var_os(FRONT) {
        Some(none) if none.is_empty() => None,
        Some(prebuilt) => Some(PathBuf::from(prebuilt)),
        None => Some(build_front()),
    };
    let image = built.map_or_else(Vec::new, |built| image(FRONT_PROGRAM, &read(&built)));
    let file = variable("OUT_DIR").join("FRONT");
    let written = std::fs::write(&file, image);
    assert!(written.is_ok(), "{}: {written:?}", file.display());
    println!("cargo::rustc-env=RCORN_FRONT_IMAGE={}", file.display());
}

/// The module; empty if this build is to have none.
fn built(module: &Module) -> Vec<u8> {
    let built = match env::var_os(module.prebuilt) {
        Some(prebuilt) => Some(PathBuf::from(prebuilt)),
        None => is_wanted(module).then(|| build_module(module)),
    };
    built.map_or_else(Vec::new, |built| read(&built))
}

/// What differs between modules: it takes less than a third of the room.
fn changes(base: &[u8], module: &[u8]) -> Vec<u8> {
    let mut steps = Vec::new();
    let done = bsdiff::diff(base, module, &mut steps);
    assert!(done.is_ok(), "{done:?}");
    let sorted = changes::sorted(&steps);
    assert!(sorted.is_some(), "bsdiff has written something else");
    sorted.unwrap_or_default()
}

/// The form that `src/driver/packed.rs` reads.
fn image(mark: &[u8], content: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; compress_bound(content.len())];
    let config = if is_release() {
        DeflateConfig::best_compression()
    } else {
        DeflateConfig::best_speed()
    };
    let (packed, code) = compress_slice(&mut packed, content, config);
    assert!(code == ReturnCode::Ok, "{code:?}");
    let length = u64::try_from(packed.len()).unwrap_or_default();
    [mark, &length.to_le_bytes(), packed].concat()
}

fn is_wanted(module: &Module) -> bool {
    if module.feature.is_none() {
        return true;
    }
    match env::var(FREE_THREADED).as_deref() {
        Ok("1") => true,
        Ok("0") => false,
        _ => is_release() && env::var_os("RCORN_NATIVE").is_none(),
    }
}

fn is_release() -> bool {
    env::var("PROFILE").is_ok_and(|profile| profile == "release")
}

/// Whether this is the profile "dist": cargo tells build scripts only which of its own it is like.
fn is_dist() -> bool {
    // …/dist/build/rcorn-HASH/out
    let out = variable("OUT_DIR");
    let profile = out.ancestors().nth(3).and_then(Path::file_name);
    profile.is_some_and(|profile| profile == "dist")
}

fn read(file: &Path) -> Vec<u8> {
    let read = std::fs::read(file);
    assert!(read.is_ok(), "{}: {read:?}", file.display());
    read.unwrap_or_default()
}

/// What `rcorn --version --verbose` says of the build.
fn tell_build() {
    let word = |name: &str| env::var(name).unwrap_or_default();
    let compiler = Command::new(variable("RUSTC")).arg("--version").output();
    let compiler = compiler.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let root = variable("CARGO_MANIFEST_DIR");
    let mut digest = Digest::default();
    for path in [
        "src",
        "packaging/python",
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
    ] {
        digest.add_all(&root, &root.join(path));
    }
    for (name, value) in [
        ("TARGET", word("TARGET")),
        ("PROFILE", word("PROFILE")),
        ("RUSTC", compiler.unwrap_or_default()),
        ("SOURCES", format!("{:016x}", digest.0)),
    ] {
        println!("cargo::rustc-env=RCORN_BUILD_{name}={value}");
    }
}

/// FNV-1a, of 64 bits: it tells builds apart, and protects nothing.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds a file, or all files below a folder, by their names below the root.
    fn add_all(&mut self, root: &Path, path: &Path) {
        if let Ok(entries) = path.read_dir() {
            let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            inside.sort();
            for path in inside {
                self.add_all(root, &path);
            }
        } else if path.extension().is_none_or(|of| of != "pyc") {
            let name = path.strip_prefix(root).unwrap_or(path);
            self.add(name.as_os_str().as_encoded_bytes());
            self.add(&std::fs::read(path).unwrap_or_default());
        }
    }
}

fn variable(name: &str) -> PathBuf {
    // Cargo sets all that are asked for here; an empty path fails where it is used, with its name.
    env::var_os(name).map_or_else(PathBuf::new, PathBuf::from)
}

/// A build of a member of the workspace, in a folder of its own: the outer cargo holds the lock of
/// its.
fn nested_build(package: &str, folder: &Path, release: bool) -> Command {
    let target = env::var("TARGET").unwrap_or_default();
    let mut command = Command::new(variable("CARGO"));
    command
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .args(["build", "--package", package])
        .args(["--manifest-path", "Cargo.toml"])
        .args(["--target", &target, "--target-dir"])
        .arg(folder);
    if release {
        command.arg("--release");
    }
    forget_outer_build(&mut command);
    // But for this: a reproducible build has no path of its machine.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let remapped = flags
        .split('\u{1f}')
        .filter(|flag| flag.starts_with("--remap-path-prefix="));
    let remapped: Vec<&str> = remapped.collect();
    if !remapped.is_empty() {
        command.env("CARGO_ENCODED_RUSTFLAGS", remapped.join("\u{1f}"));
    }
    command
}

/// Where a nested build has put what it has made.
fn made_in(folder: &Path, release: bool) -> PathBuf {
    let target = env::var("TARGET").unwrap_or_default();
    let profile = if release { "release" } else { "debug" };
    folder.join(target).join(profile)
}

fn build_module(module: &Module) -> PathBuf {
    let folder = variable("OUT_DIR").join("native");
    let release = is_release();
    let mut command = nested_build("rcorn-native", &folder, release);
    command
        // The hot path is in the module; the executable's own profile is for a small arbiter.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        // The crates of a request's way are optimised as one: 3 % fewer instructions than with
        // "thin".
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        // An extension module: libpython is whatever interpreter loads it.
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        // It is embedded: line tables would double the executable. In a package names of functions
        // are too much, too; elsewhere `tests/bench/instructions.py` shows them.
        .env(
            "CARGO_PROFILE_RELEASE_STRIP",
            if is_dist() { "symbols" } else { "debuginfo" },
        )
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
    if let Some(feature) = module.feature {
        command.args(["--features", feature]);
    }
    match module.interpreter {
        None => command.env("PYO3_NO_PYTHON", "1"),
        Some(text) => {
            let file = variable("OUT_DIR").join(format!("{}.txt", module.name));
            let written = std::fs::write(&file, text);
            assert!(written.is_ok(), "{}: {written:?}", file.display());
            command.env("PYO3_CONFIG_FILE", file)
        }
    };
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the native module could not be built ({status:?}); its errors stand above"
    );
    module_in(&made_in(&folder, release))
}

/// Builds the executable of fronts: optimised in debug builds, too, whose tests wait for handshakes
/// otherwise. Its crates are compiled once, and only what has changed is compiled again.
fn build_front() -> PathBuf {
    let folder = variable("OUT_DIR").join("front");
    let mut command = nested_build("rcorn-front", &folder, true);
    command
        .args(["--bin", "rcorn-front"])
        .env(
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            if is_release() { "3" } else { "s" },
        )
        .env(
            "CARGO_PROFILE_RELEASE_STRIP",
            if is_dist() { "symbols" } else { "debuginfo" },
        );
    if !is_release() {
        command
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    }
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the executable of fronts could not be built ({status:?}); its errors stand above"
    );
    made_in(&folder, true).join("rcorn-front")
}

/// The module has cargo's name for a shared library.
fn module_in(folder: &Path) -> PathBuf {
    folder.join("librcorn_native.so")
}

/// What cargo and clippy tell about the outer build must not steer the inner one.
fn forget_outer_build(command: &mut Command) {
    let exact = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTC",
        "RUSTDOC",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "MAKEFLAGS",
        "CARGO_MAKEFLAGS",
        "NUM_JOBS",
    ];
    let prefixes = ["CARGO_FEATURE_", "CARGO_CFG_", "PYO3_", "DEP_"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if exact.contains(&&*text) || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}
