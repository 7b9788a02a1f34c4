"""The hooks that OpenTelemetry and prometheus_client ask for in their guides for gunicorn."""

import os

from prometheus_client import multiprocess

wsgi_app = "shop.wsgi:application"
workers = 3
timeout = 30
graceful_timeout = 20


def post_fork(server, worker):
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "shop", "process.pid": os.getpid()})
    trace.set_tracer_provider(TracerProvider(resource=resource))
    exporter = OTLPSpanExporter(os.environ["TRIAL_SINK"] + "/v1/traces")
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(exporter))


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
