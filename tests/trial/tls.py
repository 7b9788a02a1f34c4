#!/usr/bin/env python3
"""TLS under load: python3 tests/trial/tls.py [--swaps 100] [--kills 20] [--server target/release/rcorn]

Clients send requests over HTTP/1.1 and HTTP/2, on connections that they keep and on new ones. Meanwhile the certificate is
changed 100 times, and now and then to a pair that does not fit; the server is reloaded ten times and upgraded in place three
times; workers are killed; and fronts are killed, once without load and once with it, to see after how many milliseconds
another one takes a handshake. Nothing may be lost but what a killed worker had, and the connections of a killed front."""

import argparse
import json
import os
import pathlib
import select
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENT = ROOT / "tests" / "blackbox" / "tls" / "client.py"
# Threads, and what else client.py is told.
LOADS = {
    "HTTP/1.1, kept": ["load=3", "kept=1"],
    "HTTP/1.1, new": ["load=2"],
    "HTTP/2, kept": ["load=2", "kept=1", "http2=8"],
    "HTTP/2, new": ["load=1", "http2=4"],
}
RELOADS, UPGRADES, WORKER_KILLS, WRONG_EVERY = 10, 3, 10, 10
STEP_SECONDS, RETURN_SECONDS = 60, 0.05

# One of eight bodies passes to the front in shared memory.
APP = """
import itertools

BODIES = itertools.cycle([b"hi"] * 7 + [bytes(60_000)])

def app(environ, start_response):
    body = next(BODIES)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Server:
    def __init__(self, program, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "m.py").write_text(APP)
        self.pairs = [self.pair(folder, name) for name in ("one", "two")]
        self.folder, self.seen, self.news = folder, [], threading.Condition()
        self.certificate, self.key = self.pairs[0]
        self.put(*self.pairs[0])
        words = ["-w", "2", "-b", f"https://127.0.0.1:{self.port}", "--certfile", "cert.pem", "--keyfile", "key.pem"]
        words += ["--upgrade", "in-place", "--reload-watch", "0.1", "m:app"]
        self.process = subprocess.Popen([program, *words], cwd=folder, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        self.expect("Front serving", 1)

    @staticmethod
    def pair(folder, name):
        files = [folder / f"{name}.{kind}" for kind in ("pem", "key")]
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj".split()
        outputs = ["-out", files[0], "-keyout", files[1]]
        subprocess.run(["openssl", *words, f"/CN={name}", *outputs], check=True, stderr=subprocess.DEVNULL)
        return [file.read_text() for file in files]

    def put(self, certificate, key):
        for name, text in (("cert.pem", certificate), ("key.pem", key)):
            (self.folder / "new").write_text(text)
            os.replace(self.folder / "new", self.folder / name)

    def read(self):
        for line in self.process.stderr:
            with self.news:
                self.seen.append(line.rstrip())
                self.news.notify_all()

    def count(self, text):
        return sum(text in line for line in self.seen)

    def expect(self, text, count):
        """Waits until the log has this so often."""
        with self.news:
            if not self.news.wait_for(lambda: self.count(text) >= count, STEP_SECONDS):
                sys.exit("\n".join(self.seen[-30:]) + f"\nno {text!r}")

    def after(self, text, act):
        with self.news:
            before = self.count(text)
        act()
        self.expect(text, before + 1)

    def titled(self, title):
        """The processes of the server with this title."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                ours = int((entry.parent / "stat").read_text().rpartition(")")[2].split()[2]) == os.getpgrp()
                if ours and entry.read_bytes().startswith(title.encode()):
                    found.append(int(entry.parent.name))
            except OSError:
                pass
        return found

    def handshake(self):
        """Completes one; returns the certificate. A connection may have been in the hands of a front that was killed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), STEP_SECONDS) as raw:
            with context.wrap_socket(raw) as stream:
                return ssl.DER_cert_to_PEM_cert(stream.getpeercert(True))

    def kill_front(self):
        """Returns after how many seconds another front has taken a handshake."""
        (front,) = self.titled("rcorn: front")
        gone, begin = os.pidfd_open(front), time.monotonic()
        os.kill(front, signal.SIGKILL)
        select.select([gone], [], [])
        self.handshake()
        took = time.monotonic() - begin
        os.close(gone)
        return took


class Load:
    def __init__(self, port, words):
        self.process = subprocess.Popen(
            [sys.executable, CLIENT, str(port), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answers, self.failed = 0, []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line == "ok\n":
                self.answers += 1
            else:
                self.failed = json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.reader.join()
        self.process.wait()


class Phase:
    """A part of the trial, under load; `most` requests may fail in it."""

    bad = []

    def __init__(self, server, name, most):
        self.server, self.name, self.most = server, name, most

    def __enter__(self):
        self.begin = time.monotonic()
        self.loads = {name: Load(self.server.port, words) for name, words in LOADS.items()}
        self.go_on()
        return self

    def go_on(self):
        """Waits until each of them has had some answers more."""
        wanted = {name: load.answers + 20 for name, load in self.loads.items()}
        deadline = time.monotonic() + STEP_SECONDS
        while any(load.answers < wanted[name] for name, load in self.loads.items()):
            if time.monotonic() > deadline:
                sys.exit(f"{self.name}: no answers")
            time.sleep(0.01)

    def __exit__(self, kind, *_):
        for load in self.loads.values():
            load.stop()
        failed = {name: load.failed for name, load in self.loads.items() if load.failed}
        answers = ", ".join(f"{load.answers} {name}" for name, load in self.loads.items())
        count = sum(map(len, failed.values()))
        print(f"{self.name}, {time.monotonic() - self.begin:.0f} s: {answers}; {count} failed (at most {self.most} may)")
        for name, texts in failed.items():
            print(f"  {name}: {sorted(set(texts))}")
        if count > self.most:
            Phase.bad.append(self.name)


def swap(server, phase, count):
    served = 0
    for number in range(1, count + 1):
        certificate, key = server.pairs[number % 2]
        if number % WRONG_EVERY == 0:
            before = server.handshake()
            wrong = lambda: server.put(certificate, server.pairs[1 - number % 2][1])
            server.after("have changed, and cannot be used; those before stay", wrong)
            if server.handshake() != before:
                Phase.bad.append("a wrong pair")
        server.after("The certificates have changed, and are in force.", lambda: server.put(certificate, key))
        served += server.handshake().split() == certificate.split()
        phase.go_on()
    print(f"{served} of {count} certificates were served by the next handshake")
    if served != count:
        Phase.bad.append("swaps")


def returns(server, count, phase=None):
    times = []
    for _ in range(count):
        # One that has served for less than a second has failed to start, and the next waits.
        time.sleep(1.1)
        server.after("Front serving", lambda: times.append(server.kill_front()))
        if phase:
            phase.go_on()
    text = ", ".join(f"{1000 * one:.1f}" for one in (statistics.median(times), max(times)))
    print(f"a front is back after {text} ms (median, most) of {count}, {'under' if phase else 'without'} load")
    if not phase and max(times) > RETURN_SECONDS:
        Phase.bad.append("return of a front")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--server", default=str(ROOT / "target" / "release" / "rcorn"))
    options = parser.parse_args()
    os.setpgid(0, 0)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.server, pathlib.Path(folder))
        try:
            returns(server, options.kills)
            with Phase(server, f"{options.swaps} certificates", 0) as phase:
                swap(server, phase, options.swaps)
            with Phase(server, f"{RELOADS} reloads", 0) as phase:
                for _ in range(RELOADS):
                    server.after("Reloaded: generation ", lambda: server.process.send_signal(signal.SIGHUP))
                    phase.go_on()
            with Phase(server, f"{UPGRADES} upgrades in place", 0) as phase:
                for _ in range(UPGRADES):
                    server.after("Front exited", lambda: server.process.send_signal(signal.SIGUSR2))
                    phase.go_on()
            with Phase(server, f"{WORKER_KILLS} killed workers", WORKER_KILLS) as phase:
                for _ in range(WORKER_KILLS):
                    kill = lambda: os.kill(server.titled("rcorn: worker")[0], signal.SIGKILL)
                    server.after("Booting worker", kill)
                    phase.go_on()
            connections = 8 * options.kills
            with Phase(server, f"{options.kills} killed fronts", connections) as phase:
                returns(server, options.kills, phase)
            with Phase(server, "a stop", 0):
                server.process.terminate()
                server.process.wait(STEP_SECONDS)
        finally:
            server.process.kill()
    print(f"bad: {Phase.bad}")
    return bool(Phase.bad)


if __name__ == "__main__":
    sys.exit(main())
