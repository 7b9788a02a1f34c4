# 4 makes workers
import os, pathlib
REGISTRY = pathlib.Path('workers')
REGISTRY.mkdir()
(REGISTRY / str(os.getpid())).touch()
