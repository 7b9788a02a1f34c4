# 4 starts a session
import contextlib, os
with contextlib.suppress(OSError):
    os.setsid()
