"""Settings, and the error tracker, as its guide for Django has it."""

import os

import sentry_sdk

SECRET_KEY = "trial"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["shop.apps.ShopConfig"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["TRIAL_DATABASE"],
        "NAME": "postgres",
        "USER": "postgres",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}

sentry_sdk.init(dsn=os.environ["TRIAL_DSN"], traces_sample_rate=0)
