#!/usr/bin/env python3
"""What a request costs on each CPython that tests/pythons finds: python3 tests/bench/versions.py [--publish]

Instructions in user space, counted by callgrind as tests/bench/instructions.py does it, and CPU microseconds, measured as
tests/bench/compare.py does it, the versions in turn. Needs valgrind, wrk and target/release/rcorn. Flask and Django have the
same version everywhere, one that the oldest Python has, too, and no compiled part: what differs is CPython.

--publish writes the table into man/guide/benchmarks.md."""
import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare
import instructions

SITE = compare.ROOT / "target/tmp/bench-versions"
PACKAGES = ["Flask==3.1.1", "Django==4.2.23"]
# What they need, in versions that have no new syntax; the last ones on the oldest Python alone.
NEEDED = ["click==8.1.8", "Werkzeug==3.1.3", "asgiref==3.8.1", "importlib-metadata==8.5.0", "typing-extensions==4.12.2", "zipp==3.20.2"]
# The label of a column, and its cells for the two scripts.
COLUMNS = {
    "13 bytes": ("minimal", "hello"),
    "a browser's header": ("browser", "hello-browser"),
    "Flask": ("flask", "flask"),
    "Django": ("django", "django"),
}
OLDEST = (3, 9)
BEGIN = "<!-- versions: tests/bench/versions.py writes this part -->"
END = "<!-- end of versions -->"


def pythons():
    """{version: path}, in order: of each supported version the first that tests/pythons names."""
    found = {}
    for line in instructions.run(compare.ROOT / "tests/pythons", "--list").splitlines():
        version, _, path = line.partition(" ")
        if order(version)[:2] >= OLDEST:
            found.setdefault(version, path)
    return {version: found[version] for version in sorted(found, key=order)}


def order(version):
    number = version.rstrip("t")
    major, minor = number.split(".")
    return int(major), int(minor), number != version


def site():
    """The folder with the packages, which all versions share."""
    mark = SITE / "installed.txt"
    wanted = [*PACKAGES, *NEEDED]
    if not (mark.exists() and mark.read_text() == str(wanted)):
        shutil.rmtree(SITE, ignore_errors=True)
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", SITE]
        subprocess.run([*words, *wanted], check=True)
        for compiled in SITE.rglob("*.so"):
            compiled.unlink()
        mark.write_text(str(wanted))
    return SITE


class Server(compare.Server):
    """rcorn on one of the Pythons."""

    def __init__(self, python, app, rcorn, folder):
        name = f"rcorn-{python.replace('/', '_')}"
        compare.SERVERS[name] = (
            "{rcorn} --python " + python + " -w 1 -b 127.0.0.1:{port} --log-level error --pythonpath " + str(SITE) + " {app}")
        super().__init__(name, app, rcorn, folder, compare.Cell())
        self.wait()


def counted(python, rcorn, folder):
    """Instructions per request: {column: number}."""
    counts = {}
    cells = {**instructions.CELLS, **instructions.CELLS_OF_FRAMEWORKS}
    for column, (cell, _) in COLUMNS.items():
        app, request, *_ = cells[cell]
        server = instructions.Server(rcorn, python, app, (), folder / f"{python.replace('/', '_')}-{cell}")
        try:
            counts[column] = server.count(request, False)
        finally:
            server.stop()
    return counts


def measured(found, options, folder):
    """CPU microseconds per request: {column: {version: median}}."""
    medians = {}
    for column, (_, cell) in COLUMNS.items():
        cell = compare.CELLS[cell]
        servers, times = {}, {}
        try:
            for version, python in found.items():
                servers[version] = Server(python, cell.app, options.rcorn.resolve(), folder)
                servers[version].check(cell)
                servers[version].measure(cell, 1)
            for number in range(options.rounds):
                compare.note(f"{column}, round {number + 1} of {options.rounds}")
                for version, server in servers.items():
                    times.setdefault(version, []).append(server.measure(cell, options.duration)[0])
        finally:
            for server in servers.values():
                server.stop()
        medians[column] = {version: statistics.median(of) for version, of in times.items()}
    return medians


def table(found, counts, medians, options):
    head = "| CPython | " + " | ".join(f"{column}: instructions | us" for column in COLUMNS) + " |"
    yield from (BEGIN, "", head, "|---" * (1 + 2 * len(COLUMNS)) + "|")
    for version in found:
        cells = (f"{round(counts[version][column], -1):,.0f} | {compare.rounded(medians[column][version])}" for column in COLUMNS)
        yield f"| {version} | " + " | ".join(cells) + " |"
    date = time.strftime("%Y-%m-%d", time.gmtime())
    yield from ("", f"{date}; {', '.join(PACKAGES).replace('==', ' ')}; {options.rounds} rounds of {options.duration} s.", "", END)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rcorn", type=Path, default=compare.ROOT / "target/release/rcorn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=2, help="seconds per round")
    parser.add_argument("--publish", action="store_true", help=f"renew {compare.PAGE.relative_to(compare.ROOT)}")
    options = parser.parse_args()
    for program in ("wrk", "valgrind"):
        shutil.which(program) or sys.exit(f"versions.py: {program} is not installed; hint: apt-get install {program}")
    if not options.rcorn.exists():
        sys.exit(f"versions.py: there is no {options.rcorn}; hint: cargo build --release")
    os.environ["PYTHONPATH"] = str(site())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found = pythons()
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        medians = measured(found, options, Path(folder))
        counts = {}
        for version, python in found.items():
            compare.note(f"counting instructions on {version}")
            counts[version] = counted(python, options.rcorn.resolve(), Path(folder))
    lines = "\n".join(table(found, counts, medians, options))
    print(lines)
    if options.publish:
        page = compare.PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        compare.PAGE.write_text(before + lines + rest.partition(END)[2])


if __name__ == "__main__":
    main()
