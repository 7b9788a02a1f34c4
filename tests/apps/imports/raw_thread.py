# 3 starts a thread
import _thread
_thread.start_new_thread(int, ())
