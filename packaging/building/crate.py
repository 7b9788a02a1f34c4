"""The crate: what Cargo.toml says about it, its files, its executable."""

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


def metadata():
    """What Cargo.toml says."""
    said = json.loads(cargo("metadata", "--no-deps", "--format-version=1", "--locked"))
    return next(package for package in said["packages"] if package["name"] == "rcorn")


def files():
    """The files of the crate, relative to its root; what is in the crate is in the sdist."""
    listed = cargo("package", "--list", "--allow-dirty", "--locked", stderr=subprocess.DEVNULL).splitlines()
    return sorted(name for name in listed if name not in MADE_BY_CARGO)


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
