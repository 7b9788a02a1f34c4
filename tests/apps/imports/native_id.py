# 3 asks for the thread id
import threading
ID = threading.get_native_id()
