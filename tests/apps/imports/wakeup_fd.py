# 3 sets a descriptor for signals
import signal
signal.set_wakeup_fd(-1)
