"""What an app meets under `rcorn cgi`; tests/blackbox/oneshot asks for each path."""

import os
import subprocess
import sys

PLAIN = [("Content-Type", "text/plain")]
PART = b"x" * 65536
GIGABYTE = 1 << 30


def peak():
    """The most memory that this process ever had, in MiB: getrusage() counts what its parent had, the test program, as well."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024


class Closing:
    """Says on standard error that its close() was called."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        print(f"closed, peak {peak()} MiB", file=sys.stderr, flush=True)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", PLAIN)
    if path == "/upload":
        source, total = environ["wsgi.input"], 0
        while True:
            part = source.read(65536)
            if not part:
                break
            total += len(part)
        return [f"{total} bytes, peak {peak()} MiB".encode()]
    if path == "/download":
        return Closing(PART for _ in range(GIGABYTE // len(PART)))
    if path == "/prints":
        print("printed by the app")
        subprocess.run(["echo", "printed by a child"], check=True)
        return [repr(sys.stdin.read()).encode()]
    if path == "/proxy":
        return [repr([environ.get("HTTP_PROXY"), os.environ.get("HTTP_PROXY")]).encode()]
    if path == "/where":
        return [f"{os.getcwd()} {sys.version_info[0]}.{sys.version_info[1]} {sys.argv[1]}".encode()]
    return [path.encode("latin-1")]
