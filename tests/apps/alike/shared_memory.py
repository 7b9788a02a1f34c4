import atexit, os
from multiprocessing import shared_memory
SEGMENT = shared_memory.SharedMemory(create=True, size=8)
atexit.register(SEGMENT.unlink)
SEGMENT.buf[0] += 1
def tell(): return SEGMENT.buf[0], SEGMENT.name
