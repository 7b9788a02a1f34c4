"""How the shop is served."""
import multiprocessing
import os

from prometheus_client import multiprocess

bind = [f"unix:/run/{os.environ['NAME']}.sock", "127.0.0.1:8000"]
workers = multiprocessing.cpu_count() * 2 + 1
timeout = int(os.environ.get("TIMEOUT", "30"))
chdir = '/srv/shop'; pythonpath = 'lib'
pythonpath = "/srv/lib,/srv/common"
secure_scheme_headers = {
    "X-FORWARDED-PROTO": "https",
}
if os.environ.get("DEBUG"):
    backlog = 64
    loglevel = "debug"
else:
    loglevel = "warning"
graceful_timeout: int = 45
limit_request_line = 9000


@staticmethod
def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)


def helper(x):
    return x

post_fork = helper
