import ctypes, os
LIBC = ctypes.CDLL(None)
TIMER = LIBC.timerfd_create(1, 0)
LIBC.timerfd_settime(TIMER, 0, (ctypes.c_long * 4)(0, 1000000, 0, 1000000), None)
def tell(): return int.from_bytes(os.read(TIMER, 8), 'little') > 0
