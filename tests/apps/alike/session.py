import os
os.setsid()
def tell(): return os.getsid(0) == os.getpid()
