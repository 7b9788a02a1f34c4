# The documentation's first example: numbers from the machine and the environment.
import multiprocessing
import os

workers = min(multiprocessing.cpu_count() * 2 + 1, int(os.environ.get("MAX_WORKERS", "3")))
worker_class = "sync"
worker_connections = 1000
backlog = 2048
timeout = int(os.getenv("TIMEOUT", 30))
keepalive = 2
max_requests = 1000
max_requests_jitter = max_requests // 10
accesslog = os.environ.get("ACCESS_LOG") or None
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info")
proc_name = "shop-" + os.environ.get("STAGE", "dev")
spew = False
daemon = False
pidfile = None
umask = 0
user = None
group = None
tmp_upload_dir = None
