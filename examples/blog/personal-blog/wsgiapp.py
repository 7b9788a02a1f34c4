"""The blog: rcorn --chdir personal-blog wsgiapp:wsgi_app"""

import os
from functools import partial

from digwebs.web import get_app

HERE = os.path.dirname(os.path.realpath(__file__))

digwebs_app = get_app(
    {"root_path": HERE, "middlewares_folder": None, "is_develop_mode": False}
)
digwebs_app.init_all()
_answer = digwebs_app.get_wsgi_application()


def _bytes(part):
    return part.encode() if isinstance(part, str) else part


def wsgi_app(environ, start_response):
    """Encodes text: error pages of digwebs 0.0.1 are str, and PEP 3333 requires bytes."""
    body = _answer(environ, start_response)
    if isinstance(body, list):
        return [_bytes(part) for part in body]
    return body


if __name__ == "__main__":
    digwebs_app.run(9999)
