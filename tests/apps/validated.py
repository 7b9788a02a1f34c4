"""Any app under wsgiref's validator, which raises when the server breaks PEP 3333: VALIDATED=module:attribute."""

import importlib
import os
from wsgiref.validate import validator

module, attribute = os.environ["VALIDATED"].split(":")
app = validator(getattr(importlib.import_module(module), attribute))
