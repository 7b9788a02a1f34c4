# 5 draws random bytes
import os, functools
@functools.cache
def node():
    return os.urandom(6)
NODE = node()
