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
