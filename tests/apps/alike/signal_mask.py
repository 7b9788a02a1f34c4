import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
def tell(): return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
