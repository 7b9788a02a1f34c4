# 3 starts a thread
import threading
threading.Thread(target=int, daemon=True).start()
