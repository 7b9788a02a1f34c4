# In the manner of New Relic: the agent is initialised before the app is imported, registered in each worker, and wraps it.
import agent

agent.initialize("agent.ini")

preload_app = False


def post_fork(server, worker):
    agent.register_application(timeout=10.0)


def post_worker_init(worker):
    worker.app.callable = worker.wsgi = agent.WSGIApplicationWrapper(worker.wsgi)


def worker_exit(server, worker):
    agent.shutdown_agent(timeout=2.5)
