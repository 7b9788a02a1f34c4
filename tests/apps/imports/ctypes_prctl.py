# 3 calls the C function prctl
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
