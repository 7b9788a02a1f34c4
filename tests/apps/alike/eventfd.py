import ctypes, os
LIBC = ctypes.CDLL(None)
COUNTER = LIBC.eventfd(0, 0x800)
MINE = [0]
def tell():
    MINE[0] += 1
    os.write(COUNTER, (1).to_bytes(8, 'little'))
    return int.from_bytes(os.read(COUNTER, 8), 'little')
