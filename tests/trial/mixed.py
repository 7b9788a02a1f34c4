#!/usr/bin/env python3
"""Mixed load on workers with threads: python3 tests/trial/mixed.py [--minutes 10] [--server target/release/rcorn]

Clients send requests that wait, compute, stream, upload and download, on connections that they keep, and check each reply
byte by byte. Meanwhile the server is reloaded six times, upgraded in place twice, and workers are killed. At the end it is
stopped. Nothing may be wrong, and nothing lost but what a killed worker had: the requests of its threads, and those that its
connections had just sent.

With --before another build serves first, with one thread: it may be one that knows no more. The first upgrade puts the new
build in its place and `threads` into the configuration."""

import argparse
import http.client
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import mixed_app

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS = 24
RELOADS, UPGRADES, KILLS = 6, 2, 4
# How long after a kill a request may be lost with the worker.
OF_KILL_SECONDS = 2


def expected(kind, number, body):
    """The body of the right reply."""
    block = mixed_app.block
    if kind == "echo":
        return body
    if kind == "wait":
        return block(number, 200)
    if kind == "compute":
        return mixed_app.compute(number)
    if kind == "stream":
        return b"".join(block(number + part, 500) for part in range(8))
    if kind == "file":
        return b"0123456789abcdef" * 16384
    if kind == "write":
        return block(number, 700) + block(number + 1, 300) + block(number + 2, 100)
    return block(number, 40)


class Client(threading.Thread):
    """Sends one request after the other, most of them on one connection."""

    def __init__(self, trial, seed):
        super().__init__(daemon=True)
        self.trial, self.random, self.connection = trial, random.Random(seed), None

    def run(self):
        while not self.trial.is_over:
            kind = self.random.choice(("quick", "quick", "wait", "wait", "compute", "echo", "stream", "file", "write"))
            number = self.random.randrange(1 << 30)
            body = mixed_app.block(number, self.random.choice((1, 1000, 100_000))) if kind == "echo" else None
            began = time.monotonic()
            try:
                right = self.ask(kind, number, body)
            except (OSError, http.client.HTTPException) as problem:
                self.drop()
                if self.trial.is_over:
                    return
                self.trial.note_lost(f"{kind}/{number}: {problem!r}")
                continue
            self.trial.note(kind, right, time.monotonic() - began, f"{kind}/{number}")
            if self.random.random() < 0.02:
                self.drop()

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self, kind, number, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.trial.port, timeout=30)
        self.connection.request("POST" if body else "GET", f"/{kind}/{number}", body)
        reply = self.connection.getresponse()
        got = reply.read()
        worker, thread = reply.getheader("X-Worker"), reply.getheader("X-Thread")
        if worker:
            self.trial.note_thread(worker, thread)
        if reply.will_close:
            self.drop()
        return reply.status == 200 and got == expected(kind, number, body)


class Trial:
    def __init__(self, options, folder):
        self.options, self.log = options, folder / "server.log"
        self.lock = threading.Lock()
        self.is_over = False
        self.answered, self.wrong, self.lost, self.kills = {}, [], [], []
        self.times, self.seen = [], {}
        self.port = free_port()
        self.program, self.configuration = folder / "rcorn", folder / "gunicorn.conf.py"
        self.is_old = options.before is not None
        self.install(options.before or options.server, 1 if self.is_old else options.threads)
        command = [self.program, "-c", self.configuration, "-w", str(options.workers), "--upgrade", "in-place",
                   "-b", f"127.0.0.1:{self.port}", "--chdir", HERE, "--python", sys.executable, "--reload-watch", "1",
                   "mixed_app:app"]
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def install(self, build, threads):
        """Puts a build and its number of threads in place."""
        draft = self.program.with_suffix(".draft")
        shutil.copy(build, draft)
        draft.rename(self.program)
        self.configuration.write_text(f"threads = {threads}\n")

    def note(self, kind, is_right, took, what):
        with self.lock:
            self.answered[kind] = self.answered.get(kind, 0) + 1
            if kind == "quick":
                self.times.append(took)
            if not is_right:
                self.wrong.append(what)

    def note_lost(self, what):
        with self.lock:
            self.lost.append((time.monotonic(), what))

    def note_thread(self, worker, thread):
        with self.lock:
            self.seen.setdefault(int(worker), set()).add(thread)

    def workers(self):
        """The workers that answer right just now."""
        with self.lock:
            self.seen = {}
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.5)
            with self.lock:
                if len(self.seen) >= self.options.workers:
                    return sorted(self.seen)
        raise TimeoutError(f"only {sorted(self.seen)} of {self.options.workers} workers answer")

    def check_threads(self):
        """Each worker has answered with several threads, if it has them."""
        if self.options.threads > 1 and not self.is_old:
            with self.lock:
                idle = [worker for worker, threads in self.seen.items() if len(threads) < 2]
            if idle:
                raise ValueError(f"only one thread of {idle} has answered")

    def events(self):
        events = [self.reload] * RELOADS + [self.upgrade] * (UPGRADES - 1) + [self.kill] * KILLS
        random.Random(1).shuffle(events)
        return [self.upgrade, *events]

    def reload(self):
        self.change(signal.SIGHUP)

    def upgrade(self):
        if self.is_old:
            self.is_old = False
            self.install(self.options.server, self.options.threads)
        self.change(signal.SIGUSR2)

    def change(self, order):
        """Gives an order after which no old worker answers."""
        old = set(self.workers())
        self.server.send_signal(order)
        end = time.monotonic() + 60
        while set(self.workers()) & old:
            if time.monotonic() > end:
                raise TimeoutError(f"{order.name} has not replaced {old}")

    def kill(self):
        worker = self.workers()[0]
        self.check_threads()
        with self.lock:
            self.kills.append(time.monotonic())
        os.kill(worker, signal.SIGKILL)
        self.workers()

    def run(self):
        wait_until_open(self.port, self.server)
        clients = [Client(self, seed) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        events = self.events()
        pause = self.options.minutes * 60 / (len(events) + 1)
        began = time.monotonic()
        try:
            for number, event in enumerate(events, 1):
                time.sleep(max(0.0, began + pause * number - time.monotonic()))
                event()
            time.sleep(max(0.0, began + self.options.minutes * 60 - time.monotonic()))
        finally:
            self.is_over = True
            for client in clients:
                client.join(35)
            self.server.send_signal(signal.SIGTERM)
            try:
                self.code = self.server.wait(60)
            except subprocess.TimeoutExpired:
                self.code = None
                self.server.kill()
        return self.report()

    def report(self):
        of_kills = [what for when, what in self.lost if any(0 <= when - kill < OF_KILL_SECONDS for kill in self.kills)]
        others = [what for when, what in self.lost if not any(0 <= when - kill < OF_KILL_SECONDS for kill in self.kills)]
        log = self.log.read_text(errors="replace")
        bad = [line for line in log.splitlines() if "Traceback" in line or "panicked" in line or "Error handling request" in line]
        self.times.sort()
        quick = self.times[len(self.times) * 99 // 100] * 1000 if self.times else 0.0
        print(f"{sum(self.answered.values())} replies: {self.answered}; p99 of quick ones {quick:.1f} ms")
        print(f"lost with killed workers: {len(of_kills)} of {len(self.kills)} kills; exit code {self.code}")
        found = [
            (self.wrong, "replies are wrong"),
            (others, "requests were lost"),
            (bad, "lines of the log should not be there"),
            (of_kills[CLIENTS * len(self.kills):], "more were lost than killed workers had"),
        ]
        for what, text in found:
            if what:
                print(f"WRONG: {len(what)} {text}: {what[:5]}")
        return not any(what for what, _ in found) and self.code == 0


def free_port():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until_open(port, server):
    import socket
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("the server does not start")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=ROOT / "target/release/rcorn", type=pathlib.Path)
    parser.add_argument("--before", type=pathlib.Path, help="the build that serves up to the first upgrade")
    parser.add_argument("--minutes", default=10.0, type=float)
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--threads", default=4, type=int)
    options = parser.parse_args()
    options.server = options.server.resolve()
    with tempfile.TemporaryDirectory(prefix="mixed-") as folder:
        trial = Trial(options, pathlib.Path(folder))
        is_right = trial.run()
        if not is_right:
            kept = pathlib.Path(tempfile.gettempdir()) / f"mixed-{os.getpid()}.log"
            kept.write_bytes(trial.log.read_bytes())
            print(f"its log: {kept}")
    print("passed" if is_right else "FAILED")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
