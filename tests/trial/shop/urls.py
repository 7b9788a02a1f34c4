"""The pages."""

import os

from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from opentelemetry import trace
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from shop.metrics import BUSY, ORDERS
from shop.models import Order
from shop.tasks import ship

tracer = trace.get_tracer("shop")


@csrf_exempt
@BUSY.track_inprogress()
def order(request, number):
    """Takes an order: a row, a task, a count and a span."""
    with tracer.start_as_current_span("order") as span:
        span.set_attribute("shop.number", number)
        span.set_attribute("shop.worker", os.getpid())
        Order.objects.create(number=number, worker=os.getpid())
        with connection.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            (backend,) = cursor.fetchone()
        ship.delay(number)
        ORDERS.inc()
    return JsonResponse({"number": number, "worker": os.getpid(), "backend": backend})


def fail(request, number):
    """Fails, for the error tracker."""
    raise RuntimeError(f"order {number} is cursed in {os.getpid()}")


def metrics(request):
    """The metrics of all workers."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type="text/plain")


urlpatterns = [
    path("order/<int:number>", order),
    path("fail/<int:number>", fail),
    path("metrics", metrics),
]
