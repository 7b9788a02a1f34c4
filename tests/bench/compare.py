#!/usr/bin/env python3
"""Compares rcorn with other WSGI servers, side by side: python3 tests/bench/compare.py

The figure to look at is CPU time (user and system, of the server's whole process tree) per completed request; requests/s
stand beside it. One worker, on a CPU of its own when there are two; each round visits every server before the next round
begins, so that what drifts on the machine hits all alike. Compare within one run: differences under 15 % mean little.

Needs wrk. Makes a virtual environment with requirements.txt under target/; of rcorn it takes target/release/rcorn as it
is (cargo build --release). A server that gives a wrong answer is left out of that cell, with the reason.
"""
import argparse
import datetime
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
    """What is asked for."""

    path: str = "/"
    size: int = 13
    app: str = "raw:app"
    connections: int = 16
    fields: tuple = ()
    post: int = 0
    # The app's answer has a close() that the server must call.
    close: bool = False


CELLS = {
    "hello": Cell(),
    "hello-close": Cell(fields=("Connection: close",)),
    "hello-one": Cell(connections=1),
    "hello-browser": Cell(fields=BROWSER),
    "10k": Cell("/10k", 10240),
    "1m": Cell("/1m", 1048576),
    "post64k": Cell("/post", 5, post=65536),
    "chunks20": Cell("/chunks", 20480, close=True),
    "static1m": Cell("/static", 1048576, close=True),
    "flask": Cell(app="flask_page:app", size=28, close=True),
    "django": Cell(app="django_page:app", close=True),
}
# Words of the command line; {app}, {port}, {bin} of the environment, {rcorn}.
SERVERS = {
    "rcorn": "{rcorn} --python {bin}/python -w 1 -b 127.0.0.1:{port} --log-level error {app}",
    "gunicorn": "{bin}/gunicorn -w 1 -b 127.0.0.1:{port} --log-level error {app}",
    "gunicorn-gthread": "{bin}/gunicorn -k gthread --threads 4 -w 1 -b 127.0.0.1:{port} --log-level error {app}",
    "granian": "{bin}/granian --interface wsgi --http 1 --no-ws --host 127.0.0.1 --port {port} --workers 1 --log-level error {app}",
    # It closes after each answer without saying so.
    "uwsgi": "{bin}/uwsgi --master --processes 1 --http-socket 127.0.0.1:{port} --add-header Connection:close --module {app} "
             "--need-app --disable-logging --die-on-term --listen 1024 --virtualenv {bin}/..",
    "bjoern": "{bin}/python launch.py bjoern {app} {port}",
    "fastwsgi": "{bin}/python -W ignore launch.py fastwsgi {app} {port}",
}
PACKAGES = {"gunicorn-gthread": "gunicorn", "uwsgi": "uWSGI"}


class Wrong(Exception):
    """Why a server cannot be measured."""


def note(*words):
    print(*words, file=sys.stderr, flush=True)


# What is needed


def environment():
    """Makes the virtual environment; gives {package that could not be installed: why}. What failed is tried again."""
    wanted, mark, failed = (HERE / "requirements.txt").read_text(), VENV / "installed.txt", {}
    if mark.exists() and mark.read_text() == wanted:
        return failed
    note(f"making {VENV}")
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
    """{pid: (parent, ticks of its own and of the children it has waited for)}."""
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
    """Seconds that all CPUs have worked."""
    ticks = [int(word) for word in open("/proc/stat").readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICK


class Server:
    """A server under test, with one app."""

    def __init__(self, name, app, rcorn, folder):
        self.name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [word.format(app=app, port=self.port, bin=VENV / "bin", rcorn=rcorn) for word in SERVERS[name].split()]
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
            except (OSError, Wrong):
                time.sleep(0.02)
        last = self.log.read_text().strip().splitlines()[-1:]
        raise Wrong(f"does not start: {' '.join(last)[:150]}")

    def ask(self, cell):
        """The body of an answer, and whether the server closes the connection after it."""
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
                    raise Wrong(f"answers {status!r}")
                if "content-length" in known:
                    body = stream.read(int(known["content-length"]))
                elif known.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(stream.readline(), 16):
                        body += stream.read(size)
                        stream.readline()
                    stream.readline()
                else:
                    raise Wrong("the end of the body is known by the connection's end alone, which wrk cannot count")
                if "Connection: close" in cell.fields:
                    connection.settimeout(1)
                    if known.get("connection") != "close" or stream.read(1):
                        raise Wrong("does not do as Connection: close says")
        return body

    def check(self, cell):
        """A right answer, and what PEP 3333 demands of it."""
        try:
            body = self.ask(cell)
            if cell.size != len(body) or cell.post and body != b"%d" % cell.post:
                raise Wrong(f"{len(body)} bytes came instead of {cell.size}")
            if cell.app == "raw:app" and cell.close:
                before = int(self.ask(Cell("/closed")))
                self.ask(Cell("/closing"))
                if int(self.ask(Cell("/closed"))) != before + 1:
                    raise Wrong("does not call close(), as PEP 3333 demands: what it does not do takes no time")
        except (OSError, ValueError) as error:
            raise Wrong(f"{type(error).__name__}: {error}") from error

    def seconds(self):
        known = processes()
        return sum(known[pid][1] for pid in family(self.process.pid, known)) / TICK

    def measure(self, cell, duration):
        """CPU microseconds a request, requests/s, and how much others worked meanwhile, in CPUs."""
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
            raise Wrong(f"no request was completed: {done.stdout.strip()[-120:]}")
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
            # Those that left the group; an orphan's parent is another, so no stranger's pid is meant.
            if pid in after and after[pid][0] in (1, self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait()


# The table


def compare(options, reasons, folder):
    """{(server, cell): rounds}; what is left out goes to `reasons`."""
    results = {}
    for app in dict.fromkeys(CELLS[cell].app for cell in options.cells):
        running = []
        try:
            for name in options.servers:
                if (name, "") in reasons:
                    continue
                running.append(server := Server(name, app, options.rcorn.resolve(), folder))
                try:
                    server.wait()
                except Wrong as wrong:
                    reasons[name, app] = str(wrong)
                    running.pop().stop()
            for cell in (cell for cell in options.cells if CELLS[cell].app == app):
                good = []
                for server in running:
                    try:
                        server.check(CELLS[cell])
                        # Not counted: it warms caches.
                        server.measure(CELLS[cell], 1)
                        good.append(server)
                    except Wrong as wrong:
                        reasons[server.name, cell] = str(wrong)
                for number in range(options.rounds):
                    note(f"{cell}, round {number + 1} of {options.rounds}")
                    for server in good:
                        results.setdefault((server.name, cell), []).append(server.measure(CELLS[cell], options.duration))
        finally:
            for server in running:
                server.stop()
    # close() is the server's affair, whatever the app: what is seen with the raw app holds for the frameworks.
    for name in options.servers:
        silent = [why for (server, _), why in reasons.items() if server == name and "close()" in why]
        for cell in options.cells if silent else ():
            if CELLS[cell].close and results.pop((name, cell), None):
                reasons[name, cell] = silent[0]
    return results


def table(results, options, which, digits):
    lines = ["| server | " + " | ".join(options.cells) + " |", "|---" * (len(options.cells) + 1) + "|"]
    for name in (name for name in options.servers if any(server == name for server, _ in results)):
        row = [name]
        for cell in options.cells:
            values = [measured[which] for measured in results.get((name, cell), ())]
            row.append(f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})" if values else "-")
        lines.append("| " + " | ".join(row) + " |")
    return lines


def report(results, reasons, options):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    wrk = subprocess.run(["wrk", "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.split("\n")[0]
    own = subprocess.run([options.rcorn.resolve(), "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    foreign = [measured[2] for rounds in results.values() for measured in rounds] or [0.0]
    place = "the server on one, wrk on another" if len(CPUS) > 1 else "the server and wrk on the same"
    lines = [
        "# WSGI servers side by side", "",
        f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, {model[1] if model else platform.machine()}, "
        f"{len(CPUS)} CPUs ({place}), Linux {platform.release()}",
        f"- Python {platform.python_version()}; {own}; {versions()}; {wrk.split(' Copy')[0]}",
        f"- {options.rounds} interleaved rounds of {options.duration} s; median (least-most)",
        f"- foreign load during the rounds: median {statistics.median(foreign):.2f} CPUs, at most {max(foreign):.2f}"
        + (": **a noisy run**" if statistics.median(foreign) > 0.25 else ""),
        "", "## CPU microseconds a request", "", *table(results, options, 0, 1),
        "", "## Requests a second", "", *table(results, options, 1, 0)]
    if reasons:
        lines += ["", "## Left out", ""] + [f"- {' '.join((name, where)).strip()}: {why}" for (name, where), why in reasons.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda known: lambda text: [word if word in known else parser.error(f"no such: {word}; there are {', '.join(known)}")
                                         for word in text.split(",")]
    parser.add_argument("--servers", type=listed(SERVERS), default=list(SERVERS), help=",".join(SERVERS))
    parser.add_argument("--cells", type=listed(CELLS), default=list(CELLS), help=",".join(CELLS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=3, help="seconds of one round")
    parser.add_argument("--rcorn", type=Path, default=ROOT / "target/release/rcorn")
    parser.add_argument("--out", type=Path, help="writes the Markdown here too")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("compare.py: there is no wrk; hint: apt-get install wrk")
    if "rcorn" in options.servers and not options.rcorn.exists():
        sys.exit(f"compare.py: there is no {options.rcorn}; hint: cargo build --release")
    failed = environment()
    reasons = {(name, ""): failed[package] for name in options.servers if (package := PACKAGES.get(name, name)) in failed}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        (Path(folder) / "static").write_bytes(b"s" * 1048576)
        text = report(compare(options, reasons, Path(folder)), reasons, options)
    print(text, end="")
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
