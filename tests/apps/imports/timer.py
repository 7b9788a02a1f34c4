# 3 starts a thread
import threading
T = threading.Timer(9, int); T.daemon = True; T.start()
