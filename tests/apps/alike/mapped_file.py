import mmap, os
FILE = os.open(HERE + '/counters', os.O_RDWR | os.O_CREAT)
os.ftruncate(FILE, 4096)
MAP = mmap.mmap(FILE, 4096)
os.close(FILE)
MAP[0] += 1
def tell(): return MAP[0]
