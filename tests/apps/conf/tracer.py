# In the manner of ddtrace: patches by import, tags from the environment, a thread for each worker.
import os
import threading

import tracer

tracer.patch_all(logging=True)
loglevel = "debug"
bind = ["127.0.0.1:0"]
workers = 1
dogstatsd_tags = "service:shop"


def post_fork(server, worker):
    server.log.debug("Worker spawned by %s", server.proc_name)
    worker.flusher = threading.Event()
    thread = threading.Thread(target=worker.flusher.wait, daemon=True)
    thread.start()


def pre_request(worker, req):
    worker.span = tracer.start(req.uri, worker.nr)


def post_request(worker, req):
    worker.log.info("span %s of %s", worker.span, os.getpid() == worker.pid)
