# prometheus_client in several processes, as its documentation says.
import os
import shutil
from prometheus_client import multiprocess

folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
workers = 2


def on_starting(server):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
    server.log.info("marked %s dead", worker.pid)
