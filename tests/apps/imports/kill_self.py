# 3 sends a signal
import os, signal
os.kill(os.getpid(), signal.SIGCONT)
