"""Answers, as JSON on standard output, what reached the servers behind the shop: python -m shop.questions QUESTION."""

import base64
import json
import os
import sys

# The one who asks is no worker: it must not make metric files.
metrics = os.environ.pop("PROMETHEUS_MULTIPROC_DIR")

import django  # noqa: E402
import redis  # noqa: E402
from prometheus_client import CollectorRegistry, multiprocess  # noqa: E402

django.setup()

from django.db import connection  # noqa: E402

from shop.models import Order  # noqa: E402


def create_table():
    """Makes the table of orders."""
    with connection.schema_editor() as editor:
        editor.create_model(Order)


def rows():
    """The orders in the database."""
    return list(Order.objects.values_list("number", flat=True))


def tasks():
    """The orders in the queue."""
    broker = redis.Redis(unix_socket_path=os.environ["TRIAL_BROKER"].removeprefix("redis+socket://"))
    bodies = [json.loads(task)["body"] for task in broker.lrange("celery", 0, -1)]
    return [json.loads(base64.b64decode(body))[0][0] for body in bodies]


def counted():
    """How many orders the workers counted, living and dead."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, metrics)
    return int(registry.get_sample_value("shop_orders_total"))


print(json.dumps({"create_table": create_table, "rows": rows, "tasks": tasks, "counted": counted}[sys.argv[1]]()))
