"""The crates: what Cargo.toml says about them, their files, the executable."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Files that `cargo package` adds to the crate, and that are not in the tree.
MADE_BY_CARGO = {".cargo_vcs_info.json", "Cargo.toml.orig"}


def cargo(*words, **settings):
    """Runs cargo here; gives what it printed."""
    command = [os.environ.get("CARGO", "cargo"), *words]
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, **settings)
    except FileNotFoundError:
        raise SystemExit("error: cargo not found; hint: rcorn is built with Rust: install it, or install rcorn from a wheel")
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {' '.join(command)} failed with {error.returncode}; its errors stand above")
    return done.stdout


def workspace():
    """What cargo knows of the packages in this tree."""
    return json.loads(cargo("metadata", "--no-deps", "--format-version=1", "--locked"))["packages"]


def metadata():
    """What Cargo.toml says."""
    return next(package for package in workspace() if package["name"] == "rcorn")


def files():
    """The files of all packages, relative to the root; with them the executable can be built, and they are in the sdist."""
    found = {"Cargo.lock"}
    for package in workspace():
        folder = Path(package["manifest_path"]).parent.relative_to(ROOT)
        # It leaves out the packages below this one.
        words = ["package", "--list", "--allow-dirty", "--locked", "--package", package["name"]]
        listed = cargo(*words, stderr=subprocess.DEVNULL).splitlines()
        # Each package lists the workspace's lock file as its own.
        found.update((folder / name).as_posix() for name in listed if name not in {*MADE_BY_CARGO, "Cargo.lock"})
    return sorted(found)


def executable(given=None):
    """The executable: the one that is given, or a newly built one."""
    if given:
        return Path(given).resolve()
    words = ["build", "--release", "--locked", "--bin", "rcorn", "--message-format=json-render-diagnostics"]
    for line in cargo(*words).splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "rcorn":
            return Path(message["executable"])
    raise SystemExit("error: cargo built no executable; hint: cargo build --release --bin rcorn shows more")
