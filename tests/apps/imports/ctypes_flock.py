# 3 calls the C function flock
import ctypes
ctypes.CDLL(None).flock(0, 8)
