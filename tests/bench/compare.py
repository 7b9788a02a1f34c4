#!/usr/bin/env python3
"""Measures rcorn beside other WSGI servers: python3 tests/bench/compare.py

The main figure is CPU time (user and system, of the server's whole process tree) per completed request; requests per
second stand beside it. Each server runs one worker, on a CPU of its own if there are two. Every round visits every
server before the next round begins, so that drift of the machine affects all alike. Compare figures of one run only;
differences below 15 % mean little.

    compare.py --out run.md              measure, and write a report
    compare.py --save run.json           measure, and keep the results
    compare.py --publish                 measure, and renew man/guide/benchmarks.md and its picture
    compare.py --load run.json --publish the same from kept results, without measuring
    compare.py --before OLD              measure another rcorn executable as well, in the same rounds
    compare.py --threads                 measure servers with threads, and rcorn without; --publish renews their table

Needs wrk, and target/release/rcorn (cargo build --release). Creates a virtual environment from requirements.txt below
target/. A server that answers wrongly is left out of that cell, and the report states the reason.
"""
import argparse
import datetime
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
APPS = HERE / "apps"
VENV = ROOT / "target/bench-venv"
PUBLISHED = HERE / "published.json"
PUBLISHED_THREADS = HERE / "published-threads.json"
PAGE = ROOT / "man/guide/benchmarks.md"
PICTURE = ROOT / "man/guide/benchmarks.svg"
# The part of the page that comes from the results stands between these lines.
BEGIN, END = "<!-- results: tests/bench/compare.py writes this part -->", "<!-- end of results -->"
BEGIN_THREADS, END_THREADS = "<!-- threads: tests/bench/compare.py writes this part -->", "<!-- end of threads -->"
TICK = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://www.example.com/some/earlier/page?with=query&and=more",
    "Cookie: session=abcdefghijklmnop; csrftoken=9d8f7g6h5j4k3l2m1n0; theme=dark",
    "Upgrade-Insecure-Requests: 1",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
)


class Cell(NamedTuple):
    """One kind of request."""

    label: str = ""
    path: str = "/"
    size: int = 13
    app: str = "raw:app"
    connections: int = 16
    fields: tuple = ()
    post: int = 0
    # The app's response has a close() that the server must call.
    close: bool = False
    # Of servers with threads; the others have one worker.
    workers: int = 1
    threads: int = 4
    # How long the app waits in a socket, in seconds.
    waits: float = 0.0

    def ideal(self):
        """Requests per second of a server that does nothing but wait, or None."""
        return min(self.connections, self.workers * self.threads) / self.waits if self.waits else None


CELLS = {
    "hello": Cell("13 bytes, keep-alive"),
    "hello-close": Cell("13 bytes, a connection per request", fields=("Connection: close",)),
    "hello-one": Cell("13 bytes, one client", connections=1),
    "hello-browser": Cell("13 bytes, a browser's header", fields=BROWSER),
    "10k": Cell("10 KiB", "/10k", 10240),
    "1m": Cell("1 MiB", "/1m", 1048576),
    "post64k": Cell("upload of 64 KiB", "/post", 5, post=65536),
    "chunks20": Cell("generator, 20 parts of 1 KiB", "/chunks", 20480, close=True),
    "static1m": Cell("file of 1 MiB", "/static", 1048576, close=True),
    "flask": Cell("Flask", app="flask_page:app", size=28, close=True),
    "django": Cell("Django", app="django_page:app", close=True),
    "wait": Cell("an app that waits 20 ms in a socket, 64 clients", app="waiting:app", connections=64, workers=2, threads=16,
                 waits=0.02),
}
# What --threads selects, and a run without it leaves out.
THREADED_CELLS = ["hello", "flask", "django", "wait"]
THREADED_SERVERS = ["rcorn", "rcorn-threads", "gunicorn-gthread", "granian-threads", "uwsgi-threads", "waitress"]
# Command lines. {bin} is the virtual environment's bin directory.
SERVERS = {
    "rcorn": "{rcorn} --python {bin}/python -w 1 -b 127.0.0.1:{port} --log-level error {app}",
    "gunicorn": "{bin}/gunicorn -w 1 -b 127.0.0.1:{port} --log-level error {app}",
    "gunicorn-gthread": "{bin}/gunicorn -k gthread --threads {threads} -w {workers} -b 127.0.0.1:{port} --log-level error {app}",
    "granian": "{bin}/granian --interface wsgi --http 1 --no-ws --host 127.0.0.1 --port {port} --workers 1 --log-level error {app}",
    # uWSGI's --http-socket closes each connection without announcing it.
    "uwsgi": "{bin}/uwsgi --master --processes 1 --http-socket 127.0.0.1:{port} --add-header Connection:close --module {app} "
             "--need-app --disable-logging --die-on-term --listen 1024 --virtualenv {bin}/..",
    "bjoern": "{bin}/python launch.py bjoern {app} {port}",
    "fastwsgi": "{bin}/python -W ignore launch.py fastwsgi {app} {port}",
    "rcorn-threads": "{rcorn} --python {bin}/python -w {workers} --threads {threads} -b 127.0.0.1:{port} --log-level error {app}",
    "granian-threads": "{bin}/granian --interface wsgi --http 1 --no-ws --host 127.0.0.1 --port {port} --workers {workers} "
                       "--blocking-threads {threads} --log-level error {app}",
    "uwsgi-threads": "{bin}/uwsgi --master --processes {workers} --threads {threads} --http-socket 127.0.0.1:{port} "
                     "--add-header Connection:close --module {app} --need-app --disable-logging --die-on-term --listen 1024 "
                     "--virtualenv {bin}/..",
    # One process.
    "waitress": "{bin}/waitress-serve --threads={all_threads} --host=127.0.0.1 --port={port} {app}",
}
USUAL_SERVERS = [name for name in SERVERS if name == "gunicorn-gthread" or name not in THREADED_SERVERS[1:]]
USUAL_CELLS = [name for name in CELLS if name not in ("wait",)]
PACKAGES = {"gunicorn-gthread": "gunicorn", "uwsgi": "uWSGI", "uwsgi-threads": "uWSGI", "granian-threads": "granian"}


class Unmeasurable(Exception):
    """Why a server is left out of a cell."""


def note(*words):
    print(*words, file=sys.stderr, flush=True)


# Requirements


def environment():
    """Creates the virtual environment; returns {package: why it could not be installed}. Failures are retried next time."""
    wanted, mark, failed = (HERE / "requirements.txt").read_text(), VENV / "installed.txt", {}
    if mark.exists() and mark.read_text() == wanted:
        return failed
    note(f"creating {VENV}")
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    for line in wanted.splitlines():
        if not line or line.startswith("#"):
            continue
        pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", line]
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            errors = [row.strip() for row in done.stdout.splitlines() if "error:" in row.lower()]
            errors.sort(key=lambda row: "fatal" not in row)
            hint = "; hint: bjoern needs libev's headers (Debian: apt-get install libev-dev)" if "bjoern" in line else ""
            failed[line.partition("==")[0]] = f"pip cannot install it: {(errors or ['?'])[0][:120]}{hint}"
    if not failed:
        mark.write_text(wanted)
    return failed


def versions():
    listed = subprocess.run([VENV / "bin/python", "-m", "pip", "freeze"], stdout=subprocess.PIPE, text=True, check=True).stdout
    named = {line.partition("==")[0].lower() for line in (HERE / "requirements.txt").read_text().splitlines()}
    return ", ".join(line.replace("==", " ") for line in listed.splitlines() if line.partition("==")[0].lower() in named)


# Processes


def processes():
    """{pid: (parent, CPU ticks of the process and of the children it has reaped)}."""
    found = {}
    for entry in os.listdir("/proc"):
        try:
            words = open(f"/proc/{int(entry)}/stat").read().rpartition(") ")[2].split()
        except (ValueError, OSError):
            continue
        found[int(entry)] = (int(words[1]), sum(map(int, words[11:15])))
    return found


def family(root, known):
    members = [root]
    for member in members:
        members += [pid for pid, (parent, _) in known.items() if parent == member]
    return [pid for pid in members if pid in known]


def busy():
    """Busy seconds of all CPUs together."""
    ticks = [int(word) for word in open("/proc/stat").readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICK


class Server:
    """A running server with one app."""

    def __init__(self, name, app, rcorn, folder, cell):
        self.name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        given = {"app": app, "port": self.port, "bin": VENV / "bin", "rcorn": rcorn, "workers": cell.workers, "threads": cell.threads,
                 "all_threads": cell.workers * cell.threads}
        words = [word.format(**given) for word in SERVERS[name].split()]
        environ = {"PATH": f"{VENV}/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "BENCH_STATIC": str(folder / "static")}
        self.log = folder / f"{name}-{app}.log"
        self.process = subprocess.Popen(
            words, cwd=APPS, env=environ, stdin=subprocess.DEVNULL, stdout=open(self.log, "w"), stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, CPUS[:1]))

    def wait(self):
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.ask(Cell())
                return
            except (OSError, Unmeasurable):
                time.sleep(0.02)
        last = self.log.read_text().strip().splitlines()[-1:]
        raise Unmeasurable(f"does not start: {' '.join(last)[:150]}")

    def ask(self, cell):
        """Sends one request and returns the body of the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            fields = ["Host: localhost", *cell.fields] + [f"Content-Length: {cell.post}"] * bool(cell.post)
            head = f"{'POST' if cell.post else 'GET'} {cell.path} HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n\r\n"
            connection.sendall(head.encode() + cell.post * b"a")
            with connection.makefile("rb") as stream:
                status, known = stream.readline().decode("latin-1").strip(), {}
                while line := stream.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    known[name.lower()] = value.strip().lower()
                if " 200 " not in status + " ":
                    raise Unmeasurable(f"answers {status!r}")
                if "content-length" in known:
                    body = stream.read(int(known["content-length"]))
                elif known.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(stream.readline(), 16):
                        body += stream.read(size)
                        stream.readline()
                    stream.readline()
                else:
                    raise Unmeasurable("delimits the body by closing the connection, which wrk cannot count")
                if "Connection: close" in cell.fields:
                    connection.settimeout(1)
                    if known.get("connection") != "close" or stream.read(1):
                        raise Unmeasurable("does not honour Connection: close")
        return body

    def check(self, cell):
        """Checks the response, and that the server calls close() as PEP 3333 requires."""
        try:
            body = self.ask(cell)
            if cell.size != len(body) or cell.post and body != b"%d" % cell.post:
                raise Unmeasurable(f"sent {len(body)} bytes instead of {cell.size}")
            if cell.app == "raw:app" and cell.close:
                before = int(self.ask(Cell(path="/closed")))
                self.ask(Cell(path="/closing"))
                if int(self.ask(Cell(path="/closed"))) != before + 1:
                    raise Unmeasurable("does not call close() as PEP 3333 requires")
        except (OSError, ValueError) as error:
            raise Unmeasurable(f"{type(error).__name__}: {error}") from error

    def seconds(self):
        known = processes()
        return sum(known[pid][1] for pid in family(self.process.pid, known)) / TICK

    def measure(self, cell, duration):
        """CPU microseconds per request, requests per second, and the load of other processes meanwhile, in CPUs."""
        words = ["wrk", "-t1", f"-c{cell.connections}", f"-d{duration}s", "--timeout", "8s", f"http://127.0.0.1:{self.port}{cell.path}"]
        for field in cell.fields:
            words += ["-H", field]
        if cell.post:
            words += ["-s", HERE / "post.lua"]
        cpu, all_cpus, wrk_before, began = self.seconds(), busy(), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=duration + 30,
                              preexec_fn=lambda: os.sched_setaffinity(0, CPUS[-1:]))
        took, cpu, all_cpus = time.monotonic() - began, self.seconds() - cpu, busy() - all_cpus
        wrk = resource.getrusage(resource.RUSAGE_CHILDREN)
        wrk_cpu = wrk.ru_utime + wrk.ru_stime - wrk_before.ru_utime - wrk_before.ru_stime
        count, rate = re.search(r"(\d+) requests in", done.stdout), re.search(r"Requests/sec: +([\d.]+)", done.stdout)
        if not (count and rate and int(count[1])):
            raise Unmeasurable(f"no request was completed: {done.stdout.strip()[-120:]}")
        if bad := re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", done.stdout):
            note(f"  {self.name}: {bad[0]}")
        return cpu * 1e6 / int(count[1]), float(rate[1]), max(0.0, (all_cpus - cpu - wrk_cpu) / took)

    def stop(self):
        members = family(self.process.pid, processes())
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        after = processes()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in members:
            # Processes that left the group. The parent is checked, so that a recycled pid is not killed.
            if pid in after and after[pid][0] in (1, self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait()


# Measuring


def compare(options, reasons, folder):
    """Measures; returns {(server, cell): [measurement of each round]} and adds what is left out to `reasons`."""
    results = {}
    for app in dict.fromkeys(CELLS[cell].app for cell in options.cells):
        first = next(CELLS[cell] for cell in options.cells if CELLS[cell].app == app)
        running = []
        try:
            for name in options.servers:
                if (name, "") in reasons:
                    continue
                running.append(server := Server(name, app, options.rcorn.resolve(), folder, first))
                try:
                    server.wait()
                except Unmeasurable as error:
                    reasons[name, app] = str(error)
                    running.pop().stop()
            for cell in (cell for cell in options.cells if CELLS[cell].app == app):
                good = []
                for server in running:
                    try:
                        server.check(CELLS[cell])
                        # Not counted: warms caches.
                        server.measure(CELLS[cell], 1)
                        good.append(server)
                    except Unmeasurable as error:
                        reasons[server.name, cell] = str(error)
                for number in range(options.rounds):
                    note(f"{cell}, round {number + 1} of {options.rounds}")
                    for server in good:
                        results.setdefault((server.name, cell), []).append(server.measure(CELLS[cell], options.duration))
        finally:
            for server in running:
                server.stop()
    # Whether close() is called depends on the server, not on the app: the finding for the raw app holds for frameworks.
    for name in options.servers:
        silent = [why for (server, _), why in reasons.items() if server == name and "close()" in why]
        for cell in options.cells if silent else ():
            if CELLS[cell].close and results.pop((name, cell), None):
                reasons[name, cell] = silent[0]
    return results


# Reporting. A run is a dictionary, as in the JSON of --save.


def describe(results, reasons, options):
    """Everything that a report needs to know about a run."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    wrk = subprocess.run(["wrk", "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.split("\n")[0]
    own = subprocess.run([options.rcorn.resolve(), "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    return {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "machine": f"{model[1] if model else platform.machine()}, {len(CPUS)} CPUs "
                   f"({'server and wrk on one each' if len(CPUS) > 1 else 'server and wrk share it'}), Linux {platform.release()}",
        "versions": f"Python {platform.python_version()}, {own}, {versions()}, {wrk.split(' Copy')[0]}",
        "rounds": options.rounds,
        "duration": options.duration,
        "servers": [name for name in options.servers if any(server == name for server, _ in results)],
        "cells": options.cells,
        "results": [{"server": name, "cell": cell, "rounds": rounds} for (name, cell), rounds in results.items()],
        "left_out": [{"server": name, "where": where, "reason": reason} for (name, where), reason in reasons.items()],
    }


CPU, RATE, FOREIGN = range(3)


def figures(run, which):
    """{(server, cell): [figure of each round]}."""
    found = {(entry["server"], entry["cell"]): [measured[which] for measured in entry["rounds"]] for entry in run["results"]}
    return {where: values for where, values in found.items() if None not in values}


def rounded(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(run, which, spread=True):
    """A Markdown table: a row for each cell, a column for each server."""
    known = figures(run, which)
    servers = [name for name in run["servers"] if any(server == name for server, _ in known)]
    lines = ["| | " + " | ".join(servers) + " |", "|---" * (len(servers) + 1) + "|"]
    for cell in run["cells"]:
        row = [CELLS[cell].label]
        for name in servers:
            values = known.get((name, cell))
            row.append("" if not values else rounded(statistics.median(values)) + (
                f" ({rounded(min(values))}-{rounded(max(values))})" if spread and len(values) > 1 else ""))
        lines.append("| " + " | ".join(row) + " |")
    return lines


def ideals(run):
    """How near to the ideal the servers come in cells in which the app waits."""
    known = figures(run, RATE)
    lines = []
    for cell in run["cells"]:
        if not (ideal := CELLS[cell].ideal()):
            continue
        shares = [f"{name} {statistics.median(values) / ideal:.0%}" for (name, where), values in known.items() if where == cell]
        lines += ["", f"Of the ideal {ideal:.0f} requests per second of {CELLS[cell].label}: {', '.join(shares)}."]
    return lines


def left_out(run):
    return [f"- {entry['server']}" + (f", {CELLS[entry['where']].label}" if entry["where"] in CELLS else
                                      f", {entry['where']}" if entry["where"] else "") + f": {entry['reason']}"
            for entry in run["left_out"]]


def report(run):
    """The whole run as a Markdown page."""
    foreign = [measured[FOREIGN] for entry in run["results"] for measured in entry["rounds"]] or [0.0]
    lines = [
        "# WSGI servers side by side", "",
        f"- {run['date']}, {run['machine']}", f"- {run['versions']}",
        f"- {run['rounds']} interleaved rounds of {run['duration']} s; median (least-most)",
        f"- load of other processes during the rounds: median {statistics.median(foreign):.2f} CPUs, at most {max(foreign):.2f}"
        + (": **a noisy run**" if statistics.median(foreign) > 0.25 else ""),
        "", "## CPU microseconds per request", "", *table(run, CPU),
        "", "## Requests per second", "", *table(run, RATE), *ideals(run)]
    if run["left_out"]:
        lines += ["", "## Left out", "", *left_out(run)]
    return "\n".join(lines) + "\n"


def results_of_page(run):
    """The part of man/guide/benchmarks.md that comes from a run."""
    lines = [BEGIN, "", f"![CPU time per request]({PICTURE.name})", "",
             "CPU microseconds per request, median of the rounds:", "", *table(run, CPU, spread=False), "",
             f"{run['date']}; {run['machine']}; {run['versions']}; {run['rounds']} rounds of {run['duration']} s."]
    if run["left_out"]:
        lines += ["", "Left out:", "", *left_out(run)]
    return "\n".join([*lines, "", END])


def threads_of_page(run):
    """The part of man/guide/benchmarks.md about servers with threads."""
    lines = [BEGIN_THREADS, "", "CPU microseconds per request, median of the rounds:", "", *table(run, CPU, spread=False), *ideals(run), "",
             f"{run['date']}; {run['machine']}; {run['versions']}; {run['rounds']} rounds of {run['duration']} s."]
    if run["left_out"]:
        lines += ["", "Left out:", "", *left_out(run)]
    return "\n".join([*lines, "", END_THREADS])


def page_with(run, page):
    """The page with the results of this run."""
    before, _, rest = page.partition(BEGIN)
    return before + results_of_page(run) + rest.partition(END)[2]


def page_with_threads(run, page):
    """The page with the results of this run, of servers with threads."""
    before, _, rest = page.partition(BEGIN_THREADS)
    return before + threads_of_page(run) + rest.partition(END_THREADS)[2]


def draw(run, file):
    """Draws CPU time per request as an SVG: a panel for each cell, a bar for each server."""
    import matplotlib
    matplotlib.use("svg")
    # The same run gives the same file, with text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "rcorn", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot
    known = figures(run, CPU)
    cells = [cell for cell in run["cells"] if any(where == cell for _, where in known)]
    columns = min(3, len(cells))
    rows = -(-len(cells) // columns)
    tallest = max(sum(where == cell for _, where in known) for cell in cells)
    chart, panels = pyplot.subplots(rows, columns, figsize=(9.5, rows * (0.5 + 0.21 * tallest)), squeeze=False, layout="constrained")
    for panel in panels.flat[len(cells):]:
        panel.axis("off")
    for panel, cell in zip(panels.flat, cells):
        bars = sorted((statistics.median(values), name) for (name, where), values in known.items() if where == cell)
        bars.reverse()
        drawn = panel.barh([name for _, name in bars], [value for value, _ in bars],
                           color=["#b7410e" if name == "rcorn" else "#9aa5b1" for _, name in bars])
        panel.bar_label(drawn, labels=[rounded(value) for value, _ in bars], padding=2, fontsize=8)
        panel.set_title(CELLS[cell].label, loc="left", fontsize=9.5)
        panel.set_xlim(0, bars[0][0] * 1.18)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(length=0)
        panel.set_xticks([])
    chart.suptitle("CPU microseconds per request; less is better", fontsize=11)
    chart.savefig(file, metadata={"Date": None, "Creator": None})


def publish(run):
    """Renews the page, its picture, and the results kept with them; without those of `--before`, a private build."""
    run = {**run, "servers": [name for name in run["servers"] if name != "before"],
           "results": [entry for entry in run["results"] if entry["server"] != "before"]}
    PUBLISHED.write_text(json.dumps(run, indent=1) + "\n")
    # matplotlib is in the virtual environment, and possibly not in this Python.
    words = [VENV / "bin/python", Path(__file__).resolve(), "--load", PUBLISHED, "--draw", PICTURE]
    subprocess.run(words, check=True)
    PAGE.write_text(page_with(run, PAGE.read_text()))


def publish_threads(run):
    """Renews the table of servers with threads, and the results kept with it."""
    PUBLISHED_THREADS.write_text(json.dumps(run, indent=1) + "\n")
    PAGE.write_text(page_with_threads(run, PAGE.read_text()))


def measured_run(options):
    """Measures as the options say."""
    if not shutil.which("wrk"):
        sys.exit("compare.py: wrk is not installed; hint: apt-get install wrk")
    for executable in [options.rcorn] + [options.before] * bool(options.before):
        if not executable.exists():
            sys.exit(f"compare.py: there is no {executable}; hint: cargo build --release")
    failed = environment()
    reasons = {(name, ""): failed[package] for name in options.servers if (package := PACKAGES.get(name, name)) in failed}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        (Path(folder) / "static").write_bytes(b"s" * 1048576)
        results = compare(options, reasons, Path(folder))
    return describe(results, reasons, options)


def names(known):
    """A type for argparse: names of `known`, with commas between."""
    def read(text):
        words = text.split(",")
        if strangers := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(strangers)}; known: {', '.join(known)}")
        return words
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=names(SERVERS), help=",".join(SERVERS))
    parser.add_argument("--cells", type=names(CELLS), help=",".join(CELLS))
    parser.add_argument("--threads", action="store_true", help="servers with threads: " + ",".join(THREADED_SERVERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=3, help="seconds per round")
    parser.add_argument("--rcorn", type=Path, default=ROOT / "target/release/rcorn")
    parser.add_argument("--before", type=Path, metavar="RCORN", help="another rcorn executable, measured as `before`")
    parser.add_argument("--load", type=Path, metavar="JSON", help="read the results of a run instead of measuring")
    parser.add_argument("--save", type=Path, metavar="JSON", help="write the results to this file")
    parser.add_argument("--out", type=Path, metavar="MD", help="write the report to this file, too")
    parser.add_argument("--draw", type=Path, metavar="SVG", help="draw the picture; needs matplotlib")
    parser.add_argument("--publish", action="store_true", help=f"renew {PAGE.relative_to(ROOT)} and its picture")
    parser.add_argument("--check", action="store_true", help="only check that the page shows the published results")
    options = parser.parse_args()
    options.servers = options.servers or (THREADED_SERVERS if options.threads else USUAL_SERVERS)
    options.cells = options.cells or (THREADED_CELLS if options.threads else USUAL_CELLS)
    if options.check:
        page = PAGE.read_text()
        right = page_with_threads(json.loads(PUBLISHED_THREADS.read_text()), page_with(json.loads(PUBLISHED.read_text()), page))
        stale = right != page
        sys.exit("compare.py: the page differs; hint: compare.py --load tests/bench/published.json --publish" if stale else 0)
    if options.before:
        SERVERS["before"] = SERVERS["rcorn"].replace("{rcorn}", str(options.before.resolve()))
        options.servers.insert(options.servers.index("rcorn") + 1 if "rcorn" in options.servers else 0, "before")
    run = json.loads(options.load.read_text()) if options.load else measured_run(options)
    if options.draw:
        draw(run, options.draw)
        return
    print(report(run), end="")
    if options.out:
        options.out.write_text(report(run))
    if options.save:
        options.save.write_text(json.dumps(run, indent=1) + "\n")
    if options.publish and options.threads:
        publish_threads(run)
    elif options.publish:
        environment()
        publish(run)


if __name__ == "__main__":
    main()
