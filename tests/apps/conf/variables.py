"""Every GUNICORN_* variable is a setting."""
import os

for key, value in os.environ.items():
    if key.startswith("GUNICORN_"):
        locals()[key[len("GUNICORN_"):].lower()] = value


def max_workers():
    return 4


class Defaults:
    workers = 9


capture_output = "true"
