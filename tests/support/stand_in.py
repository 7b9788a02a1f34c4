"""Stands in for rcorn, so that the harness can be tried without it: an arbiter, one titled worker, and a
few odd ways of answering."""

import argparse
import http.server
import os
import signal
import socket
import struct
import sys
import time


def say(level, text):
    stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime())
    os.write(2, f"[{stamp}] [{os.getpid()}] [{level}] {text}\n".encode())


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"Hello, world!\n"
        if self.path == "/error":
            say("ERROR", "Error handling request GET /error\nTraceback (most recent call last):\nValueError: boom")
        if self.path == "/gate":
            import gate

            gate.hold()
        if self.path == "/reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            self.close_connection = True
            return
        if self.path == "/twice":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")
            self.close_connection = True
            return
        if self.path == "/none":
            self.send_response(204)
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nHello\r\n2\r\n, \r\n7\r\nworld!\n\r\n0\r\n\r\n")
            return
        if self.path == "/close":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        sys.stdout.write(f"{self.command} {self.path}\n")
        sys.stdout.flush()

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fd):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=fd)

    def finish_request(self, request, address):
        # A unix peer has no address, and http.server insists on one.
        self.RequestHandlerClass(request, address or ("", 0), self)


def work(fd, apps):
    sys.path.insert(0, apps)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    say("INFO", f"Booting worker with pid: {os.getpid()}")
    Web(fd).serve_forever(poll_interval=0.05)


def main():
    if sys.argv[1] == "--worker":
        return work(int(sys.argv[2]), sys.argv[3])
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind")
    parser.add_argument("--chdir")
    parser.add_argument("--python")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--leave", action="store_true")
    parser.add_argument("--socket")
    parser.add_argument("app", nargs="?")
    options = parser.parse_args()
    say("INFO", "Starting stand-in")
    if options.socket:
        socket.socket(socket.AF_UNIX).bind(options.socket)
    if options.exit is not None:
        return options.exit
    fd = int(options.bind.removeprefix("fd://"))
    os.set_inheritable(fd, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.execv(sys.executable, ["rcorn: worker 1", __file__, "--worker", str(fd), options.chdir])
    os.close(fd)
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"STATUS=booting", path)
            notify.sendto(f"READY=1\nMAINPID={os.getpid()}".encode(), path)
    signal.sigwait([signal.SIGTERM])
    say("INFO", "Handling signal: term")
    if not options.leave:
        os.kill(worker, signal.SIGTERM)
        os.waitpid(worker, 0)
    return 0


sys.exit(main())
