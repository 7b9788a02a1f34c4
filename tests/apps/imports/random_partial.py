# 4 draws random bytes
import functools, os
get = functools.partial(os.urandom, 4)
get()
