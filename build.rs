//! Builds the native module (the workspace member `rcorn-native`, an extension module) and tells
//! the executable where it is, to be embedded. The executable itself has no pyo3 in its
//! dependencies, and no Python is needed to build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a module that was built before, for packagers who build both parts themselves.
const PREBUILT: &str = "RCORN_NATIVE";

fn main() {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    for path in ["src", "Cargo.toml", "Cargo.lock", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let module = env::var_os(PREBUILT).map_or_else(build_module, PathBuf::from);
    println!("cargo::rustc-env={PREBUILT}={}", module.display());
    tell_build();
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

fn build_module() -> PathBuf {
    let root = variable("CARGO_MANIFEST_DIR");
    // Not the outer build's folder: the outer cargo holds its lock.
    let folder = variable("OUT_DIR").join("native");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let target = env::var("TARGET").unwrap_or_default();
    let mut command = Command::new(variable("CARGO"));
    command
        .current_dir(&root)
        // The hot path is in the module; the executable's own profile is for a small arbiter.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        // The crates of a request's way are optimised as one: 3 % fewer instructions than with
        // "thin".
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .args([
            "build",
            "--package",
            "rcorn-native",
            "--manifest-path",
            "Cargo.toml",
            "--target",
            &target,
            "--target-dir",
        ])
        .arg(&folder);
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
        // An extension module: libpython is whatever interpreter loads it.
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        .env("PYO3_NO_PYTHON", "1")
        // It is embedded: line tables would double the executable.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the native module could not be built ({status:?}); its errors stand above"
    );
    let profile = if release { "release" } else { "debug" };
    module_in(&folder.join(target).join(profile))
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
