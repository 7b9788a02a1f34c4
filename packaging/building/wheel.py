"""The wheel and the sdist."""

import base64
import gzip
import hashlib
import io
import os
import tarfile
import time
import zipfile

from . import crate, elf, sbom

PYTHON = "packaging/python"
# Where `man` looks, seen from `bin` of an environment.
MANUAL = {"man/rcorn.1": "man1", "man/rcorn.yaml.5": "man5", "man/rcorn-signals.7": "man7"}
# The oldest time that a zip file can hold.
EPOCH = 315532800


def moment():
    """The time of the files: reproducible builds set it."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH)), EPOCH)


def core_metadata(about):
    """METADATA and PKG-INFO."""
    head = [
        "Metadata-Version: 2.1",
        f"Name: {about['name']}",
        f"Version: {about['version']}",
        f"Summary: {about['description']}",
        f"License: {about['license']}",
        f"Keywords: {','.join(about['keywords'])}",
        "License-File: LICENSE",
        "Classifier: Environment :: Web Environment",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Python :: 3",
        "Classifier: Programming Language :: Rust",
        "Classifier: Topic :: Internet :: WWW/HTTP :: WSGI :: Server",
        "Requires-Python: >=3.9",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join([*head, "", (crate.ROOT / about["readme"]).read_text("utf-8")])


def tag(data):
    """The platforms it runs on, by what it and its module need."""
    need = elf.glibc(data)
    if need is None:
        raise SystemExit("error: the executable needs no glibc, and pip has no name for that; hint: build for a -gnu target")
    return f"manylinux_{need[0]}_{need[1]}_{elf.machine(data)}"


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def write_metadata(folder):
    """Writes what pip asks before it builds; gives the name of its folder."""
    about = crate.metadata()
    name = f"{about['name']}-{about['version']}.dist-info"
    os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w", encoding="utf-8") as file:
        file.write(core_metadata(about))
    return name


def build_wheel(folder, executable=None):
    """Writes the wheel of an executable, or of one that is built for this machine; gives its path."""
    about = crate.metadata()
    executable = crate.executable(executable)
    program, front = executable.read_bytes(), crate.front(executable)
    platforms = tag(program)
    name = f"{about['name']}-{about['version']}"
    info, data = f"{name}.dist-info", f"{name}.data"
    entries = {f"{data}/scripts/rcorn": program}
    if front:
        entries[f"{data}/scripts/{crate.FRONT}"] = front.read_bytes()
    for path in sorted((crate.ROOT / PYTHON).rglob("*.py")):
        entries[path.relative_to(crate.ROOT / PYTHON).as_posix()] = path.read_bytes()
    for page, section in MANUAL.items():
        content = (crate.ROOT / page).read_bytes()
        entries[f"{data}/data/share/man/{section}/{os.path.basename(page)}"] = content
    entries[f"{info}/LICENSE"] = (crate.ROOT / "LICENSE").read_bytes()
    entries[f"{info}/METADATA"] = core_metadata(about).encode()
    # Its place is that of PEP 770.
    entries[f"{info}/sboms/rcorn.cdx.json"] = sbom.bill()
    wheel = f"Wheel-Version: 1.0\nGenerator: rcorn {about['version']}\nRoot-Is-Purelib: false\nTag: py3-none-{platforms}\n"
    entries[f"{info}/WHEEL"] = wheel.encode()
    record = [f"{path},{digest(content)},{len(content)}" for path, content in entries.items()]
    entries[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    target = os.path.join(folder, f"{name}-py3-none-{platforms}.whl")
    when = time.gmtime(moment())[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, content in entries.items():
            entry = zipfile.ZipInfo(path, when)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path.startswith(f"{data}/scripts/") else 0o100644) << 16
            archive.writestr(entry, content)
    return target


def build_sdist(folder):
    """Writes the source distribution: the files of all crates, and what pip wants to know; gives its path."""
    about = crate.metadata()
    name = f"{about['name']}-{about['version']}"
    entries = {path: (crate.ROOT / path).read_bytes() for path in crate.files()}
    entries["PKG-INFO"] = core_metadata(about).encode()
    target = os.path.join(folder, f"{name}.tar.gz")
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, moment()) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, content in entries.items():
                entry = tarfile.TarInfo(f"{name}/{path}")
                entry.size = len(content)
                entry.mtime = moment()
                executable = (crate.ROOT / path).is_file() and os.access(crate.ROOT / path, os.X_OK)
                entry.mode = 0o755 if executable else 0o644
                archive.addfile(entry, io.BytesIO(content))
    return target
