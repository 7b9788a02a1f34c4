#!/usr/bin/env python3
"""Counts rcorn's instructions a request in user space, the app included: callgrind counts the same each time, where a
clock does not. Needs valgrind. Nothing is built: it takes target/release/rcorn, which should be a real release.

    python3 tests/bench/instructions.py                      # all cells
    python3 tests/bench/instructions.py --functions 30 minimal   # and where they go
    python3 tests/bench/instructions.py --check minimal browser  # against instructions.txt, as the tests do
    python3 tests/bench/instructions.py --bless                  # writes the checked ones to instructions.txt

One server for all cells of an app. Callgrind writes what it has counted, and begins again, whenever the worker accepts
a connection; two connections in a row tell what that costs. The requests come in bursts on many connections while
the worker sleeps: when one comes alone it is a matter of chance whether it does, which costs more. In the cell
minimal-alone each comes alone. Under callgrind they are so slow that replies would wait for each other
(src/http/coalesce.rs), as none of these do where nothing counts; a pause in each burst, after which no reply waits,
keeps them from it. What else depends on the clock (the deputy looks at a worker that takes long) adds to a count, the
more the busier the machine is: each cell is counted several times, and the least holds.

What the environ costs is the difference of minimal, browser (whose fields are those of the request before) and
browser-changing (whose fields are not); what a reply's fields cost, that of fields10 and minimal.
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
# name: (which app, what the n-th request is)
CELLS = {
    "minimal": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "minimal-alone": ("hello", lambda n: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "browser": ("hello", lambda n: f"GET /index.html?x=1 HTTP/1.1\r\n{BROWSER}\r\n"),
    "browser-changing": ("hello", lambda n: f"GET /index.html?x=1 HTTP/1.1\r\n{BROWSER}X-Turn: {n:06}\r\n\r\n"),
    "fields10": ("app", lambda n: "GET /fields HTTP/1.1\r\nHost: a\r\n\r\n"),
    "post64k": ("app", lambda n: "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + 65536 * "a"),
    "chunks20": ("app", lambda n: "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n"),
}


class Server:
    """rcorn with one worker, its Python under callgrind."""

    def __init__(self, rcorn, python, app, folder):
        self.out = folder / app
        self.out.mkdir()
        valgrind = shutil.which("valgrind") or sys.exit("instructions.py: no valgrind; hint: apt-get install valgrind")
        wrapper = self.out / "python"
        # By VALGRIND_OPTS: rcorn writes its title over the arguments.
        wrapper.write_text(
            "#!/bin/sh\nexport PYTHONHASHSEED=0 VALGRIND_OPTS="
            f"'-q --callgrind-out-file={self.out}/out.%p --dump-before=accept4'\n"
            f"exec {valgrind} --tool=callgrind {python} \"$@\"\n")
        wrapper.chmod(0o755)
        listener = socket.create_server(("127.0.0.1", 0))
        patience = ["--boot-timeout", "100", "--timeout", "100", "--graceful-timeout", "20"]
        self.log = open(self.out / "log", "w")
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [rcorn, "--python", wrapper, "-w", "1", "--bind", f"fd://{listener.fileno()}", *patience,
             "--chdir", HERE / "apps", f"raw:{app}"],
            env=environ, pass_fds=[listener.fileno()], stdout=self.log, stderr=self.log, start_new_session=True)
        self.address = listener.getsockname()
        listener.close()
        self.connections = []
        self.seen = set()

    def connect(self):
        return socket.create_connection(self.address, timeout=100)

    def receive(self, connection):
        """Reads a reply."""
        data = b""
        while True:
            more = connection.recv(1 << 20)
            data += more
            head, end, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            # No data of these apps looks like the last chunk.
            if end and (len(body) >= int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n")):
                break
            if not more:
                raise OSError(f"the server has closed the connection after {data[:200]}")
        if not data.startswith(b"HTTP/1.1 200 "):
            raise OSError(f"a wrong reply: {data[:200]}")

    def requests(self, request, count, alone):
        """Makes requests on all connections at once, or on one, while the worker sleeps."""
        connections = self.connections[:1] if alone else self.connections
        for number in range(0, count, len(connections)):
            self.wait_for("S")
            if not alone:
                # So that it finds all of them together, however slowly they come.
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
        """Waits until the worker is in this state, as /proc names it."""
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != state:
            os.sched_yield()

    def pause(self):
        """Makes one request a slow one, unless all have been answered already: some of the pauses are enough."""
        os.kill(int(self.pid), signal.SIGSTOP)
        time.sleep(0.002)
        os.kill(int(self.pid), signal.SIGCONT)

    def mark(self, request):
        """Ends a count, by a new connection with one request, and gives it."""
        with self.connect() as connection:
            connection.sendall(request(0).encode())
            self.receive(connection)
        self.dumps = sorted(set(self.out.glob("out.*.*")) - self.seen)
        self.seen.update(self.dumps)
        return sum(self.total(dump) for dump in self.dumps)

    def total(self, dump):
        """Waits for the end of a dump that is being written: another process than the one that answered may do that."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(r"^(?:summary|totals): (\d+)", dump.read_text(), re.M)
            if found:
                return int(found[1])
            os.sched_yield()
        raise OSError(f"{dump} has no end")

    def count(self, request, alone):
        """Instructions a request."""
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
        """Instructions a request by function, the most first, of the last count; or with all that they call."""
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
        # What was being called when the count began is shown with everything, in both views.
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
    """What the table calls a Python."""
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
    """What is wrong with these counts. The limits are for CPython 3.11, and for those that are not in the table."""
    for cell, limit in LIMITS.items():
        count, known = counts.get(cell, 0), written().get((of, cell))
        if count > limit and (not known or of.endswith("-3.11")):
            yield f"{cell}: {count:.0f} instructions a request, the limit is {limit}"
        if known and count > known * SLACK:
            yield (f"{cell}: {count:.0f} instructions a request, {known} are written down for {of}; hint: "
                   "instructions.py --functions 40 shows where they go; if it must be, --bless, and say why")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", help=f"which of {', '.join(CELLS)}; all without")
    parser.add_argument("--rcorn", default=ROOT / "target/release/rcorn", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="the N most expensive functions of each cell")
    parser.add_argument("--inclusive", action="store_true", help="functions with all that they call")
    parser.add_argument("--module", help="the native module of this rcorn, for the functions' names; the newest without")
    parser.add_argument("--check", action="store_true", help="fail when a limit or the number written down is exceeded")
    parser.add_argument("--bless", action="store_true", help="write the numbers down")
    options = parser.parse_args()
    wanted = options.cells or list(CELLS)
    if unknown := set(wanted) - set(CELLS):
        parser.error(f"no such cell: {', '.join(unknown)}; there are {', '.join(CELLS)}")
    rcorn = options.rcorn.resolve()
    if not rcorn.exists():
        sys.exit(f"instructions.py: there is no {rcorn}; hint: cargo build --release")
    of = version(options.python)
    counts = {}
    # SIGTERM unwinds too, so that the server is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        for app in dict.fromkeys(CELLS[cell][0] for cell in wanted):
            server = Server(rcorn, options.python, app, Path(folder))
            try:
                for cell in wanted:
                    if CELLS[cell][0] != app:
                        continue
                    counts[cell] = server.count(CELLS[cell][1], cell.endswith("-alone"))
                    print(f"{cell:18} {counts[cell]:9.0f} instructions a request ({of})", flush=True)
                    if options.functions:
                        built = rcorn.parent.glob("build/rcorn-*/out/native/*/release/librcorn_native.so")
                        module = options.module or max(built, key=lambda path: path.stat().st_mtime)
                        for name, cost in server.functions(module, options.inclusive)[:options.functions]:
                            print(f"    {cost:9.1f}  {name[:110]}")
            except OSError as error:
                sys.exit(f"instructions.py: {error}; the server's log:\n{(Path(folder) / app / 'log').read_text()}")
            finally:
                server.stop()
    if options.bless:
        bless(of, counts)
    if options.check and (wrong := list(complaints(of, counts))):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
