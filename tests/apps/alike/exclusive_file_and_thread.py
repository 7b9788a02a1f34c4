# 1 worker
import os, threading
os.close(os.open(HERE + '/lock', os.O_CREAT | os.O_EXCL))
threading.Thread(target=threading.Event().wait, daemon=True).start()
def tell(): return 'has it'
