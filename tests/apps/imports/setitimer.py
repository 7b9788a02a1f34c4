# 3 starts a timer
import signal
signal.setitimer(signal.ITIMER_VIRTUAL, 100)
