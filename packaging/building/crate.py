"""The crates: what Cargo.toml says about them, their files, the executable."""

import json
import os
import subprocess
import sys
from pathlib import Path

from . import elf

ROOT = Path(__file__).resolve().parents[2]
# Files that `cargo package` adds to the crate, and that are not in the tree.
MADE_BY_CARGO = {".cargo_vcs_info.json", "Cargo.toml.orig"}
# What links for an older glibc than this machine's; all of it is on PyPI.
ZIG = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"]
# The program that speaks TLS.
FRONT = "rcorn-front"
# The oldest that Rust runs with.
OLDEST_GLIBC = "2.17"


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
    """The executable: the one that is given, or a newly built one for this machine."""
    return Path(given).resolve() if given else built("build", f"--target={host()}", env=reproducible())


def portable_executable(target=None, glibc=OLDEST_GLIBC):
    """An executable for all machines of this kind with this glibc or a newer one. The same sources give the same bytes in
    every folder."""
    tools = zig()
    path = os.pathsep.join([str(tools / "bin"), os.environ.get("PATH", os.defpath)])
    return built("zigbuild", f"--target={target or host()}.{glibc}", env={**reproducible(), "PATH": path})


def reproducible():
    """The environment of a build whose bytes do not depend on its folder."""
    return {
        **os.environ,
        "RUSTFLAGS": " ".join([*os.environ.get("RUSTFLAGS", "").split(), *remapped()]),
    }


def built(command, *words, env):
    """The executable that cargo builds with this command. That of fronts lies beside it: a package has room for two."""
    # A request passes it, as it passes the native module, and a panic ends one connection.
    of_front = {"CARGO_PROFILE_DIST_OPT_LEVEL": "3", "CARGO_PROFILE_DIST_PANIC": "unwind"}
    program(FRONT, command, *words, env={**env, **of_front})
    return program("rcorn", command, *words, env={**env, "RCORN_FRONT": ""})


def program(name, command, *words, env):
    """Builds one program with cargo, and gives its path."""
    words = [command, "--profile=dist", "--locked", "--package", name, "--bin", name, *words]
    for line in cargo(*words, "--message-format=json-render-diagnostics", env=env).splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    raise SystemExit(f"error: cargo built no {name}; hint: cargo {command} --profile=dist --package {name} shows more")


def front(executable):
    """The executable of fronts beside this one; None: it contains it."""
    beside = executable.with_name(FRONT)
    return None if elf.contains_front(executable.read_bytes()) or not beside.exists() else beside


def host():
    """The target of this machine."""
    said = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(line[len("host: ") :] for line in said.splitlines() if line.startswith("host: "))


def remapped():
    """No path of this machine gets into what is built."""
    home = os.environ.get("CARGO_HOME") or Path.home() / ".cargo"
    return [f"--remap-path-prefix={home}=/cargo", f"--remap-path-prefix={ROOT}=/rcorn"]


def zig():
    """The folder of zig and of what makes it cargo's linker; installed below target/ if it is not there."""
    folder = ROOT / "target/zig"
    mark = folder / "installed.txt"
    if mark.exists() and mark.read_text() == str(ZIG):
        return folder
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, stdout=subprocess.DEVNULL)
        pip = [folder / "bin/python3", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *ZIG], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError:
        raise SystemExit(f"error: pip cannot install {' '.join(ZIG)}; hint: --native links for this machine's glibc, without zig")
    mark.write_text(str(ZIG))
    return folder
