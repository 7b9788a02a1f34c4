#!/usr/bin/env python3
"""Measures quick requests of one worker with four threads while other threads of it are not free: python3 tests/bench/beside.py

    asleep      one thread sleeps for ever; three clients send quick requests, in turn to that server and to one like it without
                a sleeper
    replaced    the same, until `timeout` has replaced the worker: nobody but the sleeper may see an error
    computing   two threads compute; one client sends quick requests, with several switch intervals, and with gunicorn's gthread

Needs wrk, and target/release/rcorn; takes gunicorn from the virtual environment of compare.py. The rates and latencies depend
on the machine: compare those of one run."""
import argparse
import contextlib
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import compare

QUICK = ("quick requests per s", "p50 ms", "p99 ms", "longest ms", "errors")
RCORN = "{rcorn} --python {bin}/python -w 1 --threads 4 -b 127.0.0.1:{port} --log-level error"
SERVERS = {
    "rcorn": RCORN + " --timeout 0 beside:app",
    "rcorn, timeout 2 s": RCORN + " --timeout 2 --abort-timeout 1 beside:app",
    "gunicorn gthread": "{bin}/gunicorn -k gthread --threads 4 -w 1 -b 127.0.0.1:{port} --log-level error beside:app",
    **{f"rcorn, switch_interval {each}": RCORN + f" --switch-interval {each} beside:app" for each in ("1ms", "0.5ms", "0.1ms")},
}


class Beside(compare.Server):
    """A server whose quick requests are timed."""

    def __init__(self, name, options, folder):
        compare.SERVERS[name] = SERVERS[name]
        super().__init__(name, "beside:app", options.rcorn.resolve(), folder, compare.Cell())
        self.wait()

    def quick(self, clients, seconds):
        """Requests per second, latencies in ms (p50, p99, longest), and errors."""
        words = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "30s", f"http://127.0.0.1:{self.port}/"]
        text = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
        rate = float(re.search(r"Requests/sec: +([\d.]+)", text)[1])
        latencies = [milliseconds(re.search(rf"{share}% +([\d.]+\w+)", text)[1]) for share in (50, 99)]
        longest = milliseconds(re.search(r"Latency +\S+ +\S+ +([\d.]+\w+)", text)[1])
        errors = re.search(r"Socket errors: .*|Non-2xx.*", text)
        return rate, *latencies, longest, errors[0] if errors else "none"

    def send(self, path):
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def row(*cells):
    print("| " + " | ".join(cell if isinstance(cell, str) else f"{cell:.2f}" if cell < 100 else f"{cell:.0f}" for cell in cells) + " |",
          flush=True)


def head(*cells):
    print()
    row(*cells)
    print("|---" * len(cells) + "|")


def asleep(options, folder):
    head("one of four threads asleep", *QUICK)
    for name in ("rcorn", "gunicorn gthread"):
        with contextlib.ExitStack() as ends:
            servers = {}
            for what in ("no thread asleep", "one thread asleep"):
                servers[what] = Beside(name, options, folder)
                ends.callback(servers[what].stop)
            sleeper = ends.enter_context(servers["one thread asleep"].send("/asleep"))
            # The first part of the response: its thread has the request.
            sleeper.recv(1000)
            for turn in range(options.rounds):
                # Whoever is second meets a machine that is warm: they take turns at it.
                order = list(servers) if turn % 2 == 0 else list(reversed(servers))
                for what in order:
                    row(f"{name}: {what}", *servers[what].quick(3, options.duration))


def replaced(options, folder):
    head("its worker is replaced", *QUICK)
    server = Beside("rcorn, timeout 2 s", options, folder)
    try:
        sleeper = server.send("/asleep")
        row("rcorn, timeout 2 s", *server.quick(3, 6))
        sleeper.close()
    finally:
        server.stop()


def computing(options, folder):
    head("two threads compute", *QUICK, "computed per s")
    for name in [name for name in SERVERS if "timeout" not in name]:
        server = Beside(name, options, folder)
        done, is_over, computed = [], threading.Event(), threading.Semaphore(0)

        def compute(server=server, done=done, is_over=is_over, computed=computed):
            while not is_over.is_set():
                with server.send("/compute") as connection:
                    connection.recv(1000)
                done.append(1)
                computed.release()

        clients = [threading.Thread(target=compute) for _ in range(2)]
        try:
            for client in clients:
                client.start()
            for client in clients:
                computed.acquire()
            for turn in range(options.rounds):
                before, began = len(done), time.monotonic()
                quick = server.quick(1, options.duration)
                row(name, *quick, (len(done) - before) / (time.monotonic() - began))
        finally:
            is_over.set()
            for client in clients:
                client.join()
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rcorn", type=Path, default=compare.ROOT / "target/release/rcorn")
    kinds = {"asleep": asleep, "replaced": replaced, "computing": computing}
    parser.add_argument("kinds", nargs="*", help=f"{', '.join(kinds)}; default: all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--duration", type=int, default=3, help="seconds per round")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(kinds):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(kinds)}")
    compare.environment()
    with tempfile.TemporaryDirectory(prefix="rcorn-bench-") as folder:
        for kind in options.kinds or kinds:
            kinds[kind](options, Path(folder))


if __name__ == "__main__":
    main()
