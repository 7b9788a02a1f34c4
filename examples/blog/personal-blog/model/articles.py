"""The articles. A real blog would have a database here."""

VERSION = "1.0"

ALL = [
    {
        "slug": "first",
        "title": "A first article",
        "text": "Workers are forked from a process that has this text loaded.",
    },
    {
        "slug": "second",
        "title": "A second article",
        "text": "It was published without a moment of silence.",
    },
]


def find(slug):
    """The article of this name, or None."""
    return next((article for article in ALL if article["slug"] == slug), None)
