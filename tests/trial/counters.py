#!/usr/bin/env python3
"""Counters under load: python3 tests/trial/counters.py [--recycles 1000] [--threads 1] [--server target/release/rcorn]

Clients send requests of every outcome and count what they send and receive, while workers leave after 100 requests each,
the server is reloaded ten times and upgraded in place once. Somebody scrapes /metrics all the time. No series may fall or go
away, and at the end each counter must equal what the clients have counted."""

import argparse
import collections
import http.client
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS, WORKERS, RELOADS, REQUESTS_EACH = 8, 4, 10, 100
SCRAPE_SECONDS = 0.05
STEP_SECONDS = 60
KINDS = {
    "small": b"GET /size/20 HTTP/1.1\r\nHost: a\r\n\r\n",
    "large": b"GET /size/70000 HTTP/1.1\r\nHost: a\r\n\r\n",
    "posted": b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + 3000 * b"x",
    "missing": b"GET /missing HTTP/1.1\r\nHost: a\r\n\r\n",
    "moved": b"GET /moved HTTP/1.1\r\nHost: a\r\n\r\n",
    "raises": b"GET /raises HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "bad length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "health": b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
}
STATUS = {"missing": 404, "moved": 301, "raises": 500, "no host": 400, "bad length": 400}
# Counted apart from the requests that the app is called for.
NOT_FOR_THE_APP = ("no host", "bad length", "health")
WEIGHTS = {"small": 60, "large": 4, "posted": 6}


def app(environ, start_response):
    """The app of this trial."""
    kind, _, size = environ["PATH_INFO"][1:].partition("/")
    if kind == "raises":
        raise ValueError("asked to")
    status = {"missing": "404 Not Found", "moved": "301 Moved Permanently"}.get(kind, "200 OK")
    body = b"y" * int(size or 10)
    if kind == "read":
        body = b"%d" % len(environ["wsgi.input"].read())
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Client(threading.Thread):
    """Sends one request after the other, many of them on one connection, and counts."""

    def __init__(self, address, seed):
        super().__init__(daemon=True)
        self.address, self.random = address, random.Random(seed)
        self.counts, self.problems = collections.Counter(), []
        self.is_over, self.socket = False, None

    def run(self):
        kinds = list(KINDS)
        weights = [WEIGHTS.get(kind, 2) for kind in kinds]
        while not self.is_over:
            kind = self.random.choices(kinds, weights)[0]
            try:
                self.ask(kind)
            except (OSError, ValueError) as problem:
                self.problems.append(f"{kind}: {problem!r}")
                self.drop()
            if self.random.random() < 0.1:
                self.drop()
        self.drop()

    def drop(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def ask(self, kind):
        # The server may have closed it: a request that was not sent is not lost.
        if self.socket and select.select([self.socket], [], [], 0)[0]:
            self.drop()
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=30)
            self.counts["connections"] += 1
        self.socket.sendall(KINDS[kind])
        self.counts["received"] += len(KINDS[kind])
        status, body, closes = self.receive()
        if status != STATUS.get(kind, 200):
            raise ValueError(f"status {status}")
        self.counts[kind] += 1
        if kind != "health":
            self.counts["sent"] += body
            self.counts[f"{status // 100}xx"] += 1
        if closes:
            self.drop()

    def receive(self):
        """Reads a response: its status, the length of its body, and whether the connection ends."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, _, body = data.partition(b"\r\n\r\n")
        line, *fields = head.lower().split(b"\r\n")
        fields = dict(field.split(b": ", 1) for field in fields)
        length = int(fields[b"content-length"])
        got = len(body)
        while got < length:
            got += len(self.more())
        if got > length:
            raise ValueError(f"{got} bytes instead of {length}")
        return int(line.split()[1]), length, fields.get(b"connection") == b"close"

    def more(self):
        data = self.socket.recv(1 << 17)
        if not data:
            raise ConnectionError("closed before the end of the response")
        return data


class Scraper:
    """Reads /metrics, and knows what it said before."""

    def __init__(self, address):
        self.address, self.last, self.problems, self.scrapes = address, {}, [], 0

    def scrape(self):
        """All series; none while the address is being handed over."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        now = {series: float(value) for series, _, value in lines}
        for series, value in self.last.items():
            name = series.partition("{")[0]
            if name.endswith(("_total", "_bucket", "_sum", "_count")) and not now.get(series, -1) >= value:
                self.problems.append(f"{series} went from {value} to {now.get(series)}")
        self.last, self.scrapes = now, self.scrapes + 1
        return now

    def wait(self, what, holds, process):
        """Scrapes until `holds` is true of the series."""
        end = time.monotonic() + STEP_SECONDS
        while True:
            try:
                if holds(self.scrape()):
                    return
            except (ConnectionError, http.client.HTTPException) as problem:
                refused = problem
            else:
                refused = None
            if process.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"waited in vain until {what}: {refused or 'it does not hold'}")
            time.sleep(SCRAPE_SECONDS)


def of(series, name, **labels):
    """The value of a series; of all with this name, if it has labels and none are given."""
    if labels:
        return series.get(name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}", 0)
    return sum(value for key, value in series.items() if key.partition("{")[0] == name)


def recycled(series):
    return of(series, "rcorn_worker_ends_total", reason="max_requests")


def expected(counts):
    """What the counters must be: a function of the series, and the number, by a name for people."""
    app_calls = sum(counts[kind] for kind in KINDS if kind not in NOT_FOR_THE_APP)
    refused = counts["no host"] + counts["bad length"]
    plain = {
        "rcorn_requests_total": app_calls,
        "rcorn_request_duration_seconds_count": app_calls,
        "rcorn_queue_wait_seconds_count": app_calls,
        "rcorn_accepted_connections_total": counts["connections"],
        "rcorn_received_bytes_total": counts["received"],
        "rcorn_sent_body_bytes_total": counts["sent"],
        "rcorn_app_errors_total": counts["raises"],
        "rcorn_health_checks_total": counts["health"],
        "rcorn_refused_requests_total": refused,
        "rcorn_responses_total": app_calls + refused,
        "rcorn_client_disconnects_total": 0,
    }
    table = {name: (lambda series, name=name: of(series, name), value) for name, value in plain.items()}
    labelled = [("responses", "class", status, counts[status]) for status in ("2xx", "3xx", "4xx", "5xx")]
    labelled += [
        ("refusals", "reason", "host", counts["no host"]),
        ("refusals", "reason", "framing", counts["bad length"]),
        # The upgrade is a reload, too.
        ("reloads", "outcome", "done", RELOADS + 1),
        ("upgrades", "kind", "in_place", 1),
    ]
    for name, label, which, value in labelled:
        name = f"rcorn_{name}_total"
        table[f"{name}{{{label}={which}}}"] = (
            lambda series, name=name, labels={label: which}: of(series, name, **labels), value)
    return table


def differences(series, counts):
    for name, (read, value) in expected(counts).items():
        if read(series) != value:
            yield f"{name} is {read(series):.0f}, clients have counted {value}"
    # The first worker of each generation becomes its template.
    reasons = ("max_requests", "reload", "promoted")
    ends = {reason: of(series, "rcorn_worker_ends_total", reason=reason) for reason in reasons}
    if sum(ends.values()) != of(series, "rcorn_worker_ends_total"):
        yield f"workers have ended for another reason than {ends}"
    if of(series, "rcorn_worker_starts_total") != sum(ends.values()) + WORKERS:
        yield f"{of(series, 'rcorn_worker_starts_total'):.0f} workers were started, {WORKERS} serve after {ends}"


class Trial:
    def __init__(self, options, folder):
        self.options, self.log = options, folder / "server.log"
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        with socket.create_server(("127.0.0.1", 0)) as free:
            status = free.getsockname()
        command = [
            options.server, "--bind", f"fd://{listener.fileno()}", "-w", str(WORKERS), "--threads", str(options.threads),
            "--max-requests", str(REQUESTS_EACH), "--reload-watch", "0.1", "--upgrade", "in-place", "--chdir", HERE,
            "--python", sys.executable, "--status-bind", "%s:%d" % status, "--health-path", "/health", "counters:app",
        ]
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listener.fileno()])
        self.scraper = Scraper(status)
        self.clients = [Client(listener.getsockname(), seed) for seed in range(CLIENTS)]
        listener.close()

    def run(self):
        self.wait("it serves", lambda series: of(series, "rcorn_workers_serving") == WORKERS)
        for client in self.clients:
            client.start()
        changes = [signal.SIGHUP] * RELOADS
        changes.insert(RELOADS // 2, signal.SIGUSR2)
        for number, change in enumerate(changes, 1):
            self.recycle(self.options.recycles * number // (len(changes) + 1))
            self.change(change, number)
        self.recycle(self.options.recycles)
        for client in self.clients:
            client.is_over = True
        for client in self.clients:
            client.join(35)
        counts = sum((client.counts for client in self.clients), collections.Counter())
        # A worker counts a request after its client has the answer, and leaves after its last one.
        try:
            self.wait("all is counted", lambda series: not any(differences(series, counts)))
        except TimeoutError:
            pass
        return self.report(counts)

    def change(self, order, number):
        """Gives an order, and waits until this many reloads are done. An upgrade that finds the workers changing too fast
        is refused, and tried again."""
        def refused(series):
            return of(series, "rcorn_upgrades_total", kind="failed")

        before = refused(self.scraper.last)
        self.server.send_signal(order)
        self.wait(f"reload {number} is done", lambda series: of(series, "rcorn_reloads_total", outcome="done") == number
                  or refused(series) > before)
        if refused(self.scraper.last) > before:
            self.change(order, number)

    def recycle(self, count):
        self.wait(f"{count} workers were recycled", lambda series: recycled(series) >= count)

    def wait(self, what, holds):
        self.scraper.wait(what, holds, self.server)

    def stop(self):
        self.server.terminate()
        try:
            return self.server.wait(60)
        except subprocess.TimeoutExpired:
            self.server.kill()
            return None

    def report(self, counts):
        series, code = self.scraper.last, self.stop()
        for name, (read, value) in expected(counts).items():
            print(f"{name:46} {read(series):12.0f} {value:12}")
        refused = of(series, "rcorn_upgrades_total", kind="failed")
        print(f"{recycled(series):.0f} workers recycled; {self.scraper.scrapes} scrapes; the upgrade was refused {refused:.0f} "
              f"times before; exit code {code}")
        problems = self.scraper.problems + list(differences(series, counts))
        for client in self.clients:
            problems += client.problems
        for problem in problems[:20]:
            print(f"WRONG: {problem}")
        return not problems and code == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=ROOT / "target/release/rcorn", type=pathlib.Path)
    parser.add_argument("--recycles", default=1000, type=int)
    parser.add_argument("--threads", default=1, type=int)
    options = parser.parse_args()
    options.server = options.server.resolve()
    with tempfile.TemporaryDirectory(prefix="counters-") as folder:
        trial = Trial(options, pathlib.Path(folder))
        try:
            is_right = trial.run()
        finally:
            if trial.server.poll() is None:
                trial.stop()
            kept = pathlib.Path(tempfile.gettempdir()) / f"counters-{os.getpid()}.log"
            kept.write_bytes(trial.log.read_bytes())
        if is_right:
            kept.unlink()
        else:
            print(f"its log: {kept}")
    print("passed" if is_right else "FAILED")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
