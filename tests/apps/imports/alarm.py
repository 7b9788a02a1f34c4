# 3 starts a timer
import signal
signal.alarm(100)
