"""Django in one file, with its admin: rcorn -w 4 django_app:application

The database is django_example.sqlite3 in the working directory, or $DJANGO_EXAMPLE_DB. It is created at the first
import, with the user admin and the password admin: never do this on a public address.
"""

import hashlib
import os
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="an example, not a secret",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ.get("DJANGO_EXAMPLE_DB", "django_example.sqlite3"),
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        STATIC_URL="/static/",
        # The view reads an upload in pieces.
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    )
    django.setup()

from django.contrib import admin  # noqa: E402 (requires the settings)
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def index(request):
    return HttpResponse("Hello from Django\n", content_type="text/plain")


@csrf_exempt
def upload(request):
    """Reads a body of any size in pieces."""
    digest, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"sha256": digest.hexdigest(), "size": size})


def static(request, name):
    """Sends a file through the server's wsgi.file_wrapper."""
    root = Path(admin.__file__).parent / "static"
    file = (root / name).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        return HttpResponse(status=404)
    return FileResponse(open(file, "rb"))


urlpatterns = [
    path("", index),
    path("upload", upload),
    path("static/<path:name>", static),
    path("admin/", admin.site.urls),
]


def prepare():
    """Creates the tables and the user, once."""
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", "admin@example.org", "admin")
    # Workers are forked from the process that imports this module, and must not share its connection.
    connections.close_all()


prepare()
application = get_wsgi_application()
