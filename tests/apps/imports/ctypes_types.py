# boring
import ctypes
class P(ctypes.Structure): _fields_ = [('x', ctypes.c_int)]
N = ctypes.sizeof(P)
