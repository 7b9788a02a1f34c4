# boring
import signal
H = signal.getsignal(signal.SIGTERM)
