import ctypes, os
CLONE_NEWUTS = 0x4000000
ctypes.PyDLL(None, use_errno=True).unshare(CLONE_NEWUTS)
def tell(): return os.readlink('/proc/self/ns/uts')
