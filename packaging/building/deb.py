"""Builds the Debian package with dpkg-deb, and finds its dependencies with dpkg-shlibdeps. Root is not needed."""

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import textwrap
from email.utils import formatdate
from pathlib import Path

from . import crate, elf, sbom

# Increment it when the same version is packaged again.
REVISION = "1"
# The time of the files and of the entry in the changelog: reproducible builds set it.
EPOCH = 315532800
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Files of the source tree and their places in the package. A name in .gz is compressed.
FILES = {
    "man/rcorn.1": "usr/share/man/man1/rcorn.1.gz",
    "man/rcorn.yaml.5": "usr/share/man/man5/rcorn.yaml.5.gz",
    "man/rcorn-signals.7": "usr/share/man/man7/rcorn-signals.7.gz",
    "packaging/completions/rcorn.bash": "usr/share/bash-completion/completions/rcorn",
    "packaging/completions/_rcorn": "usr/share/zsh/vendor-completions/_rcorn",
    "packaging/completions/rcorn.fish": "usr/share/fish/vendor_completions.d/rcorn.fish",
    "packaging/systemd/rcorn@.service": "usr/lib/systemd/system/rcorn@.service",
    "packaging/systemd/rcorn@.socket": "usr/lib/systemd/system/rcorn@.socket",
    "packaging/systemd/tmpfiles.conf": "usr/lib/tmpfiles.d/rcorn.conf",
    "packaging/deploy/rcorn-deploy": "usr/bin/rcorn-deploy",
    "packaging/nginx/http-unix.conf": "usr/share/rcorn/nginx/http-unix.conf",
    "packaging/supervisor/rcorn.conf": "usr/share/rcorn/supervisor/rcorn.conf",
    "packaging/systemd/tls.conf": "usr/share/rcorn/systemd/tls.conf",
    "packaging/debian/logrotate": "etc/logrotate.d/rcorn",
    "packaging/debian/lintian-overrides": "usr/share/lintian/overrides/rcorn",
    "packaging/debian/example.env": "etc/rcorn/example.env",
    "examples/rcorn.yaml": "usr/share/doc/rcorn/examples/rcorn.yaml",
    "examples/flask_app.py": "usr/share/doc/rcorn/examples/flask_app.py",
    "README.md": "usr/share/doc/rcorn/README.md",
    "CHANGELOG.md": "usr/share/doc/rcorn/changelog.gz",
}
SCRIPTS = ["postinst", "prerm", "postrm"]


def run(*words, **settings):
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True, **settings).stdout
    except FileNotFoundError:
        raise SystemExit(f"error: {words[0]} not found; hint: apt-get install dpkg-dev binutils")
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {words[0]} failed: {error.stderr.strip()}")


def write(path, content, mode=0o644):
    """Writes a file; compresses it if its name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content)
    path.chmod(mode)


def libraries(programs, folder):
    """The packages that the executables and what is embedded in them depend on."""
    control = folder / "debian/control"
    write(control, b"Source: rcorn\n\nPackage: rcorn\nArchitecture: any\n")
    images = []
    for number, image in enumerate(image for program in programs for image in elf.images(program)):
        images.append(folder / f"image{number}")
        write(images[-1], image.data, 0o755)
    said = run("dpkg-shlibdeps", "-O", *(f"-e{image}" for image in images), cwd=folder)
    return said.strip().split("=", 1)[1]


def control(about, version, architecture, depends, size):
    maintainer = os.environ.get("DEBFULLNAME", "rcorn maintainers"), os.environ.get("DEBEMAIL", "maintainers@rcorn.example")
    # The long description.
    long = (
        "rcorn keeps Python worker processes alive that answer HTTP or uwsgi for a WSGI app, with the flags, signals,"
        " log lines and configuration files of gunicorn. A reload, a crash or an upgrade of rcorn itself loses no request."
        " This package has a unit template for systemd: rcorn@NAME serves the app in /srv/NAME."
    )
    return f"""Package: rcorn
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer[0]} <{maintainer[1]}>
Installed-Size: {size}
Depends: {depends}, python3 (>= 3.9)
Suggests: nginx, python3-venv
Section: httpd
Priority: optional
Description: {about['description'][2:]}
{textwrap.fill(long, 78, initial_indent=' ', subsequent_indent=' ')}
"""


def changelog(version):
    maintainer = os.environ.get("DEBFULLNAME", "rcorn maintainers"), os.environ.get("DEBEMAIL", "maintainers@rcorn.example")
    moment = float(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    return (
        f"rcorn ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n"
        f" -- {maintainer[0]} <{maintainer[1]}>  {formatdate(moment)}\n"
    )


def copyright():
    holder, _, licence = (crate.ROOT / "LICENSE").read_text().partition("Copyright (c) ")[2].partition("\n")
    lines = [f" {line}" if line else " ." for line in licence.strip().splitlines()]
    text = (crate.ROOT / "packaging/debian/copyright").read_text()
    return text.replace("@HOLDER@", holder).replace("@LICENSE@", "\n".join(lines))


def build(out, given=None):
    """Builds the package and returns its path."""
    about = crate.metadata()
    version = f"{about['version']}-{REVISION}"
    built = crate.executable(given)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        program = root / "usr/bin/rcorn"
        program.parent.mkdir(parents=True)
        shutil.copyfile(built, program)
        program.chmod(0o755)
        run("strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", program)
        data = program.read_bytes()
        programs = [data]
        if front := crate.front(built):
            beside = program.with_name(crate.FRONT)
            shutil.copyfile(front, beside)
            beside.chmod(0o755)
            run("strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", beside)
            programs.append(beside.read_bytes())
        architecture = ARCHITECTURES.get(elf.machine(data))
        if architecture is None:
            raise SystemExit(f"error: Debian's name of {elf.machine(data)} is unknown; hint: add it to ARCHITECTURES in {__file__}")
        for path, place in FILES.items():
            write(root / place, (crate.ROOT / path).read_bytes(), 0o755 if place.startswith("usr/bin/") else 0o644)
        write(root / "usr/share/doc/rcorn/copyright", copyright().encode())
        write(root / "usr/share/doc/rcorn/rcorn.cdx.json.gz", sbom.bill())
        write(root / "usr/share/doc/rcorn/changelog.Debian.gz", changelog(version).encode())
        installed = sorted(path for path in root.rglob("*") if path.is_file())
        for folder in root.rglob("*"):
            if folder.is_dir():
                folder.chmod(0o755)
        size = sum(-(-path.stat().st_size // 1024) for path in installed)
        sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in installed)
        etc = (f"/{path.relative_to(root)}\n" for path in installed if path.is_relative_to(root / "etc"))
        depends = libraries(programs, Path(scratch))
        write(root / "DEBIAN/control", control(about, version, architecture, depends, size).encode())
        write(root / "DEBIAN/md5sums", "".join(sums).encode())
        write(root / "DEBIAN/conffiles", "".join(etc).encode())
        for script in SCRIPTS:
            write(root / "DEBIAN" / script, (crate.ROOT / "packaging/debian" / script).read_bytes(), 0o755)
        # Otherwise mkdtemp's mode would become the mode of /.
        root.chmod(0o755)
        target = os.path.join(out, f"rcorn_{version}_{architecture}.deb")
        # dpkg-deb gives no file a later time.
        epoch = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, target, env=environment)
    return target
