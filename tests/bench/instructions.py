#!/usr/bin/env python3
"""Counts rcorn's user-space instructions per request, including those of the app. callgrind counts the same every time,
which a clock does not. Needs valgrind, and a release build in target/release/rcorn: nothing is built.

    python3 tests/bench/instructions.py                      # all cells
    python3 tests/bench/instructions.py --functions 30 minimal   # and the most expensive functions
    python3 tests/bench/instructions.py --check minimal browser  # compare with instructions.txt, as the tests do
    python3 tests/bench/instructions.py --bless                  # write the checked cells to instructions.txt

One server runs for all cells of an app with the same settings. callgrind dumps its counts and starts again whenever the worker accepts a
connection; two connections in a row show what that costs. Requests arrive in bursts on many connections while the worker
sleeps. For a request that arrives alone, it is a matter of chance whether the worker sleeps before it, which costs more;
in the cell minimal-alone each request arrives alone.

Under callgrind requests are so slow that responses would wait for each other (src/connection/coalesce.rs), which they do
not otherwise. A pause in each burst prevents that. Other work that depends on the clock (the I/O thread looks at a worker
that takes long) adds to a count, more so on a busy machine: so each cell is counted several times, and the least count
is used.

Counting, measuring and logging must cost little: --check compares the cells in SHARES with minimal.

The difference between minimal, browser (the same fields in each request) and browser-changing (different fields) is the
cost of building the environ; the difference between fields10 and minimal is the cost of response fields.
"""
import argparse
import bisect
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLE = HERE / "instructions.txt"
SLACK = 1.03
LIMITS = {"minimal": 7000, "browser": 9000}
# How many times the instructions of minimal a cell may take. Of what an id costs, half is CPython's: a str and its place in
# the environ. A line of the access log as JSON costs about half of a write(2), which takes many to the file.
SHARES = {"metered": 1.03, "everything": 1.18, "access-json": 1.4}
CONNECTIONS, WARM, COUNTED = 50, 500, 500
ROUNDS = 4

BROWSER = (
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=abcdefghijklmnop; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
)
# What watches requests without a part in them; datagrams to a port that nobody reads are dropped.
STATSD = ["--statsd-host", "127.0.0.1:9"]
METERED = ["--status-bind", "127.0.0.1:0", *STATSD, "--slow-request", "60", "--health-path", "/healthz"]
EVERYTHING = [*METERED, "--request-id", "on"]
ACCESS = ["--access-logfile", os.devnull]
# name: (app, the n-th request), and the arguments of the server unless there are none.
CELLS = {
    "minimal": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "minimal-alone": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "browser": ("hello", lambda n: f"GET /index.html?x=1 HTTP/1.1\r\n{BROWSER}\r\n"),
    "browser-changing": ("hello", lambda n: f"GET /index.html?x=1 HTTP/1.1\r\n{BROWSER}X-Turn: {n:06}\r\n\r\n"),
    "statsd": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", STATSD),
    "metered": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", METERED),
    "everything": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", EVERYTHING),
    "access": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ACCESS),
    "access-json": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [*ACCESS, "--access-logformat", "json"]),
    "fields10": ("app", lambda n: "GET /fields HTTP/1.1\r\nHost: a\r\n\r\n"),
    "post64k": ("app", lambda n: "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + 65536 * "a"),
    "chunks20": ("app", lambda n: "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n"),
}
# Of apps that need packages: tests/bench/versions.py counts them.
CELLS_OF_FRAMEWORKS = {
    "flask": ("flask_page:app", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "django": ("django_page:app", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
}


class Server:
    """rcorn with one worker, whose Python runs under callgrind."""

    def __init__(self, rcorn, python, app, arguments, folder):
        self.out = folder
        self.out.mkdir()
        valgrind = shutil.which("valgrind") or sys.exit("instructions.py: no valgrind; hint: apt-get install valgrind")
        # The name tells rcorn whether it has a GIL. If it had to be asked, callgrind would lose it.
        wrapper = self.out / Path(python).resolve().name
        # Options go into VALGRIND_OPTS because rcorn overwrites the arguments with its title.
        wrapper.write_text(
            "#!/bin/sh\nexport PYTHONHASHSEED=0 VALGRIND_OPTS="
            f"'-q --callgrind-out-file={self.out}/out.%p --dump-before=accept4'\n"
            f"exec {valgrind} --tool=callgrind {python} \"$@\"\n")
        wrapper.chmod(0o755)
        listener = socket.create_server(("127.0.0.1", 0))
        patience = ["--boot-timeout", "100", "--timeout", "100", "--graceful-timeout", "20"]
        self.log = open(self.out / "log", "w")
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        self.process = subprocess.Popen(
            [rcorn, "--python", wrapper, "-w", "1", "--bind", f"fd://{listener.fileno()}", *patience,
             *arguments, "--chdir", HERE / "apps", app if ":" in app else f"raw:{app}"],
            env=environ, pass_fds=[listener.fileno()], stdout=self.log, stderr=self.log, start_new_session=True)
        self.address = listener.getsockname()
        listener.close()
        self.connections = []
        self.seen = set()

    def connect(self):
        return socket.create_connection(self.address, timeout=100)

    def receive(self, connection):
        """Reads a response."""
        data = b""
        while True:
            more = connection.recv(1 << 20)
            data += more
            head, end, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            # No body of these apps ends like a last chunk.
            if end and (len(body) >= int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n")):
                break
            if not more:
                raise OSError(f"the server closed the connection after {data[:200]}")
        if not data.startswith(b"HTTP/1.1 200 "):
            raise OSError(f"unexpected response: {data[:200]}")

    def requests(self, request, count, alone):
        """Sends requests on all connections together, or on one, while the worker sleeps."""
        connections = self.connections[:1] if alone else self.connections
        for number in range(0, count, len(connections)):
            self.wait_for("S")
            if not alone:
                # The worker must find all requests together, however slowly they are sent.
                os.kill(int(self.pid), signal.SIGSTOP)
                self.wait_for("T")
            for n, connection in enumerate(connections):
                connection.sendall(request(number + n).encode())
            os.kill(int(self.pid), signal.SIGCONT)
            for n, connection in enumerate(connections):
                self.receive(connection)
                if n == 0 and not alone:
                    self.pause()

    def wait_for(self, state):
        """Waits until the worker is in this state of /proc/PID/stat."""
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != state:
            os.sched_yield()

    def pause(self):
        """Makes one request slow, unless all are answered already; not every pause needs to succeed."""
        os.kill(int(self.pid), signal.SIGSTOP)
        time.sleep(0.002)
        os.kill(int(self.pid), signal.SIGCONT)

    def mark(self, request):
        """Ends a count by opening a connection for one request; returns the count."""
        with self.connect() as connection:
            connection.sendall(request(0).encode())
            self.receive(connection)
        self.dumps = sorted(set(self.out.glob("out.*.*")) - self.seen)
        self.seen.update(self.dumps)
        return sum(self.total(dump) for dump in self.dumps)

    def total(self, dump):
        """The total of a dump. Waits for its end, as another process than the one that answered may be writing it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(r"^(?:summary|totals): (\d+)", dump.read_text(), re.M)
            if found:
                return int(found[1])
            os.sched_yield()
        raise OSError(f"{dump} is incomplete")

    def count(self, request, alone):
        """Instructions per request."""
        self.mark(request)
        self.pid = self.dumps[0].name.split(".")[1]
        while len(self.connections) < CONNECTIONS:
            self.connections.append(self.connect())
        self.requests(request, WARM, alone)
        self.mark(request)
        cost_of_mark = self.mark(request)
        counts = []
        for _ in range(ROUNDS):
            self.requests(request, COUNTED, alone)
            counts.append((self.mark(request) - cost_of_mark) / COUNTED)
        return min(counts)

    def functions(self, module, inclusive):
        """Instructions per request of each function in the last count, most first; `inclusive` adds the functions it calls."""
        symbols = []
        for line in run("nm", "-C", "--defined-only", module).splitlines():
            address, kind, name = line.split(" ", 2)
            if kind in "tTwW":
                symbols.append((int(address, 16), name))
        symbols.sort()
        maps = [line.split() for line in open(f"/proc/{self.pid}/maps") if "/memfd:rcorn" in line]
        base = min(int(line[0].split("-")[0], 16) - int(line[2], 16) for line in maps)
        table = {}
        view = f"--inclusive={'yes' if inclusive else 'no'}"
        for line in run("callgrind_annotate", "--threshold=100", "--auto=no", view, *self.dumps).splitlines():
            found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(?!PROGRAM)(.*)", line)
            if not found:
                continue
            name = found[2]
            place = re.search(r"\?\?\?:0x([0-9a-f]+)", name)
            at = bisect.bisect(symbols, (int(place[1], 16) - base, "~")) - 1 if place else -1
            name = f"rcorn: {symbols[at][1]}" if at >= 0 else re.sub(r".*/", "", name.split(" [")[0])
            table[name] = table.get(name, 0) + int(found[1].replace(",", "")) / COUNTED
        # Functions that were active when the count began include everything, in both views.
        everything = max(table.values())
        return sorted(((name, cost) for name, cost in table.items() if cost < 0.99 * everything), key=lambda entry: -entry[1])

    def stop(self):
        for connection in self.connections:
            connection.close()
        try:
            self.process.terminate()
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout


def version(python):
    """The name of a Python in the table."""
    said = run(python, "-c", "import platform, sys; print(platform.machine(), '%d.%d' % sys.version_info[:2])")
    return "-".join(said.split())


def written():
    """instructions.txt: {(version, cell): instructions}."""
    lines = [line.split() for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return {(of, cell): int(count) for of, cell, count in lines}


def bless(of, counts):
    head = [line for line in TABLE.read_text().splitlines() if line.startswith("#")]
    table = written() | {(of, cell): round(counts[cell]) for cell in LIMITS if cell in counts}
    TABLE.write_text("\n".join(head + [f"{of} {cell} {count}" for (of, cell), count in sorted(table.items())]) + "\n")


def complaints(of, counts):
    """Counts above a limit or the table. Limits are for CPython 3.11 and for Pythons that are not in the table."""
    for cell, limit in LIMITS.items():
        count, known = counts.get(cell, 0), written().get((of, cell))
        if count > limit and (not known or of.endswith("-3.11")):
            yield f"{cell}: {count:.0f} instructions per request exceed the limit of {limit}"
        if known and count > known * SLACK:
            yield (f"{cell}: {count:.0f} instructions per request exceed the {known} in the table for {of}; hint: "
                   "--functions 40 shows where they are spent; --bless accepts them")
    for cell, share in SHARES.items():
        count, base = counts.get(cell, 0), counts.get("minimal", 0)
        if base and count > base * share:
            yield f"{cell}: {count:.0f} instructions per request are {count / base:.3f} of minimal; the limit is {share}"


def server_of(cell):
    """What the server of a cell is started with: the app, and arguments."""
    app, _, *arguments = CELLS[cell]
    return app, tuple(word for words in arguments for word in words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", help=f"{', '.join(CELLS)}; default: all")
    parser.add_argument("--rcorn", default=ROOT / "target/release/rcorn", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="show the N most expensive functions of each cell")
    parser.add_argument("--inclusive", action="store_true", help="include the functions that a function calls")
    parser.add_argument("--module", help="the native module of this rcorn, for names of functions; default: the newest")
    parser.add_argument("--check", action="store_true", help="fail if a count exceeds its limit or the table")
    parser.add_argument("--bless", action="store_true", help="write the counts to the table")
    options = parser.parse_args()
    wanted = options.cells or list(CELLS)
    if unknown := set(wanted) - set(CELLS):
        parser.error(f"unknown cell: {', '.join(unknown)}; known: {', '.join(CELLS)}")
    rcorn = options.rcorn.resolve()
    if not rcorn.exists():
        sys.exit(f"instructions.py: there is no {rcorn}; hint: cargo build --release")
    of = version(options.python)
    counts = {}
    # SIGTERM unwinds as well, so that the server is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        for number, kind in enumerate(dict.fromkeys(server_of(cell) for cell in wanted)):
            out = Path(folder) / str(number)
            server = Server(rcorn, options.python, *kind, out)
            try:
                for cell in wanted:
                    if server_of(cell) != kind:
                        continue
                    counts[cell] = server.count(CELLS[cell][1], cell.endswith("-alone"))
                    print(f"{cell:18} {counts[cell]:9.0f} instructions per request ({of})", flush=True)
                    if options.functions:
                        built = rcorn.parent.glob("build/rcorn-*/out/native/*/release/librcorn_native.so")
                        module = options.module or max(built, key=lambda path: path.stat().st_mtime)
                        for name, cost in server.functions(module, options.inclusive)[:options.functions]:
                            print(f"    {cost:9.1f}  {name[:110]}")
            except OSError as error:
                sys.exit(f"instructions.py: {error}; the server's log:\n{(out / 'log').read_text()}")
            finally:
                server.stop()
    if options.bless:
        bless(of, counts)
    if options.check and (wrong := list(complaints(of, counts))):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
