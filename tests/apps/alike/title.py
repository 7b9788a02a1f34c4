import ctypes, os
with open('/proc/self/stat') as file: START = int(file.read().rsplit(')', 1)[1].split()[45])
ctypes.memmove(START, b'mine', 4)
def tell(): return open('/proc/self/cmdline').read()[:4]
