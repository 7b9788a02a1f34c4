import functools, os
@functools.lru_cache(None)
def me(): return os.getpid()
me()
def tell(): return me() == os.getpid()
