# 3 asks for the thread id
import threading
class Own(threading.Thread): NODE = threading.main_thread().native_id
