# boring
import contextlib, os
with contextlib.suppress(FileNotFoundError):
    os.remove('stale.pid')
