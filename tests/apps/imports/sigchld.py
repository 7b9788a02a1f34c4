# 3 sets a handler for SIGCHLD
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
