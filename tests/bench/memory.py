#!/usr/bin/env python3
"""Measures the memory of rcorn with a Django app: python3 tests/bench/memory.py [WORKERS ...]

For each number of workers (4 and 16) the app is served in three ways: imported by each worker, imported once and
shared, and shared after a refork. Each figure is the sum of the PSS (proportional set size) of all processes, arbiter
and template included, in MiB: after the start, and after so many requests that each worker has served some hundred.

Needs target/release/rcorn (cargo build --release) and a Python with Django: RCORN_PYTHON, or that of compare.py.
"""
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RCORN = os.environ.get("RCORN", ROOT / "target/release/rcorn")
PYTHON = os.environ.get("RCORN_PYTHON", ROOT / "target/bench-venv/bin/python")
PORT = 18941
REQUESTS = 300
MODES = {"each worker imports": ("--no-preload",), "shared": (), "refork": ()}


def family(pid):
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def pss(pid):
    """The sum of a family, in MiB."""
    total = 0
    for each in family(pid):
        rows = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return total / 1024


def status(pid):
    done = subprocess.run([RCORN, "ctl", "--pid", str(pid), "--json", "status"], capture_output=True, text=True)
    return json.loads(done.stdout)["status"] if done.returncode == 0 else None


def wait(pid, condition):
    while True:
        now = status(pid)
        if now and condition(now):
            return
        time.sleep(0.05)


def serving(workers):
    def serve(now):
        stages = [worker["stage"] for worker in now["workers"]]
        return stages == ["serving"] * workers and all(one["stage"] == "ready" for one in now["templates"])

    return serve


def load(workers):
    """So many requests, from as many clients as there are workers."""

    def client():
        for _ in range(REQUESTS):
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"Hello, World!"
            connection.close()

    clients = [threading.Thread(target=client) for _ in range(workers)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


def measure(workers, mode):
    command = [RCORN, "--python", PYTHON, "-w", str(workers), "-b", f"127.0.0.1:{PORT}", "--log-level", "error"]
    server = subprocess.Popen([*command, *MODES[mode], "django_page:app"], cwd=HERE / "apps")
    try:
        wait(server.pid, serving(workers))
        start = pss(server.pid)
        load(workers)
        if mode == "refork":
            subprocess.run([RCORN, "ctl", "--pid", str(server.pid), "refork"], check=True, stdout=subprocess.DEVNULL)
            wait(server.pid, lambda now: now["refork"].startswith("Reforked") and serving(workers)(now))
            start = pss(server.pid)
            load(workers)
        return start, pss(server.pid)
    finally:
        server.terminate()
        server.wait()


def main():
    for workers in [int(word) for word in sys.argv[1:]] or [4, 16]:
        for mode in MODES:
            start, later = measure(workers, mode)
            print(f"{workers:3} workers, {mode + ':':22}{start:7.1f} MiB, after requests {later:6.1f} MiB", flush=True)


main()
