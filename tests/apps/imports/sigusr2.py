# 3 sets a handler for SIGUSR2
import signal
signal.signal(signal.SIGUSR2, lambda *a: None)
