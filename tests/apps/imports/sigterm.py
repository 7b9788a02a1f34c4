# 3 sets a handler for SIGTERM
import signal
signal.signal(signal.SIGTERM, lambda *a: None)
