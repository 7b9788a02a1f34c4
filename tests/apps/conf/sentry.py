# Sentry is told who it is in each worker.
import os


def post_fork(server, worker):
    import sentry_sdk

    def keep(event, hint):
        with open(os.environ["SENTRY_FILE"], "a") as file:
            print(event["release"], event["exception"]["values"][0]["type"], os.getpid() == worker.pid, file=file)

    sentry_sdk.init(dsn="http://key@127.0.0.1:1/1", release="shop@1", before_send=keep, default_integrations=False)


def post_worker_init(worker):
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    worker.wsgi = SentryWsgiMiddleware(worker.wsgi)
