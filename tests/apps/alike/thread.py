import threading
TIMER = threading.Timer(1000, int)
TIMER.daemon = True
TIMER.start()
def tell(): return TIMER.is_alive(), threading.active_count()
