import threading
LOCK = threading.RLock()
LOCK.acquire()
def tell(): return LOCK.acquire(blocking=False)
