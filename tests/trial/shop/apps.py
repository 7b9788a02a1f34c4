"""What happens when Django is ready. With TRIAL_READY=connect it asks the database, as apps do that
should not: the connection must not be shared by the workers."""

import os

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The app."""

    name = "shop"

    def ready(self):
        """Called at the end of the import, once a process that imports."""
        import shop.metrics  # noqa: F401

        if os.environ.get("TRIAL_READY") == "connect":
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute("select 1")
