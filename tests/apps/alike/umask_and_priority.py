import os
os.umask(0o27)
os.nice(2)
def tell():
    umask = os.umask(0o27)
    return umask, os.getpriority(os.PRIO_PROCESS, 0)
