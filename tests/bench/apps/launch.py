"""Starts a server that has no command line: launch.py SERVER MODULE:NAME PORT."""

import importlib
import os
import sys

server, name, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, os.getcwd())
module, _, attribute = name.partition(":")
app = getattr(importlib.import_module(module), attribute)
if server == "bjoern":
    import bjoern

    bjoern.run(app, "127.0.0.1", port)
else:
    import fastwsgi

    fastwsgi.run(app, host="127.0.0.1", port=port)
