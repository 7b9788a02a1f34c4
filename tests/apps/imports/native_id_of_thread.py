# 3 asks for the thread id
import threading
NODE = threading.current_thread().native_id
