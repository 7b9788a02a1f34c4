# 4 starts a thread
import threading
t = threading.Thread(target=int)
t.start(); t.join()
