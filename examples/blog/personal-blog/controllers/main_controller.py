"""The pages."""

import os
import sys

from digwebs.errors import notfound
from digwebs.web import current_app

from model import articles


@current_app.view("home.html")
@current_app.get("/")
def home():
    return {"articles": articles.ALL, "stage": os.environ.get("STAGE", "development")}


@current_app.view("article.html")
@current_app.get("/article/:slug")
def article(slug):
    found = articles.find(slug)
    if found is None:
        raise notfound()
    return {"article": found}


@current_app.api
@current_app.get("/version")
def version():
    """For health checks, and to see which release serves."""
    return {"version": articles.VERSION, "python": sys.prefix}
