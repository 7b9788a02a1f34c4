#!/usr/bin/env python3
"""Measures rcorn without a proxy beside servers that speak TLS, and beside nginx: python3 tests/bench/tls.py

    tls         CPU time per request of one server process and all that stands before it, over kept connections, by HTTP/1.1
                and HTTP/2; nginx speaks uwsgi with an rcorn of its own
    handshakes  full handshakes per second and CPU time of each, with the same key
    static      CPU time per file, without TLS

As in compare.py each server has one worker, all processes of a server share one CPU, and each round visits every server. Needs
h2load and wrk (Debian: nghttp2-client, wrk), nginx, openssl, and target/release/rcorn; takes the other servers from the virtual
environment of compare.py. Compare figures of one run only."""
import argparse
import os
import re
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import compare
from compare import Unmeasurable

GUNICORN = ("{bin}/gunicorn -k gthread --threads 4 -w 1 -b 127.0.0.1:{port} --log-level error --certfile {certificate} "
            "--keyfile {key} raw:app")
GRANIAN = ("{bin}/granian --interface wsgi --http auto --no-ws --host 127.0.0.1 --port {port} --workers 1 --log-level error "
           "--ssl-certificate {certificate} --ssl-keyfile {key} raw:app")
RCORN = "{rcorn} --python {bin}/python -w 1 --log-level error"
STATIC = "-b 127.0.0.1:{port} --static /files={files} raw:app"
UWSGI = compare.SERVERS["uwsgi"].replace("{app}", "raw:app") + " --static-map /files={files}"
NGINX = """
daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; types {{ text/plain txt; }}
    client_body_temp_path {folder}; uwsgi_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    scgi_temp_path {folder};
    {server}
}}
"""
TLS_SITE = """server {{
        listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
        location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass pool; }}
    }}
    upstream pool {{ server unix:{folder}/app.socket; }}"""
STATIC_SITE = "server {{ listen 127.0.0.1:{port}; location /files/ {{ alias {files}/; }} }}"
# What is run, and for nginx its site.
SERVERS = {
    "rcorn": (RCORN + " -b https://127.0.0.1:{port} --certfile {certificate} --keyfile {key} raw:app", None),
    "nginx and rcorn": (RCORN + " -b uwsgi://unix:{folder}/app.socket raw:app", TLS_SITE),
    "granian": (GRANIAN, None),
    "gunicorn gthread": (GUNICORN, None),
    "rcorn, files": (f"{RCORN} {STATIC}", None),
    "nginx, files": (None, STATIC_SITE),
    "uWSGI, files": (UWSGI, None),
}
WITH_TLS, WITH_FILES = list(SERVERS)[:4], list(SERVERS)[4:]


class Load(NamedTuple):
    """What clients do."""

    label: str
    path: str
    size: int
    # h2load's or wrk's arguments.
    words: tuple
    tls: bool = True


H1, H2 = ("h2load", "--h1"), ("h2load",)
CLOSE = ("wrk", "-H", "Connection: close")
KEPT = [
    Load(f"{label}, {name}", path, size, words)
    for name, words in (("HTTP/1.1", H1), ("HTTP/2", H2))
    for label, path, size in (("13 bytes", "/", 13), ("10 KiB", "/10k", 10240), ("1 MiB", "/1m", 1048576))
]
HANDSHAKE = Load("", "/", 13, CLOSE)
FILES = [
    Load(f"{label}, {how}", f"/files/{size}.txt", size, words, tls=False)
    for how, words in (("kept connections", ("wrk",)), ("a connection each", CLOSE))
    for label, size in (("10 KiB", 10240), ("1 MiB", 1048576))
]
CONNECTIONS = 16


class Server(compare.Server):
    """A running server, and what stands before it."""

    def __init__(self, name, rcorn, folder, key):
        self.name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        # nginx's workers may be another user.
        self.folder.chmod(0o777)
        given = {"rcorn": rcorn, "bin": compare.VENV / "bin", "port": self.port, "folder": self.folder, "files": folder / "files",
                 "certificate": folder / f"{key}.pem", "key": folder / f"{key}.key"}
        command, site = SERVERS[name]
        words = (command or "").format(**given)
        if site:
            configuration = self.folder / "nginx.conf"
            configuration.write_text(NGINX.format(server=site.format(**given), **given))
            # nginx takes the place of the shell, so both are of one family.
            words = f"{words + ' &' if words else ''} exec nginx -p {self.folder} -c {configuration}"
        self.log = self.folder / "log"
        environ = {"PATH": f"{compare.VENV}/bin:/usr/sbin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            ["sh", "-c", words if site else f"exec {words}"], cwd=compare.APPS, env=environ, stdin=subprocess.DEVNULL,
            stdout=open(self.log, "w"), stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, compare.CPUS[:1]))

    def wait_for(self, load):
        """Waits until it answers."""
        end = time.monotonic() + 30
        while True:
            try:
                return self.check(load)
            except (OSError, Unmeasurable) as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    last = self.log.read_text().strip().splitlines()[-1:]
                    raise SystemExit(f"{self.name}: {error}: {' '.join(last)[:300]}") from error
                time.sleep(0.05)

    def check(self, load):
        """Whether it sends what it should, over the protocol that is measured."""
        words = ["curl", "-s", "-k", "--max-time", "10", "-w", "%{http_code} %{size_download} %{http_version}", "-o", "/dev/null"]
        version = "2" if load.words == H2 else "1.1"
        words += ["--http2" if version == "2" else "--http1.1", self.url(load)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if done.stdout != f"200 {load.size} {version}":
            raise Unmeasurable(f"curl says {done.stdout}, and ends with {done.returncode}")

    def url(self, load):
        return f"{'https' if load.tls else 'http'}://127.0.0.1:{self.port}{load.path}"

    def cost(self, load, duration):
        """CPU microseconds per request, and requests per second."""
        tool, *words = load.words
        words = [tool, "-t1", f"-c{CONNECTIONS}", *words]
        words += ["-D", str(duration), "-m1"] if tool == "h2load" else [f"-d{duration}s"]
        cpu = self.seconds()
        done = subprocess.run([*words, self.url(load)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=duration + 30, preexec_fn=lambda: os.sched_setaffinity(0, compare.CPUS[-1:]))
        cpu = self.seconds() - cpu
        if tool == "h2load":
            count = re.search(r"requests: .* (\d+) succeeded, 0 failed, 0 errored", done.stdout)
        else:
            count = re.search(r"(\d+) requests in", done.stdout)
        if not count or not int(count[1]) or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise Unmeasurable(f"{self.name}, {load.label}: {done.stdout[-400:]}")
        return cpu * 1e6 / int(count[1]), int(count[1]) / duration


def certificates(folder):
    """One for each kind of key."""
    for name, kind in (("ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rsa", ["rsa:2048"])):
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout",
                        folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, stderr=subprocess.DEVNULL)
        (folder / f"{name}.key").chmod(0o644)


def measured(servers, loads, options):
    """{(server, load): [cost of each round]}"""
    results = {}
    for load in loads:
        able = []
        for server in servers:
            try:
                server.check(load)
                server.cost(load, 1)
                able.append(server)
            except Unmeasurable as error:
                compare.note(error)
        for number in range(options.rounds):
            compare.note(f"{load.label}, round {number + 1} of {options.rounds}")
            for server in able:
                results.setdefault((server.name, load), []).append(server.cost(load, options.duration))
    return results


def table(title, results, which):
    """A row for each kind of load, a column for each server: the median, and the range."""
    servers = list(dict.fromkeys(server for server, _ in results))
    print(f"\n{title}\n\n| | {' | '.join(servers)} |\n{'|---' * (len(servers) + 1)}|")
    for load in dict.fromkeys(load for _, load in results):
        cells = []
        for server in servers:
            values = [each[which] for each in results.get((server, load), ())]
            cells.append(f"{compare.rounded(statistics.median(values))} ({compare.rounded(min(values))}-"
                         f"{compare.rounded(max(values))})" if values else "")
        print(f"| {load.label} | {' | '.join(cells)} |", flush=True)


def run(names, key, loads, options, folder):
    servers = []
    try:
        for name in names:
            servers.append(Server(name, options.rcorn.resolve(), folder, key))
            servers[-1].wait_for(loads[0])
        return measured(servers, loads, options)
    finally:
        for server in servers:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["tls", "handshakes", "static", []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=2, help="seconds per round")
    parser.add_argument("--rcorn", type=Path, default=compare.ROOT / "target/release/rcorn")
    options = parser.parse_args()
    what = options.what or ["tls", "handshakes", "static"]
    compare.environment()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        certificates(folder)
        (folder / "files").mkdir()
        for size in (10240, 1048576):
            (folder / f"files/{size}.txt").write_bytes(b"x" * size)
        if "tls" in what:
            table("CPU us per request, TLS", run(WITH_TLS, "ecdsa", KEPT, options, folder), 0)
        if "handshakes" in what:
            for key in ("ecdsa", "rsa"):
                results = run(WITH_TLS, key, [HANDSHAKE._replace(label=f"{key} key")], options, folder)
                table("Full handshakes per second, each with a request", results, 1)
                table("CPU us per handshake and request", results, 0)
        if "static" in what:
            table("CPU us per file, without TLS", run(WITH_FILES, "ecdsa", FILES, options, folder), 0)


if __name__ == "__main__":
    main()
