# 4 changes the process group
import contextlib, os
with contextlib.suppress(OSError):
    os.setpgid(0, 0)
