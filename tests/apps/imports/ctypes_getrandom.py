# 4 calls the C function getrandom
import ctypes
b = ctypes.create_string_buffer(8)
ctypes.CDLL(None).getrandom(b, 8, 0)
