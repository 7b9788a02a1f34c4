# 3 changes what a signal does
import signal
signal.siginterrupt(signal.SIGUSR1, False)
