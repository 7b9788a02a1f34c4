"""Serves the app in tests/trial/shop, and compares what its clients saw with what reached the database, the queue, the
metrics, the traces and the error tracker. See tests/trial/run."""

import argparse
import gzip
import http.client
import http.server
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = 6
# Orders that are answered between one event and the next.
ORDERS_BETWEEN = 200


def wait_for(what, condition, seconds=60):
    """Waits until a condition holds; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Process:
    """A server that is stopped at the end."""

    def __init__(self, arguments, log, **more):
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def postgres(folder):
    """PostgreSQL on a Unix socket in this folder. It refuses to run as root."""
    programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        sys.exit("there is no PostgreSQL (Debian's package: postgresql)")
    data = folder / "data"
    data.mkdir()
    more = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        more = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(data, user.pw_uid, user.pw_gid)
        os.chown(folder, user.pw_uid, user.pw_gid)
    more["cwd"] = folder
    command = [programs[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **more)
    command = [programs[-1] / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    server = Process(command, folder / "postgres.log", **more)
    wait_for("PostgreSQL", (folder / ".s.PGSQL.5432").exists)
    return server


def redis(folder):
    """Redis on a Unix socket in this folder."""
    program = shutil.which("redis-server")
    if not program:
        sys.exit("there is no Redis (Debian's package: redis-server)")
    place = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", place, "--save", "", "--dir", folder]
    server = Process(command, folder / "redis.log")
    wait_for("Redis", place.exists)
    return server


class Sink(http.server.ThreadingHTTPServer):
    """Takes spans and events, as the collector of OpenTelemetry and the error tracker would."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SinkHandler)
        self.lock = threading.Lock()
        # The numbers of orders by span, and of failures by event.
        self.spans = []
        self.events = []
        self.unexpected = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class SinkHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if self.headers.get("Transfer-Encoding"):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with self.server.lock:
            if self.path == "/v1/traces":
                self.server.spans += spans(body)
            else:
                numbers = events(body)
                self.server.events += numbers
                if b'"exception"' in body and not numbers:
                    self.server.unexpected |= set(re.findall(r'"value": ?"([^"]*)', body.decode(errors="replace")))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def spans(body):
    """The orders in an export of OpenTelemetry: number and worker."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        of = {item.key: item.value.int_value for item in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                values = {item.key: item.value.int_value for item in span.attributes}
                if span.name == "order":
                    assert values["shop.worker"] == of["process.pid"], "a span of another worker's exporter"
                    found.append((values["shop.number"], values["shop.worker"]))
    return found


def events(body):
    """The failures in an envelope of Sentry."""
    return [int(number) for number in re.findall(rb'"value": ?"order (\d+) is cursed', body)]


class Load:
    """Clients that keep their connections and order one thing after the other."""

    def __init__(self, port):
        self.port = port
        self.lock = threading.Lock()
        self.next = 0
        self.answers = []
        self.failures = []
        self.lost = []
        self.is_over = False
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = None
        while not self.is_over:
            with self.lock:
                self.next += 1
                number = self.next
            is_failure = number % 25 == 0
            path = f"/{'fail' if is_failure else 'order'}/{number}"
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                    connection.connect()
            except ConnectionRefusedError:
                # The end of the server.
                return
            try:
                connection.request("GET" if is_failure else "POST", path)
                reply = connection.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as problem:
                with self.lock:
                    self.lost.append((time.monotonic(), number, repr(problem)))
                connection.close()
                connection = None
                continue
            with self.lock:
                if is_failure and reply.status == 500:
                    self.failures.append(number)
                elif not is_failure and reply.status == 200:
                    self.answers.append(json.loads(body))
                else:
                    self.lost.append((time.monotonic(), number, f"{reply.status} {body[:200]}"))
            if reply.will_close:
                connection.close()
                connection = None

    def workers(self, since=0):
        with self.lock:
            return {answer["worker"] for answer in self.answers[since:]}

    def wait_more(self):
        """Waits for some orders more."""
        before = len(self.answers)
        wait_for("more orders", lambda: len(self.answers) >= before + ORDERS_BETWEEN)
        return before

    def wait_replaced(self, old):
        """Waits until none of these workers answers, and three others do."""

        def is_replaced():
            if len(self.lost) > 3 * CLIENTS:
                raise TimeoutError("too many requests are lost")
            recent = self.workers(-60)
            return len(recent) == 3 and not recent & old and len(self.answers)

        wait_for(f"three workers that are none of {old}", is_replaced)


class Trial:
    """One run: the servers, the load, and what was found wrong."""

    def __init__(self, server, ready):
        self.server = server
        self.ready = ready
        self.wrong = []

    def check(self, is_right, text):
        if not is_right:
            self.wrong.append(text)

    def run(self, folder):
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        (folder / "postgres").mkdir()
        self.metrics = folder / "metrics"
        self.metrics.mkdir()
        self.sink = Sink()
        sink = f"127.0.0.1:{self.sink.server_port}"
        self.environment = os.environ | {
            "TRIAL_SINK": f"http://{sink}",
            "TRIAL_DSN": f"http://key@{sink}/1",
            "TRIAL_DATABASE": str(folder / "postgres"),
            "TRIAL_BROKER": f"redis+socket://{folder}/redis.sock",
            "TRIAL_READY": self.ready,
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": str(HERE),
        }
        with postgres(folder / "postgres"), redis(folder):
            self.ask("create_table")
            log = folder / "server.log"
            try:
                self.serve(log)
                self.compare(log.read_text())
            except TimeoutError as late:
                self.wrong.append(f"{late}; lost: {self.load.lost[:5]}")
        self.check(not self.sink.unexpected, f"exceptions in the app: {sorted(self.sink.unexpected)[:5]}")
        for text in self.wrong:
            print(f"  wrong: {text}")
        print(f"{'FAILED' if self.wrong else 'passed'}: {self.server} with TRIAL_READY={self.ready!r}")
        if self.wrong:
            kept = pathlib.Path(tempfile.gettempdir()) / f"trial-{os.getpid()}.log"
            shutil.copy(log, kept)
            print(f"  its log: {kept}")
        return not self.wrong

    def ask(self, question):
        """What shop/questions.py answers, in a process of its own."""
        environment = self.environment | {"TRIAL_READY": ""}
        command = [sys.executable, "-m", "shop.questions", question]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads(done.stdout)

    def serve(self, log):
        port = free_port()
        command = [self.server, "-c", HERE / "gunicorn.conf.py", "-b", f"127.0.0.1:{port}", "--chdir", HERE]
        # The venv's Python is the one on the PATH.
        environment = self.environment | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
        with Process(command, log, env=environment) as server:
            wait_for("the server", lambda: is_open(port) or server.process.poll() is not None)
            load = self.load = Load(port)
            try:
                self.disturb(server.process, load)
            finally:
                load.is_over = True
                for thread in load.threads:
                    thread.join()

    def disturb(self, master, load):
        load.wait_replaced(set())
        for _ in range(2):
            load.wait_more()
            old = load.workers(-60)
            master.send_signal(signal.SIGHUP)
            load.wait_replaced(old)
        load.wait_more()
        self.killed = sorted(load.workers(-60))[0]
        self.killed_at = time.monotonic()
        os.kill(self.killed, signal.SIGKILL)
        load.wait_replaced({self.killed})
        load.wait_more()
        with urllib.request.urlopen(f"http://127.0.0.1:{load.port}/metrics") as page:
            self.page = page.read().decode()
        master.send_signal(signal.SIGTERM)
        self.check(master.wait(60) == 0, f"the exit code is {master.returncode}")

    def compare(self, log):
        load = self.load
        sink = self.sink
        # What the killed worker had in hand is lost, and only that: one request, and the connections that it kept.
        of_kill = [lost for lost in load.lost if 0 <= lost[0] - self.killed_at < 2]
        others = [lost for lost in load.lost if lost not in of_kill]
        self.check(not others, f"{len(others)} requests were lost: {others[:5]}")
        self.check(len(of_kill) <= CLIENTS, f"{len(of_kill)} requests were lost with the killed worker: {of_kill[:3]}")
        lost = {number for _, number, _ in load.lost}
        answered = {answer["number"] for answer in load.answers}

        by_backend = {}
        for answer in load.answers:
            by_backend.setdefault(answer["backend"], set()).add(answer["worker"])
        shared = {backend: workers for backend, workers in by_backend.items() if len(workers) > 1}
        self.check(not shared, f"workers share connections to the database: {shared}")

        self.same("rows in the database", self.ask("rows"), answered, lost)
        self.same("tasks in the queue", self.ask("tasks"), answered, lost)

        of_killed = {answer["number"] for answer in load.answers if answer["worker"] == self.killed}
        spans = [number for number, _ in sink.spans]
        self.same("spans", spans, answered - of_killed, lost | of_killed)
        # An error of the killed worker may still have been in its queue.
        self.same("events", sink.events, set(load.failures), lost, missing=1)

        live = sorted(path.name for path in self.metrics.glob("*_live*"))
        self.check(not live, f"metrics of processes that are gone: {live}")
        counted = self.ask("counted")
        self.check(len(answered) <= counted <= len(answered) + len(of_kill), f"{counted} orders are counted of {len(answered)}")
        builds = re.findall(r'^shop_build{version="1"} (.*)$', self.page, re.M)
        self.check(builds == ["3.0"], f"three workers serve, and their live gauges are {builds}")

        for line in log.splitlines():
            if re.search(r"\[(ERROR|CRITICAL)\]|Traceback|Exception ignored", line) and str(self.killed) not in line:
                if "cursed" not in line and "Error handling request /fail" not in line:
                    self.check(False, f"the log has: {line}")
        print(f"  {len(answered)} orders, {len(load.failures)} failures, {len(of_kill)} lost with the killed worker,"
              f" {len(load.workers())} workers, {len(by_backend)} connections, {len(spans)} spans")

    def same(self, what, found, wanted, optional, missing=0):
        twice = sorted({number for number in found if found.count(number) > 1}) if len(found) > len(set(found)) else []
        self.check(not twice, f"{what}: twice {twice[:5]}")
        lacking = wanted - set(found)
        self.check(len(lacking) <= missing, f"{what}: {len(lacking)} of {len(wanted)} are missing: {sorted(lacking)[:5]}")
        more = set(found) - wanted - optional
        self.check(not more, f"{what}: {len(more)} that no client knows: {sorted(more)[:5]}")


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--ready", action="append", help="'' or 'connect'; both if not given")
    options = parser.parse_args()
    server = os.path.abspath(options.server) if "/" in options.server else options.server
    results = []
    for ready in options.ready or ["", "connect"]:
        with tempfile.TemporaryDirectory(prefix="trial-") as folder:
            results.append(Trial(server, ready).run(folder))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
