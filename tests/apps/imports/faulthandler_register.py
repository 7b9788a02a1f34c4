# 3 sets a signal handler
import faulthandler, signal
faulthandler.register(signal.SIGUSR2)
