"""The client side of Celery: tasks are sent, nobody takes them."""

import os

from celery import Celery

app = Celery("shop", broker=os.environ["TRIAL_BROKER"])
app.conf.task_ignore_result = True


@app.task(name="shop.ship")
def ship(number):
    """Never run here."""
