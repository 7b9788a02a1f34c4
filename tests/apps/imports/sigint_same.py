# boring
import signal
signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
