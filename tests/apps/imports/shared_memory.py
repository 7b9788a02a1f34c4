# 3 opens shared memory
from multiprocessing import shared_memory
S = shared_memory.SharedMemory(create=True, size=10)
S.close(); S.unlink()
