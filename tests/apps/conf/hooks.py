# After gunicorn's own example: every hook says something.
def on_starting(server):
    server.log.info("on_starting with %d workers", server.cfg.workers)


def when_ready(server):
    server.log.info("Server is ready. Spawning workers")


def on_reload(server):
    server.log.info("on_reload in %s", server.pid)


def pre_fork(server, worker):
    server.log.info("pre_fork %s age %s", worker.pid, worker.age)


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)


def post_worker_init(worker):
    worker.log.info("post_worker_init %s %s", worker.alive, callable(worker.wsgi))


def pre_request(worker, req):
    worker.log.debug("%s %s", req.method, req.path)
    worker.log.info("pre_request %s %s %s", req.method, req.path, dict(req.headers).get("X-ASKED"))


def post_request(worker, req, environ, resp):
    worker.log.info("post_request %s %s %s", resp.status, environ["PATH_INFO"], resp.sent)


def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")


def worker_exit(server, worker):
    server.log.info("worker_exit %s alive %s", worker.pid, worker.alive)


def child_exit(server, worker):
    server.log.info("child_exit %s", worker.pid)


def nworkers_changed(server, new_value, old_value):
    server.log.info("nworkers_changed %s %s", new_value, old_value)


def pre_exec(server):
    server.log.info("Forked child, re-executing.")


def on_exit(server):
    server.log.info("on_exit %s", sorted(server.WORKERS))
